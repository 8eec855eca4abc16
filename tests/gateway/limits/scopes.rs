//! Every key against every name, through aliases, hints, patterns and fallbacks: none of them takes
//! it beyond its scope.
//!
//! The test has its own, naive reading of the configuration: from the requested name to all models
//! at all providers that could ever run, and from those to the ones that the key may use. The
//! gateway may answer with one of these only.

use std::collections::BTreeSet;

use crate::client::{Answer, chat, post_json_with};
use crate::crowd::key;
use crate::harness::{Breaker, Config, Key, Provider, Route, Target, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, ollama};

/// A key, its models and its providers.
const KEYS: [(&str, &[&str], &[&str]); 9] = [
    ("all", &["*"], &["*"]),
    ("alpha-only", &["*"], &["alpha"]),
    ("beta-only", &["*"], &["beta"]),
    ("llama-only", &["llama*"], &["*"]),
    ("small-only", &["small", "tiny-?"], &["*"]),
    ("alias-only", &["fast"], &["*"]),
    ("alias-and-llama", &["fast", "llama3.1"], &["*"]),
    ("alias-and-small-at-beta", &["fast", "split", "small"], &["beta"]),
    ("nothing-here", &["gpt-*"], &["gam*"]),
];

/// Where the names lead, worked out by hand from [`config`]: every model at a provider that may
/// run.
const NAMES: [(&str, &[(&str, &str)]); 17] = [
    ("llama3.1", &[("alpha", "llama3.1")]),
    ("alpha/llama3.1", &[("alpha", "llama3.1")]),
    ("beta/llama3.1", &[("beta", "llama3.1")]),
    ("gamma/llama3.1", &[("gamma", "llama3.1")]),
    ("small", &[("beta", "small")]),
    ("beta/small", &[("beta", "small")]),
    ("alpha/small", &[("alpha", "small")]),
    ("tiny-1", &[("beta", "tiny-1")]),
    ("tiny-22", &[("gamma", "tiny-22")]),
    ("fast", &[("alpha", "llama3.1"), ("beta", "small")]),
    ("split", &[("beta", "small"), ("gamma", "big"), ("alpha", "llama3.1")]),
    ("broken-first", &[("gamma", "llama3.1"), ("alpha", "llama3.1")]),
    ("team-x", &[("alpha", "team-x"), ("beta", "small")]),
    ("ours", &[("beta", "small"), ("gamma", "big")]),
    ("unknown", &[("gamma", "unknown")]),
    ("", &[("gamma", "big")]),
    ("beta/", &[("gamma", "beta/")]),
];

const DIALECTS: [&str; 4] = ["/v1/chat", "/v1/chat/completions", "/api/chat", "/v1/messages"];

fn config(alpha: &Upstream, beta: &Upstream, gamma: &Upstream) -> Config {
    let named = |name: &str, upstream: &Upstream, model: &str| {
        let provider = Provider::ollama(upstream).name(name).default_model(model);
        provider.no_retries().breaker(Breaker::default().failures(1000))
    };
    let keys =
        KEYS.map(|(name, models, providers)| Key::new(name).models(models).providers(providers));
    Config::new()
        .keys(keys)
        .provider(named("alpha", alpha, "llama3.1").models(["llama*"]))
        .provider(named("beta", beta, "small").models(["small", "tiny-?"]))
        // Whatever asks for `llama3.1` here fails before it begins, so that fallbacks are taken.
        .provider(named("gamma", gamma, "big").models(["big"]))
        .route(
            Route::new("fast", [Target::new("alpha", "llama3.1")])
                .fallback([Target::new("beta", "small")]),
        )
        .route(
            Route::new("split", [Target::new("beta", "small"), Target::new("gamma", "big")])
                .fallback([Target::new("alpha", "llama3.1")]),
        )
        .route(
            Route::new("broken-first", [Target::new("gamma", "llama3.1")])
                .fallback([Target::new("alpha", "llama3.1")]),
        )
        .route(Route::new("team-*", [Target::at("alpha")]).fallback([Target::new("beta", "small")]))
        .hint("ours", ["beta", "gamma"])
        .hint("local", ["alpha"])
        .default_providers(["gamma"])
}

