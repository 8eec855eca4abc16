//! Every routing rule, by name.

use super::explanation::{Rule, Verdict};
use super::*;
use crate::job::Globs;
use crate::policy::Priority;
use proptest::prelude::*;

mod topologies;

fn caller(models: &[&str], providers: &[&str], policy: Option<DataPolicy>) -> Caller {
    let globs = |patterns: &[&str]| {
        Globs::new(&patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>())
    };
    Caller {
        name: Arc::from("test"),
        weight: 1,
        priority: Priority::Interactive,
        policy,
        models: globs(models),
        providers: globs(providers),
        manages_models: false,
    }
}

fn provider(name: &str, trust: Trust, default_model: &str, models: &[&str]) -> RoutedProvider {
    RoutedProvider {
        name: Arc::from(name),
        trust,
        default_model: Arc::from(default_model),
        models: models.iter().map(|glob| (*glob).to_owned()).collect(),
        naming: if name == "cloud" { Naming::Plain } else { Naming::Tagged },
        passthrough: Vec::new(),
        installs_models: name != "cloud",
    }
}

fn target(provider: &str, model: &str, weight: u32) -> TargetSettings {
    TargetSettings { provider: provider.into(), model: Some(model.into()), context: None, weight }
}

fn routes() -> Routes {
    let hints = [
        ("local", vec!["ollama", "cloud"]),
        ("secure", vec!["cloud"]),
        ("fast", vec!["cloud", "ollama"]),
        ("nobody", vec![]),
    ];
    let hints = hints.map(|(name, list)| {
        (name.to_owned(), list.into_iter().map(str::to_owned).collect::<Vec<_>>())
    });
    Routes::new(
        vec![
            provider("ollama", Trust::Local, "llama3.1", &["*"]),
            provider("cloud", Trust::Cloud, "big", &["big*", "exact"]),
            provider("twin", Trust::Local, "big", &["big*", "tagged:latest"]),
        ],
        &[
            RouteSettings {
                model: "chat-*".into(),
                targets: vec![target("cloud", "big", 3), target("ollama", "small", 1)],
                fallback: vec![target("twin", "big", 1)],
                ..RouteSettings::default()
            },
            RouteSettings {
                model: "alias".into(),
                targets: vec![target("twin", "big", 1)],
                ..RouteSettings::default()
            },
            RouteSettings {
                model: "mixed".into(),
                targets: vec![target("twin", "big", 1), target("cloud", "big", 1)],
                ..RouteSettings::default()
            },
        ],
        &hints.into(),
        &DefaultSettings { providers: vec!["ollama".into(), "cloud".into()] },
    )
}

fn plan_as(
    caller: &Caller,
    model: Option<&str>,
    hint: Option<&str>,
    policy: Option<DataPolicy>,
) -> Result<Vec<String>, ErrorKind> {
    let wait = |name: &str, _: Option<&str>| Some(Duration::from_secs(u64::from(name == "cloud")));
    let asked = Asked { model, hint, policy, caller, wants: Wants::Model };
    match routes().plan(asked, &mut |_| 0, &wait) {
        Ok(plan) => Ok(plan
            .candidates
            .iter()
            .map(|candidate| format!("{} {}", candidate.provider, candidate.model))
            .collect()),
        Err(error) => Err(error.kind),
    }
}

fn plan(model: Option<&str>, hint: Option<&str>) -> Result<Vec<String>, ErrorKind> {
    plan_as(&caller(&["*"], &["*"], None), model, hint, None)
}

fn list(items: &[&str]) -> Result<Vec<String>, ErrorKind> {
    Ok(items.iter().map(|item| (*item).to_owned()).collect())
}

#[test]
fn each_rule_gives_its_candidates_in_order() {
    assert_eq!(plan(None, None), list(&["ollama llama3.1", "cloud big"]));
    assert_eq!(plan(None, Some("fast")), list(&["cloud big", "ollama llama3.1"]));
    assert_eq!(plan(Some("mistral"), Some("fast")), list(&["cloud mistral", "ollama mistral"]));
    assert_eq!(plan(Some("fast"), Some("fast")), list(&["cloud big", "ollama llama3.1"]));
    assert_eq!(plan(Some("fast"), None), list(&["cloud big", "ollama llama3.1"]));
    assert_eq!(plan(Some("ollama/a/b:c"), None), list(&["ollama a/b:c"]));
    assert_eq!(plan(Some("cloud/x"), Some("fast")), list(&["cloud x"]));
    assert_eq!(plan(Some("hf.co/x"), None), list(&["ollama hf.co/x"]));
    assert_eq!(plan(Some("chat-1"), None), list(&["cloud big", "ollama small", "twin big"]));
}

