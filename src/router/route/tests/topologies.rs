//! Ten thousand random configurations, each with requests that must stay local, for every possible
//! reason.
//!
//! It owns the random numbers and its own computation of which requests must stay local, so that
//! the rules are not tested against themselves. A run that fails names its seed.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;
use crate::admission::backoff::RetryPolicy;
use crate::policy::OnCut;
use crate::provider::fallback::narrow;
use crate::provider::retry::{Failure, Next, Standing, decide};

const TOPOLOGIES: u64 = 10_000;
const NAMES: [&str; 6] = ["local", "gpt", "x", "ollama", "secure", "b.2"];
const MODELS: [&str; 8] =
    ["llama3.1", "gpt-4o", "local", "secure", "fast", "gpt/llama3.1", "ollama/local", "x/secure"];
const GLOBS: [&str; 6] = ["*", "llama*", "gpt-?o", "llama3.1", "local", "s*"];

/// A configuration, and the test's own facts about it.
struct Topology {
    routes: Routes,
    trust: BTreeMap<Arc<str>, Trust>,
    hints: Hints,
}

fn pick<'a>(dice: &mut Rng, from: &[&'a str]) -> &'a str {
    from[dice.usize(..from.len())]
}

fn some<T>(dice: &mut Rng, most: usize, mut make: impl FnMut(&mut Rng) -> T) -> Vec<T> {
    let count = dice.usize(..=most);
    (0..count).map(|_| make(dice)).collect()
}

fn topology(dice: &mut Rng) -> Topology {
    let mut names: Vec<&str> = NAMES.to_vec();
    dice.shuffle(&mut names);
    names.truncate(dice.usize(1..=NAMES.len()));
    let providers: Vec<RoutedProvider> = names
        .iter()
        .map(|name| RoutedProvider {
            name: Arc::from(*name),
            trust: if dice.bool() { Trust::Local } else { Trust::Cloud },
            naming: if dice.bool() { Naming::Tagged } else { Naming::Plain },
            default_model: Arc::from(pick(dice, &MODELS)),
            models: some(dice, 3, |dice| pick(dice, &GLOBS).to_owned()),
            passthrough: Vec::new(),
            installs_models: false,
        })
        .collect();
    let trust = providers.iter().map(|one| (Arc::clone(&one.name), one.trust)).collect();
    let target = |dice: &mut Rng| TargetSettings {
        provider: pick(dice, &names).to_owned(),
        model: dice.bool().then(|| pick(dice, &MODELS).to_owned()),
        context: dice.bool().then(|| dice.u64(1..4)),
        weight: dice.u32(1..5),
    };
    let routes = some(dice, 3, |dice| RouteSettings {
        model: pick(dice, &GLOBS).to_owned(),
        targets: some(dice, 3, target),
        fallback: some(dice, 3, target),
        on_cut: OnCut::default(),
    });
    let list = |dice: &mut Rng| some(dice, 4, |dice| pick(dice, &names).to_owned());
    // Whatever providers a file gives to `local` and `secure`, both promise the same.
    let hints: Hints = ["local", "secure", "fast", "online"]
        .into_iter()
        .map(|hint| (hint.to_owned(), list(dice)))
        .collect();
    let default = DefaultSettings { providers: list(dice) };
    Topology { routes: Routes::new(providers, &routes, &hints, &default), trust, hints }
}

/// Fails one candidate after the other; returns every candidate that would be called, in order.
fn called(plan: Plan, dice: &mut Rng) -> Vec<Candidate> {
    const FAILURES: [Failure; 8] = [
        Failure::Connect,
        Failure::FirstEventTimeout,
        Failure::Status { status: 503, retry_after: None },
        Failure::RateLimited { retry_after: None },
        Failure::ContextLength,
        Failure::NoModel,
        Failure::Auth,
        Failure::LocalResource,
    ];
    let (mut left, mut reserve) = (plan.candidates, plan.reserve);
    let mut called = Vec::new();
    let mut attempts = 0;
    while let Some(candidate) = left.pop_front() {
        for here in 1.. {
            called.push(candidate.clone());
            attempts += 1;
            let failure = FAILURES[dice.usize(..FAILURES.len())];
            narrow(&failure, Some(&candidate), &mut left, &mut reserve);
            let standing = Standing {
                attempts,
                here,
                free_used: dice.bool(),
                elsewhere: !left.is_empty(),
                left: Duration::from_secs(60),
                needs: Duration::ZERO,
                delivered: false,
            };
            match decide(&failure, &standing, &RetryPolicy::default(), dice.f64()) {
                Next::Again { .. } | Next::Line => {}
                Next::Elsewhere => break,
                Next::Stop => return called,
            }
        }
    }
    called
}

#[test]
fn ten_thousand_random_topologies_call_no_cloud_for_a_local_only_request() {
    let (mut answered, mut refused, mut abroad) = (0, 0, 0);
    for seed in 0..TOPOLOGIES {
        let mut dice = Rng::with_seed(seed);
        let topology = topology(&mut dice);
        for _ in 0..8 {
            let header = dice.u8(..4) == 0;
            let key = dice.u8(..4) == 0;
            let hint = dice.bool().then(|| pick(&mut dice, &["local", "secure", "fast", "online"]));
            let model = dice.bool().then(|| pick(&mut dice, &MODELS));
            let names = [hint, model.filter(|name| topology.hints.contains_key(*name))];
            let must_stay = header
                || key
                || names.into_iter().flatten().any(|name| name == "local" || name == "secure");
            let asker = caller(&["*"], &["*"], key.then_some(DataPolicy::Local));
            let policy = header.then_some(DataPolicy::Local);
            let asked = Asked { model, hint, policy, caller: &asker, wants: Wants::Model };
            let mut draws = dice.fork();
            let waits = dice.u64(..);
            let wait = |name: &str, _: Option<&str>| {
                let wait = waits.rotate_left(name.len() as u32 * 7) % 5;
                (wait > 0).then(|| Duration::from_secs(wait))
            };
            let watched = dice.bool();
            let draw = &mut |below: u32| draws.u32(..below);
            let plan = match watched {
                true => topology.routes.explain(asked, draw, &wait).0,
                false => topology.routes.plan(asked, draw, &wait),
            };
            let Ok(plan) = plan else {
                refused += usize::from(must_stay);
                continue;
            };
            assert!(!must_stay || plan.policy == Some(DataPolicy::Local), "seed {seed}: {asked:?}");
            for candidate in called(plan, &mut dice) {
                let is_cloud = topology.trust[&candidate.provider] == Trust::Cloud;
                assert!(!(must_stay && is_cloud), "seed {seed}: {asked:?} at {candidate:?}");
                answered += usize::from(must_stay);
                abroad += usize::from(is_cloud);
            }
        }
    }
    // Otherwise the test would prove nothing.
    assert!(answered > 10_000 && refused > 10_000 && abroad > 10_000);
}