fn answers(call: &Call) -> Script {
    match call.json()["model"].as_str() {
        // What only a fallback can serve.
        Some("team-x") => ollama::error(503, "busy"),
        _ => ollama::reply(call),
    }
}

fn fails_llama(call: &Call) -> Script {
    match call.json()["model"].as_str() {
        Some("llama3.1") => ollama::error(503, "busy"),
        _ => ollama::reply(call),
    }
}

/// A pattern with `*` and `?`, matched the slow and obvious way.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches(rest, name)
                || name.split_first().is_some_and(|(_, less)| matches(pattern, less))
        }
        (Some((b'?', pattern)), Some((_, name))) => matches(pattern, name),
        (Some((one, pattern)), Some((other, name))) if one == other => matches(pattern, name),
        _ => false,
    }
}

fn any(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
}

/// The candidates of a name that a key may use: the provider, the model that runs and the requested
/// name are all in its scope. Names of hints are no models, and a request without a name has the
/// model's own.
fn allowed<'a>(
    (_, models, providers): (&str, &[&str], &[&str]),
    name: &str,
    leads_to: &'a [(&'a str, &'a str)],
) -> BTreeSet<(&'a str, &'a str)> {
    let is_asked = name.is_empty() || name == "ours" || any(models, name);
    let runs = leads_to
        .iter()
        .filter(|(provider, model)| is_asked && any(providers, provider) && any(models, model));
    runs.copied().collect()
}

fn served(answer: &Answer) -> Option<(&str, &str)> {
    Some((answer.header("x-gateway-provider")?, answer.header("x-gateway-model")?))
}

#[tokio::test]
async fn no_name_takes_a_key_beyond_its_scope() {
    let alpha = Upstream::spawn(answers);
    let beta = Upstream::spawn(ollama::reply);
    let gamma = Upstream::spawn(fails_llama);
    let gateway = spawn_gateway(config(&alpha, &beta, &gamma)).await;
    let (mut sent, mut ok) = (0, BTreeSet::new());
    for scope in KEYS {
        let before = [&alpha, &beta, &gamma].map(|upstream| upstream.calls_so_far().len());
        let mut may_run = BTreeSet::new();
        for (name, leads_to) in NAMES {
            let allowed = allowed(scope, name, leads_to);
            may_run.extend(allowed.iter().copied());
            for path in DIALECTS {
                let is_native = path == "/v1/chat";
                if name.is_empty() && !is_native {
                    continue;
                }
                let mut body = chat("hi");
                body["max_tokens"] = 5.into();
                body["stream"] = false.into();
                if !name.is_empty() {
                    body["model"] = name.into();
                }
                let secret = format!("sk-{}", scope.0);
                let answer = post_json_with(&gateway.url(path), &key(&secret), &body).await;
                let case = format!("{} asks {path} for {name:?}: {}", scope.0, answer.text());
                sent += 1;
                match answer.status {
                    200 => {
                        let served = served(&answer).unwrap();
                        assert!(allowed.contains(&served), "{served:?}: {case}");
                        ok.insert((scope.0, name));
                    }
                    403 => assert!(allowed.is_empty(), "{allowed:?}: {case}"),
                    // Everything that is allowed failed.
                    503 | 529 | 502 => {
                        let served = served(&answer).unwrap();
                        assert!(allowed.contains(&served), "{served:?}: {case}");
                    }
                    status => panic!("{status}: {case}"),
                }
            }
        }
        // Not even a failed call went to another provider.
        for ((name, upstream), before) in
            [("alpha", &alpha), ("beta", &beta), ("gamma", &gamma)].into_iter().zip(before)
        {
            for call in &upstream.calls_so_far()[before..] {
                let body = call.json();
                let ran = (name, body["model"].as_str().unwrap());
                assert!(may_run.contains(&ran), "{} ran {ran:?}", scope.0);
            }
        }
    }
    assert!(sent > 500, "{sent}");
    // The matrix means something: much was answered, through aliases and fallbacks too.
    for expected in [("all", "broken-first"), ("alias-and-llama", "fast"), ("all", "team-x")] {
        assert!(ok.contains(&expected), "{expected:?} of {ok:?}");
    }
    assert!(ok.contains(&("alias-and-small-at-beta", "fast")), "{ok:?}");
    assert!(!ok.contains(&("alias-only", "fast")));
    gateway.end(sent).await;
}