#[test]
fn the_best_pattern_wins_and_equals_are_sorted_by_wait() {
    assert_eq!(plan(Some("exact"), None), list(&["cloud exact"]));
    assert_eq!(plan(Some("big-2"), None), list(&["twin big-2", "cloud big-2"]));
    assert_eq!(plan(Some("other"), None), list(&["ollama other"]));
}

#[test]
fn local_and_secure_never_name_a_cloud_provider() {
    assert_eq!(plan(None, Some("local")), list(&["ollama llama3.1"]));
    assert_eq!(plan(Some("local"), None), list(&["ollama llama3.1"]));
    assert_eq!(plan(None, Some("secure")), Err(ErrorKind::NoProviderForPolicy));
    assert_eq!(plan(Some("secure"), Some("fast")), list(&["ollama llama3.1"]));
    let anyone = caller(&["*"], &["*"], None);
    let policy = Some(DataPolicy::Local);
    assert_eq!(plan_as(&anyone, Some("exact"), None, policy), Err(ErrorKind::NoProviderForPolicy));
    assert_eq!(plan_as(&anyone, Some("chat-1"), None, policy), list(&["ollama small", "twin big"]));
    let handed_on = Some("ollama/gpt-oss:120b-cloud");
    assert_eq!(plan(handed_on, None), list(&["ollama gpt-oss:120b-cloud"]));
    assert_eq!(plan(handed_on, Some("local")), Err(ErrorKind::NoProviderForPolicy));
    let careful = caller(&["*"], &["*"], policy);
    assert_eq!(plan_as(&careful, Some("big-2"), None, None), list(&["twin big-2"]));
}

#[test]
fn a_key_reaches_only_its_models_and_providers_under_any_name() {
    let narrow = caller(&["small", "chat-*"], &["*"], None);
    assert_eq!(plan_as(&narrow, Some("chat-1"), None, None), list(&["ollama small"]));
    assert_eq!(plan_as(&narrow, Some("other"), None, None), Err(ErrorKind::NotAllowed));
    assert_eq!(plan_as(&narrow, None, None, None), Err(ErrorKind::NotAllowed));
    let local = caller(&["*"], &["ollama"], None);
    assert_eq!(plan_as(&local, None, None, None), list(&["ollama llama3.1"]));
    assert_eq!(plan_as(&local, Some("cloud/x"), None, None), Err(ErrorKind::NotAllowed));
}

#[test]
fn ollamas_implicit_tag_is_the_same_name_to_every_pattern() {
    let narrow = caller(&["small", "exact", "x:latest"], &["*"], None);
    let plan_narrow = |model| plan_as(&narrow, Some(model), None, None);
    assert_eq!(plan_narrow("small:latest"), list(&["ollama small:latest"]));
    assert_eq!(plan_narrow("ollama/small:latest"), Err(ErrorKind::NotAllowed));
    assert_eq!(plan_narrow("x"), list(&["ollama x"]));
    for other in ["small:7b", "x:7b", "smaller:latest"] {
        assert_eq!(plan_narrow(other), Err(ErrorKind::NotAllowed), "{other}");
    }
    // For other backends a colon is an ordinary character.
    assert_eq!(plan(Some("exact:latest"), None), list(&["ollama exact:latest"]));
    assert_eq!(plan_narrow("cloud/exact:latest"), Err(ErrorKind::NotAllowed));
    assert_eq!(plan(Some("tagged"), None), list(&["twin tagged"]));
    assert_eq!(plan(Some("alias:latest"), None), list(&["twin big"]));
    assert_eq!(plan(Some("alias:7b"), None), list(&["ollama alias:7b"]));
    assert_eq!(plan(Some("mixed:latest"), None), list(&["ollama mixed:latest"]));
}

#[test]
fn an_unknown_hint_is_refused_with_the_known_ones() {
    let asker = caller(&["*"], &["*"], None);
    let asked = Asked {
        model: None,
        hint: Some("quick"),
        policy: None,
        caller: &asker,
        wants: Wants::Model,
    };
    let error = routes()
        .plan(asked, &mut |_| 0, &|_: &str, _: Option<&str>| Some(Duration::ZERO))
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidRequest);
    assert_eq!(error.message, "unknown model_hint `quick`; known are fast, local, nobody, secure");
    assert_eq!(plan(None, Some("nobody")), Err(ErrorKind::ModelNotFound));
}

