//! From `model` and `model_hint` to a provider and a model there.

use llm_gateway::policy::Trust;
use serde_json::{Value, json};

use super::check_error;
use crate::client::{chat, post_json, post_json_with};
use crate::harness::{Config, Gateway, Key, Provider, Route, Target, spawn_gateway};
use crate::upstream::Upstream;

/// Two providers, one of them not local, and hints of the operator's own.
async fn two(local: &Upstream, cloud: &Upstream) -> Gateway {
    let first = Provider::ollama(local);
    let second =
        Provider::ollama(cloud).name("far").trust(Trust::Cloud).default_model("far-default");
    spawn_gateway(
        Config::new()
            .provider(first)
            .provider(second)
            .hint("online", ["far"])
            .hint("house", ["far"]),
    )
    .await
}

fn asking(model: Option<&str>, hint: Option<&str>) -> Value {
    let mut chat = chat("hi");
    if let Some(model) = model {
        chat["model"] = model.into();
    }
    if let Some(hint) = hint {
        chat["model_hint"] = hint.into();
    }
    chat
}

#[tokio::test]
async fn a_name_or_a_hint_chooses_the_provider_and_the_model() {
    let (local, cloud) = (Upstream::ollama(), Upstream::ollama());
    let gateway = two(&local, &cloud).await;
    let cases = [
        (None, None, "ollama", "llama3.1"),
        (Some("mistral"), None, "ollama", "mistral"),
        (Some("local"), None, "ollama", "llama3.1"),
        (Some("ollama"), None, "ollama", "llama3.1"),
        (Some("secure"), None, "ollama", "llama3.1"),
        (Some("online"), None, "far", "far-default"),
        (Some("house"), None, "far", "far-default"),
        (None, Some("local"), "ollama", "llama3.1"),
        (None, Some("house"), "far", "far-default"),
        (Some("mistral"), Some("house"), "far", "mistral"),
        (Some("mistral"), Some("secure"), "ollama", "mistral"),
        (Some("ollama"), Some("house"), "far", "far-default"),
        (Some("far/mistral"), None, "far", "mistral"),
        (Some("far/library/mistral:7b"), None, "far", "library/mistral:7b"),
        (Some("ollama/llama3.1:70b"), None, "ollama", "llama3.1:70b"),
        (Some("library/mistral"), None, "ollama", "library/mistral"),
    ];
    for (model, hint, provider, runs) in cases {
        let answer = post_json(&gateway.url("/v1/chat"), &asking(model, hint)).await;
        let what = format!("{model:?} {hint:?}: {}", answer.text());
        assert_eq!(answer.status, 200, "{what}");
        assert_eq!(answer.header("x-gateway-provider"), Some(provider), "{what}");
        assert_eq!(answer.header("x-gateway-model"), Some(runs), "{what}");
        let body = answer.json();
        assert_eq!((&body["provider"], &body["model"]), (&json!(provider), &json!(runs)), "{what}");
        let upstream = if provider == "far" { &cloud } else { &local };
        assert_eq!(upstream.calls_so_far().last().unwrap().json()["model"], runs, "{what}");
    }
    gateway.end(cases.len()).await;
}

#[tokio::test]
async fn an_unknown_hint_is_400_and_lists_the_known_ones() {
    let (local, cloud) = (Upstream::ollama(), Upstream::ollama());
    let gateway = two(&local, &cloud).await;
    let answer = post_json(&gateway.url("/v1/chat"), &asking(None, Some("quick"))).await;
    let detail = check_error(&answer, 400, "invalid_request");
    let detail = detail.as_str().unwrap();
    for hint in ["local", "ollama", "secure", "online", "house"] {
        assert!(detail.contains(hint), "{hint} is not in {detail}");
    }
    assert_eq!(local.calls_so_far().len() + cloud.calls_so_far().len(), 0);
    gateway.end(1).await;
}

#[tokio::test]
async fn the_data_policy_keeps_a_request_on_local_providers() {
    let (local, cloud) = (Upstream::ollama(), Upstream::ollama());
    let gateway = two(&local, &cloud).await;
    let url = gateway.url("/v1/chat");
    let policy = [("x-gateway-data-policy", "local")];
    let answer = post_json_with(&url, &policy, &asking(None, None)).await;
    assert_eq!((answer.status, answer.header("x-gateway-provider")), (200, Some("ollama")));
    for elsewhere in [asking(Some("far/mistral"), None), asking(None, Some("house"))] {
        let answer = post_json_with(&url, &policy, &elsewhere).await;
        check_error(&answer, 503, "no_provider_for_policy");
        assert!(answer.header("retry-after").is_some());
    }
    for nonsense in ["cloud", "LOCAL", ""] {
        let policy = [("x-gateway-data-policy", nonsense)];
        let answer = post_json_with(&url, &policy, &asking(None, None)).await;
        check_error(&answer, 400, "invalid_request");
    }
    assert_eq!(cloud.calls_so_far().len(), 0);
    gateway.end(6).await;
}

#[tokio::test]
async fn an_explanation_says_how_the_provider_was_chosen_without_names_beyond_the_key() {
    let (local, cloud) = (Upstream::ollama(), Upstream::ollama());
    let first = Provider::ollama(&local);
    let second = Provider::ollama(&cloud).name("far").trust(Trust::Cloud);
    let gateway = spawn_gateway(
        Config::new()
            .provider(first)
            .provider(second)
            .route(
                Route::new("hush-*", [Target::new("far", "x")])
                    .fallback([Target::new("ollama", "y")]),
            )
            .key(Key::new("all").key("k-all"))
            .key(Key::new("home").key("k-home").providers(["ollama"])),
    )
    .await;
    let url = gateway.url("/v1/chat");
    let ask = async |key: &str, model: &str, more: &[(&str, &str)]| {
        let headers = [&[("x-api-key", key)], more].concat();
        post_json_with(&url, &headers, &asking(Some(model), None)).await
    };
    let explain = ("x-gateway-explain", "route");
    let answer = ask("k-all", "hush-1", &[explain]).await;
    assert_eq!(answer.header("x-gateway-route"), Some("rule=route; tries=far/x, ollama/y"));
    let answer = ask("k-home", "hush-1", &[explain]).await;
    let told = Some("rule=route; tries=ollama/y; left-out=key");
    assert_eq!((answer.status, answer.header("x-gateway-route")), (200, told));
    let answer = ask("k-home", "far/secret", &[explain]).await;
    check_error(&answer, 403, "not_allowed");
    let told = Some("rule=provider/model; tries=none; left-out=key");
    assert_eq!(answer.header("x-gateway-route"), told);
    let local_only = ("x-gateway-data-policy", "local");
    let answer = ask("k-all", "hush-1", &[explain, local_only]).await;
    let told = Some("rule=route; tries=ollama/y; policy=local; left-out=data-policy");
    assert_eq!(answer.header("x-gateway-route"), told);
    assert_eq!(ask("k-all", "hush-1", &[]).await.header("x-gateway-route"), None);
    gateway.end(5).await;
}
