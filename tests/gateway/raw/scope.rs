//! Who may have what passed on, and to whom: keys, models, aliases, data policy.

use llm_gateway::policy::DataPolicy;
use serde_json::json;

use super::{FORM, JSON, LISTED, form, lister, said, transcribe};
use crate::client::{Answer, get, post_bytes, send};
use crate::harness::{Config, Gateway, Key, Provider, Route, Target, spawn_gateway};
use crate::upstream::Upstream;

/// Keys of several scopes, and a provider that lists no path.
fn with_keys() -> Config {
    let other = Provider::new("other", "ollama", "http://127.0.0.1:1").models(["none"]);
    Config::new()
        .provider(other)
        .key(Key::new("all"))
        .key(Key::new("some").models(["whisper-*", "fast"]))
        .key(Key::new("away").providers(["other"]))
        .key(Key::new("near").data_policy(DataPolicy::Local))
}

async fn with_key(gateway: &Gateway, key: &str, path: &str, body: &str) -> Answer {
    let key = format!("Bearer {key}");
    post_bytes(&gateway.url(path), &[("authorization", &*key)], body).await
}

#[tokio::test]
async fn a_key_has_passed_on_only_what_its_scope_allows() {
    let upstream = Upstream::spawn_whole(said);
    let gateway = spawn_gateway(with_keys().provider(lister("own", &upstream))).await;
    let speech = "/v1/audio/speech";
    let mut sent = 0;
    for (key, body, status) in [
        ("sk-none", r#"{"model":"whisper-1"}"#, 401),
        ("sk-all", r#"{"model":"anything"}"#, 200),
        ("sk-some", r#"{"model":"whisper-1"}"#, 200),
        ("sk-some", r#"{"model":"own/whisper-1"}"#, 403),
        ("sk-some", r#"{"model":"tts-1"}"#, 403),
        // Without a model nobody knows which one would run.
        ("sk-some", r#"{"input":"a"}"#, 403),
        ("sk-some", r#"{"model":null}"#, 403),
        // Another reader might find another model.
        ("sk-some", r#"{"model":"whisper-1","model":"tts-1"}"#, 400),
        ("sk-some", r#"{"model":"whisper-1","Model":"tts-1"}"#, 400),
        ("sk-all", r#"{"model":7}"#, 400),
        ("sk-all", r#"{"model":"m""#, 400),
        ("sk-away", r#"{"model":"whisper-1"}"#, 403),
    ] {
        let answer = with_key(&gateway, key, speech, body).await;
        assert_eq!(answer.status, status, "{key} {body} {}", answer.text());
        sent += 1;
    }
    let told = with_key(&gateway, "sk-some", speech, "{}").await;
    assert!(told.text().contains("name one that it may use"), "{}", told.text());
    let some = ("authorization", "Bearer sk-some");
    let transcriptions = gateway.url("/v1/audio/transcriptions");
    for (fields, status) in [
        (&[("model", "whisper-1")][..], 200),
        (&[("model", "tts-1")], 403),
        (&[("model", "whisper-1"), ("model", "tts-1")], 400),
        (&[("model", "whisper-1"), ("Model", "tts-1")], 400),
        (&[("language", "de")], 403),
    ] {
        let answer = send("POST", &transcriptions, &[FORM, some], form(fields)).await;
        assert_eq!(answer.status, status, "{fields:?} {}", answer.text());
        sent += 1;
    }
    // What says that it is no JSON is read all the same, and so is the query.
    let text = ("content-type", "text/plain");
    let hidden = r#"{"model":"tts-1"}"#;
    assert_eq!(send("POST", &transcriptions, &[text, some], hidden).await.status, 403);
    let query = format!("{transcriptions}?model=tts-1");
    assert_eq!(send("POST", &query, &[text, some], "RIFF").await.status, 403);
    let both = format!("{transcriptions}?model=tts-1");
    assert_eq!(send("POST", &both, &[JSON, some], r#"{"model":"whisper-1"}"#).await.status, 400);
    assert_eq!(get(&gateway.url("/v1/audio/voices")).await.status, 401);
    for call in upstream.calls_so_far().iter().filter(|call| call.method == "POST") {
        assert!(!String::from_utf8_lossy(&call.body).contains("tts-1"), "{call:?}");
    }
    gateway.end(sent + 5).await;
}

#[tokio::test]
async fn an_alias_is_put_where_the_model_stands() {
    let upstream = Upstream::spawn(said);
    let route = Route::new("fast", [Target::new("own", "whisper-large-v3")]);
    let config = with_keys().provider(lister("own", &upstream)).route(route);
    let gateway = spawn_gateway(config).await;
    let some = ("authorization", "Bearer sk-some");
    let spoken = r#"{ "input":"a\u00e9", "model" : "fast","speed":1.0 }"#;
    assert_eq!(with_key(&gateway, "sk-all", "/v1/audio/speech", spoken).await.status, 200);
    let transcriptions = gateway.url("/v1/audio/transcriptions");
    let fields = [("prompt", "fast"), ("model", "fast")];
    // The key may use the alias, but not what runs behind it.
    let answer = send("POST", &transcriptions, &[FORM, some], form(&fields)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-gateway-model"), Some("whisper-large-v3"));
    let all = ("authorization", "Bearer sk-all");
    let query = format!("{transcriptions}?a=%20&model=fast");
    assert_eq!(send("POST", &query, &[all], "RIFF").await.status, 200);
    let prefixed = r#"{"model":"own/tts"}"#;
    assert_eq!(with_key(&gateway, "sk-all", "/v1/audio/speech", prefixed).await.status, 200);
    let calls = upstream.calls_so_far();
    let expected = r#"{ "input":"a\u00e9", "model" : "whisper-large-v3","speed":1.0 }"#;
    assert_eq!(calls[0].body, expected);
    assert_eq!(calls[1].body, form(&[("prompt", "fast"), ("model", "whisper-large-v3")]));
    assert_eq!(calls[2].path, "/v1/audio/transcriptions?a=%20&model=whisper-large-v3");
    assert_eq!(calls[3].body, r#"{"model":"tts"}"#);
    gateway.end(4).await;
}

#[tokio::test]
async fn what_must_stay_local_is_passed_on_to_local_providers_only() {
    let (near, far) = (Upstream::spawn(said), Upstream::spawn(said));
    let config = with_keys()
        .provider(Provider::openai("far", &far).passthrough(LISTED).models(["whisper-1", "tts-1"]))
        .provider(lister("own", &near).models(["whisper-*"]));
    let gateway = spawn_gateway(config).await;
    let speech = gateway.url("/v1/audio/speech");
    let local = ("x-gateway-data-policy", "local");
    let (all, own) = (("authorization", "Bearer sk-all"), ("authorization", "Bearer sk-near"));
    for headers in [&[JSON, all, local][..], &[JSON, own]] {
        let refused = send("POST", &speech, headers, r#"{"model":"tts-1"}"#).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.json()["error"]["code"], "no_provider_for_policy");
        let nameless = send("POST", &speech, headers, r#"{"input":"a"}"#).await;
        assert_eq!((nameless.status, nameless.header("x-gateway-provider")), (200, Some("own")));
    }
    assert!(far.calls_so_far().is_empty());
    let sent = send("POST", &speech, &[JSON, all], r#"{"model":"tts-1"}"#).await;
    assert_eq!((sent.status, sent.header("x-gateway-provider")), (200, Some("far")));
    gateway.end(5).await;
}

#[tokio::test]
async fn the_model_s_provider_is_asked_if_it_lists_the_path_else_one_that_does() {
    let (first, second) = (Upstream::spawn(said), Upstream::spawn(said));
    let config = Config::new()
        // Its patterns fit better than any other's, but it lists nothing.
        .provider(Provider::new("chats", "ollama", "http://127.0.0.1:1").models(["whisper-1"]))
        .provider(lister("one", &first).models(["*"]))
        .provider(lister("two", &second).models(["big-*", "*"]));
    let gateway = spawn_gateway(config).await;
    let from = async |path: &str, model: &str, explain: bool| {
        let explain = if explain { &[("x-gateway-explain", "route")][..] } else { &[] };
        let answer = post_bytes(&gateway.url(path), explain, model).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        (header("x-gateway-provider"), header("x-gateway-route"))
    };
    let speech = "/v1/audio/speech";
    assert_ne!(from(speech, r#"{"model":"whisper-1"}"#, false).await.0, "chats");
    assert_eq!(from(speech, r#"{"model":"big-1"}"#, false).await.0, "two");
    let (provider, route) = from("/tokenize", r#"{"content":"a"}"#, true).await;
    assert_eq!(provider, "one");
    assert_eq!(
        route,
        "rule=path; tries=one/(no?model), two/(no?model); \
         way=one/(no?model) passed on, two/(no?model) passed on"
    );
    let nobody = post_bytes(&gateway.url(speech), &[], r#"{"model":"chats/x"}"#).await;
    assert_eq!(nobody.status, 404, "{}", nobody.text());
    gateway.end(4).await;
}

#[tokio::test]
async fn a_model_in_a_form_takes_the_same_route_as_one_in_json() {
    let (first, second) = (Upstream::spawn(said), Upstream::spawn(said));
    let providers = [lister("one", &first).models(["a"]), lister("two", &second).models(["b"])];
    let gateway = spawn_gateway(Config::new().providers(providers)).await;
    for (model, provider) in [("a", "one"), ("b", "two")] {
        let answer = transcribe(&gateway, model).await;
        assert_eq!(answer.json(), json!({"text": "hello"}));
        assert_eq!(answer.header("x-gateway-provider"), Some(provider));
    }
    gateway.end(2).await;
}