#[test]
fn weights_are_honoured_over_all_draws() {
    let asker = caller(&["*"], &["*"], None);
    let asked = Asked {
        model: Some("chat-1"),
        hint: None,
        policy: None,
        caller: &asker,
        wants: Wants::Model,
    };
    let first = |ticket: u32| {
        let plan = routes().plan(
            asked,
            &mut |below| ticket.min(below - 1),
            &|_: &str, _: Option<&str>| Some(Duration::ZERO),
        );
        plan.unwrap().candidates[0].provider.to_string()
    };
    let firsts: Vec<String> = (0..4).map(first).collect();
    assert_eq!(firsts, ["cloud", "cloud", "cloud", "ollama"]);
}

#[test]
fn targets_of_one_weight_go_by_wait_and_only_equal_waits_by_dice() {
    let targets = ["a", "b", "c", "d"].map(|name| provider(name, Trust::Local, "m", &["none"]));
    let weights = [("a", 2), ("b", 2), ("c", 2), ("d", 5)];
    let route = |weights: &[(&str, u32)]| RouteSettings {
        model: "x".into(),
        targets: weights.iter().map(|(name, weight)| target(name, name, *weight)).collect(),
        ..RouteSettings::default()
    };
    let asker = caller(&["*"], &["*"], None);
    let first = |weights: &[(&str, u32)], seconds: [u64; 4], seed: u64| {
        let settings = DefaultSettings { providers: vec!["a".into()] };
        let routes = Routes::new(targets.to_vec(), &[route(weights)], &[].into(), &settings);
        let (hint, policy, wants) = (None, None, Wants::Model);
        let asked = Asked { model: Some("x"), hint, policy, caller: &asker, wants };
        let wait = |name: &str, model: Option<&str>| {
            assert_eq!(model, Some(name), "the target's own model");
            Some(Duration::from_secs(seconds["abcd".find(name).unwrap()]))
        };
        let mut dice = fastrand::Rng::with_seed(seed);
        let plan = routes.plan(asked, &mut |below| dice.u32(..below), &wait).unwrap();
        plan.candidates[0].provider.to_string()
    };
    let count = |weights: &[(&str, u32)], seconds: [u64; 4], name: &str| {
        (0..1000).filter(|seed| first(weights, seconds, *seed) == name).count()
    };
    assert_eq!(count(&weights[..3], [3, 1, 2, 0], "b"), 1000);
    assert_eq!(count(&weights[..3], [2, 1, 1, 0], "a"), 0);
    let half = count(&weights[..3], [2, 1, 1, 0], "b");
    assert!((400..600).contains(&half), "{half} of 1000 between two equal waits");
    // Six shares of eleven for the three, whichever of them it is.
    let share = count(&weights, [3, 1, 2, 9], "b");
    assert!((495..595).contains(&share), "{share} of 1000 for the shortest wait of its weight");
    assert_eq!(share + count(&weights, [3, 1, 2, 9], "d"), 1000);
}

