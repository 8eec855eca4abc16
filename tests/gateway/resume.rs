//! Answers that break off and continue at another provider: the client has one whole answer with
//! one end, whatever API it speaks, and every count is right.

mod prefill;
mod refused;
mod whole;

use std::time::Duration;

use llm_gateway::policy::OnCut;
use serde_json::{Value, json};

use crate::client::{Pieces, stream};
use crate::crowd::shows;
use crate::harness::{
    Breaker, Config, Gateway, Provider, Route, Server, Target, Timeouts, spawn_gateway,
};
use crate::upstream::{Gate, Script, Upstream, ollama, openai};

const EVERYTHING: u64 = u64::MAX;

/// A provider that is not called again after a failure, and that no breaker hides.
fn calm(provider: Provider) -> Provider {
    provider
        .no_retries()
        .breaker(Breaker::default().failures(1000))
        .timeouts(Timeouts::default().idle("300ms"))
}

/// Providers, and a route from `chat` to all of them in order.
fn routed<const COUNT: usize>(providers: [Provider; COUNT]) -> Config {
    with_route(providers, |route| route)
}

/// The same, with a change to the route.
fn with_route<const COUNT: usize>(
    providers: [Provider; COUNT],
    change: impl FnOnce(Route) -> Route,
) -> Config {
    let mut targets = providers.iter().map(|provider| Target::new(provider.key(), "llama3.1"));
    let first = targets.next().unwrap();
    let route = Route::new("chat", [first]).fallback(targets.collect::<Vec<_>>());
    Config::new().route(change(route)).providers(providers)
}

/// An Ollama of this name.
fn ollama_at(name: &str, upstream: &Upstream) -> Provider {
    calm(Provider::ollama(upstream).name(name))
}

/// A provider of this name that speaks OpenAI's API, which cannot continue an answer.
fn openai_at(name: &str, upstream: &Upstream) -> Provider {
    calm(Provider::openai(name, upstream))
}

/// A gateway whose first provider is an Ollama and whose second repeats.
async fn two(first: &Upstream, second: &Upstream) -> Gateway {
    spawn_gateway(routed([ollama_at("first", first), openai_at("second", second)])).await
}

/// An Ollama that dies after two tokens.
fn dies() -> Upstream {
    Upstream::spawn(|_| ollama::opened(&["Hel", "lo"]).cut_at(EVERYTHING))
}

/// A chat of the route, streamed.
fn asked() -> Value {
    json!({ "model": "chat", "stream": true, "messages": [{ "role": "user", "content": "hi" }] })
}

/// The deltas of a native stream put together, the codes of its errors, and how often it ended.
fn read(pieces: &Pieces) -> (String, Vec<String>, usize) {
    let (mut text, mut errors, mut ends) = (String::new(), Vec::new(), 0);
    for (name, said) in pieces.events() {
        match serde_json::from_str::<Value>(&said) {
            Err(_) => ends += usize::from(said == "[DONE]"),
            Ok(said) if name == "error" => errors.push(said["code"].as_str().unwrap().to_owned()),
            Ok(said) => text.push_str(said["delta"].as_str().unwrap_or_default()),
        }
    }
    (text, errors, ends)
}

/// How often `metric` was counted for this provider and label.
async fn counted(gateway: &Gateway, metric: &str, provider: &str, label: (&str, &str)) -> f64 {
    let name = format!("llm_gateway_{metric}_total");
    gateway.metrics().await.sum(&name, &[("provider", provider), label])
}

/// The API that a client speaks, where its answer's text is, and what ends the answer.
type Dialect = (&'static str, Value, fn(&Value) -> Option<&Value>, &'static str);