/// Waits of no time, and so much of a conversation that each provider remembers.
struct Knows<const N: usize>([(&'static str, u32); N]);

impl<const N: usize> Outlook for Knows<N> {
    fn wait(&self, _: &str, _: Option<&str>) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    fn affinity(&self, provider: &str, _: &str) -> Option<Affinity> {
        let known = self.0.iter().find(|(name, _)| *name == provider)?.1;
        Some(Affinity { known, wait: Duration::ZERO, within: Duration::from_secs(1) })
    }
}

#[test]
fn the_equal_that_remembers_the_conversation_goes_first() {
    let asker = caller(&["*"], &["*"], None);
    let order = |model, policy, knows: &dyn Outlook| {
        let asked =
            Asked { model: Some(model), hint: None, policy, caller: &asker, wants: Wants::Model };
        let plan = routes().plan(asked, &mut |_| 0, knows).unwrap();
        let names: Vec<String> =
            plan.candidates.iter().map(|one| one.provider.to_string()).collect();
        names.join(" ")
    };
    let cloud = Knows([("cloud", 9), ("twin", 0)]);
    assert_eq!(order("mixed", None, &Knows([("cloud", 0), ("twin", 0)])), "twin cloud");
    assert_eq!(order("mixed", None, &cloud), "cloud twin");
    assert_eq!(order("big-2", None, &Knows([("cloud", 1), ("twin", 2)])), "twin cloud");
    // What is not known to be allowed is not even compared.
    assert_eq!(order("mixed", Some(DataPolicy::Local), &cloud), "twin");
    // Weights that differ are the operator's wish.
    let small = Knows([("cloud", 0), ("ollama", 9), ("twin", 99)]);
    assert_eq!(order("chat-x", None, &small), "cloud ollama twin");
}

fn explained(asker: &Caller, model: Option<&str>, hint: Option<&str>) -> Explanation {
    let asked = Asked { model, hint, policy: None, caller: asker, wants: Wants::Model };
    let wait = |name: &str, _: Option<&str>| (name != "twin").then(|| Duration::from_secs(1));
    let (plan, explanation) = routes().explain(asked, &mut |_| 0, &wait);
    let plan = plan.map(|plan| plan.candidates).unwrap_or_default();
    let kept = explanation.considered.iter().filter(|one| one.verdict == Verdict::Candidate);
    assert!(
        kept.map(|one| (&one.provider, &one.model))
            .eq(plan.iter().map(|candidate| (&candidate.provider, &candidate.model)))
    );
    explanation
}

#[test]
fn equals_known_to_lack_the_model_are_not_asked_unless_all_lack_it() {
    let asker = caller(&["*"], &["*"], None);
    let explanation = explained(&asker, Some("big-2"), None);
    assert_eq!(explanation.summary(), "cloud/big-2");
    assert_eq!(explanation.considered[0].verdict, Verdict::NotInstalled);
    let asked = Asked {
        model: Some("big-2"),
        hint: None,
        policy: None,
        caller: &asker,
        wants: Wants::Model,
    };
    let plan = routes().plan(asked, &mut |_| 0, &|_: &str, _: Option<&str>| None).unwrap();
    let asked: Vec<&str> = plan.candidates.iter().map(|one| &*one.provider).collect();
    assert_eq!(asked, ["cloud", "twin"], "the lists may be old");
}

#[test]
fn a_choice_is_explained_step_by_step() {
    let asker = caller(&["*"], &["*"], None);
    let explanation = explained(&asker, Some("chat-1"), None);
    assert_eq!(
        explanation.steps(None),
        [
            "data policy: none",
            "rule: route 1, `chat-*`",
            "cloud/big: candidate, drawn with weight 3",
            "ollama/small: candidate, drawn with weight 1",
            "twin/big: candidate",
            "result: cloud/big (weight 3) or ollama/small (weight 1), then twin/big",
        ]
    );
    let explanation = explained(&asker, Some("secure"), Some("local"));
    let steps = explanation.steps(None);
    assert_eq!(steps[0], "data policy: local, the hint `local` says so");
    assert_eq!(steps[3], "cloud/big: left out: the data policy allows local providers only");
    for (model, hint, rule) in [
        (None, None, Some(Rule::Default)),
        (Some("cloud/x"), None, Some(Rule::ProviderModel)),
        (Some("fast"), None, Some(Rule::Generic("fast".into()))),
        (Some("x"), Some("fast"), Some(Rule::Hint("fast".into()))),
        (Some("exact"), None, Some(Rule::Models)),
        (None, Some("unheard-of"), None),
    ] {
        assert_eq!(explained(&asker, model, hint).rule, rule, "{model:?} {hint:?}");
    }
}

#[test]
fn an_explanation_hides_names_that_the_key_may_not_use() {
    let local = caller(&["*"], &["ollama"], None);
    let told = explained(&local, Some("chat-1"), None).told();
    assert_eq!(told, "rule=route; tries=ollama/small; left-out=key");
    let told = explained(&local, Some("cloud/secret"), None).told();
    assert_eq!(told, "rule=provider/model; tries=none; left-out=key");
    let careful = caller(&["*"], &["*"], Some(DataPolicy::Local));
    let told = explained(&careful, Some("fast"), None).told();
    assert_eq!(told, "rule=hint; tries=ollama/llama3.1; policy=local; left-out=data-policy");
    let told = explained(&careful, Some("ollama/a;b, c\r\nx: \u{e9}"), None).told();
    assert_eq!(told, "rule=provider/model; tries=ollama/a?b??c??x:??; policy=local");
}

proptest! {
    #[test]
    fn no_name_leads_a_local_only_request_to_the_cloud(
        model in proptest::option::of("(cloud/|big|chat-|exact|fast|local|)[a-z]{0,3}"),
        hint in proptest::option::of("local|secure|fast"),
        ticket in 0u32..8,
    ) {
        let asker = caller(&["*"], &["*"], None);
        let asked = Asked {
            model: model.as_deref(),
            hint: hint.as_deref(),
            policy: Some(DataPolicy::Local),
            caller: &asker,
            wants: Wants::Model,
        };
        if let Ok(plan) = routes().plan(asked, &mut |below| ticket % below, &|_: &str, _: Option<&str>| Some(Duration::ZERO)) {
            prop_assert_eq!(plan.policy, Some(DataPolicy::Local));
            prop_assert!(plan.candidates.iter().all(|candidate| &*candidate.provider != "cloud"));
        }
    }
}