fn dialects() -> [Dialect; 7] {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let with = |more: Value| {
        let mut body = json!({ "model": "chat", "stream": true });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let chat = with(json!({ "messages": messages }));
    let anthropic = with(json!({ "messages": messages, "max_tokens": 9 }));
    [
        ("/v1/chat", chat.clone(), |said| said.get("delta"), "[DONE]"),
        (
            "/v1/chat/completions",
            chat.clone(),
            |said| said.pointer("/choices/0/delta/content"),
            "[DONE]",
        ),
        (
            "/v1/completions",
            with(json!({ "prompt": "hi" })),
            |said| said.pointer("/choices/0/text"),
            "[DONE]",
        ),
        (
            "/v1/responses",
            with(json!({ "input": "hi" })),
            |said| said.get("delta"),
            "\"type\":\"response.completed\"",
        ),
        (
            "/v1/messages",
            anthropic,
            |said| said.pointer("/delta/text"),
            "\"type\":\"message_stop\"",
        ),
        ("/api/chat", chat, |said| said.pointer("/message/content"), "\"done\":true"),
        (
            "/api/generate",
            with(json!({ "prompt": "hi" })),
            |said| said.get("response"),
            "\"done\":true",
        ),
    ]
}

/// The text of a stream in whichever dialect.
fn text_of(streamed: &str, text: fn(&Value) -> Option<&Value>) -> String {
    let lines = streamed.lines().map(|line| line.trim_start_matches("data: "));
    let said = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    said.filter_map(|said| text(&said).and_then(Value::as_str).map(str::to_owned)).collect()
}

#[tokio::test]
async fn another_provider_continues_a_broken_answer_in_every_dialect() {
    let first = dies();
    let second = Upstream::spawn(|_| openai::answer(&["H", "ello, wor", "ld"]));
    let gateway = two(&first, &second).await;
    let dialects = dialects();
    for (path, body, text, end) in &dialects {
        let streamed = stream(&gateway.url(path), body).await;
        assert_eq!(streamed.status, 200, "{path}");
        assert_eq!(streamed.header("x-gateway-provider"), Some("first"), "{path}");
        let pieces = streamed.rest().await;
        let said = pieces.text();
        assert!(pieces.ended_properly, "{path}: {said}");
        assert_eq!(text_of(&said, *text), "Hello, world", "{path}: {said}");
        assert_eq!(said.matches(end).count(), 1, "{path}: {said}");
        assert!(!said.contains("error\":{"), "{path}: {said}");
    }
    let sent = dialects.len();
    gateway.adds_up(sent).await;
    for line in gateway.access_lines() {
        let field = |name: &str| line.fields[name].as_str();
        assert_eq!((field("resumed"), field("attempts")), ("true", "2"), "{line:?}");
        assert_eq!((field("provider"), field("outcome")), ("second", "ok"), "{line:?}");
        assert_eq!((field("prompt_tokens"), field("completion_tokens")), ("10", "3"), "{line:?}");
    }
    let all = sent as f64;
    for (metric, provider, label, count) in [
        ("upstream_attempts", "first", ("outcome", "broken"), all),
        ("upstream_attempts", "second", ("outcome", "ok"), all),
        ("fallbacks", "first", ("reason", "resumed"), all),
        ("requests", "second", ("outcome", "ok"), all),
        // The broken call reported no tokens, and none are made up.
        ("tokens", "first", ("kind", "completion"), 0.0),
        ("tokens", "second", ("kind", "completion"), 3.0 * all),
    ] {
        let found = counted(&gateway, metric, provider, label).await;
        assert_eq!(found, count, "{metric} of {provider} with {label:?}");
    }
    gateway.end(sent).await;
}

#[tokio::test]
async fn a_stall_frees_the_slot_and_heartbeats_continue_until_another_provider_does() {
    let first = Upstream::spawn(|_| ollama::opened(&["Hel"]).stall());
    let gate = Gate::closed();
    let held = gate.clone();
    let second = Upstream::spawn(move |_| openai::answer(&["Hello"]).head_hold(&held));
    let providers = [ollama_at("first", &first), openai_at("second", &second)];
    let early = Server::default().heartbeat_after("50ms");
    let gateway = spawn_gateway(routed(providers).server(early)).await;
    let mut streamed = stream(&gateway.url("/v1/chat"), &asked()).await;
    streamed.until("Hel").await;
    gate.reached(1).await;
    assert!(!first.left(0).await.answered);
    shows(&gateway, "first", "in_flight", 0).await;
    shows(&gateway, "second", "in_flight", 1).await;
    streamed.until(":").await;
    gate.open();
    let pieces = streamed.rest().await;
    let (text, errors, ends) = read(&pieces);
    assert!(pieces.ended_properly && text.ends_with("lo"), "{}", pieces.text());
    assert_eq!((errors.len(), ends), (0, 1), "{}", pieces.text());
    assert_eq!(counted(&gateway, "upstream_attempts", "first", ("outcome", "timeout")).await, 1.0);
    gateway.end(1).await;
}

#[tokio::test]
async fn whatever_breaks_an_answer_another_provider_continues_it() {
    let breaks: [fn() -> Script; 5] = [
        || ollama::opened(&["Hel"]),
        || ollama::opened(&["Hel"]).piece("{nonsense\n"),
        || ollama::opened(&["Hel"]).piece(&b"{\"message\":\"\xff\"}\n"[..]),
        || ollama::opened(&["Hel"]).piece(ollama::error_line("out of memory")),
        || ollama::opened(&["Hel"]).pause(Duration::from_millis(100)).reset_at(EVERYTHING),
    ];
    let first = Upstream::spawn(move |call| breaks[call.number]());
    let second = Upstream::spawn(|_| openai::answer(&["Hel", "lo"]));
    let gateway = two(&first, &second).await;
    for number in 0..breaks.len() {
        let pieces = stream(&gateway.url("/v1/chat"), &asked()).await.rest().await;
        assert_eq!(read(&pieces), ("Hello".to_owned(), vec![], 1), "{number}");
        assert!(pieces.ended_properly, "{number}");
    }
    gateway.end(breaks.len()).await;
}

#[tokio::test]
async fn a_model_that_continues_gets_what_was_delivered_and_repeats_nothing() {
    let first = dies();
    let second = Upstream::spawn(|_| ollama::answer(&[", wor", "ld"]));
    let providers = [ollama_at("first", &first), ollama_at("second", &second)];
    let gateway = spawn_gateway(with_route(providers, |route| route.on_cut(OnCut::Resume))).await;
    let pieces = stream(&gateway.url("/v1/chat"), &asked()).await.rest().await;
    assert_eq!(read(&pieces), ("Hello, world".to_owned(), vec![], 1));
    let asked_for = second.calls(1).await[0].json();
    let last = asked_for["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last, json!({ "role": "assistant", "content": "Hello" }));
    // With a token limit it is unknown how many are left, so the whole request is sent again.
    let mut limited = asked();
    limited["max_tokens"] = 9.into();
    let pieces = stream(&gateway.url("/v1/chat"), &limited).await.rest().await;
    let (text, errors, ends) = read(&pieces);
    assert_eq!((text.as_str(), errors, ends), ("Hello", vec!["bad_upstream".to_owned()], 0));
    let asked_for = second.calls(2).await[1].json();
    assert_eq!(asked_for["messages"].as_array().unwrap().len(), 1);
    gateway.end(2).await;
}

#[tokio::test]
async fn three_providers_may_write_one_answer_and_a_fourth_is_not_asked() {
    let first = dies();
    let second = Upstream::spawn(|_| openai::opened(&["Hello", ", wor"]).cut_at(EVERYTHING));
    let third = Upstream::spawn(|call| match call.number {
        0 => openai::answer(&["Hello, world"]),
        _ => openai::opened(&["Hello, world"]).cut_at(EVERYTHING),
    });
    let fourth = Upstream::spawn(|_| openai::answer(&["Hello, world"]));
    let providers = [
        ollama_at("first", &first),
        openai_at("second", &second),
        openai_at("third", &third),
        openai_at("fourth", &fourth),
    ];
    let gateway = spawn_gateway(routed(providers)).await;
    let pieces = stream(&gateway.url("/v1/chat"), &asked()).await.rest().await;
    assert_eq!(read(&pieces), ("Hello, world".to_owned(), vec![], 1));
    let pieces = stream(&gateway.url("/v1/chat"), &asked()).await.rest().await;
    let (text, errors, ends) = read(&pieces);
    assert_eq!((text.as_str(), errors.len(), ends), ("Hello, world", 1, 0));
    assert!(!pieces.ended_properly);
    assert!(fourth.calls_so_far().is_empty());
    gateway.adds_up(2).await;
    let attempts = |line: &crate::harness::Access| line.fields["attempts"].clone();
    assert!(gateway.access_lines().iter().all(|line| attempts(line) == "3"));
    gateway.end(2).await;
}
