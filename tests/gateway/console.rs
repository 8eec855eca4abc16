//! The console: what it receives, what it never receives, how many may be open, and how it ends.

use serde_json::{Value, json};

use crate::client::{
    Streamed, chat, get, open, post_json, post_json_with, stream_with, streamed_chat,
};
use crate::crowd::{chat_with, key, send, waiting};
use crate::harness::{Config, Gateway, Key, Provider, Signal, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Gate, Upstream, ollama};

/// How many consoles may be open.
const SEATS: usize = 16;

async fn console(gateway: &Gateway) -> Streamed {
    let console = open(&gateway.admin_url("/admin/events"), &[]).await;
    assert_eq!(console.status, 200);
    assert_eq!(console.header("content-type"), Some("text/event-stream"));
    assert_eq!(console.header("cache-control"), Some("no-store"));
    console
}

/// The whole events in a text: name and content.
fn events(text: &str) -> Vec<(String, Value)> {
    let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let event = |event: &str| {
        let (name, content) = event.split_once("\ndata: ").unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        (name, serde_json::from_str(content).unwrap())
    };
    whole.split("\n\n").filter(|event| !event.is_empty()).map(event).collect()
}

#[tokio::test]
async fn a_console_is_given_a_snapshot_and_then_what_changes() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(1)).await;
    let refused = post_json(&gateway.url("/v1/chat"), &json!({"messages": []})).await;
    assert_eq!(refused.status, 422);
    let mut console = console(&gateway).await;
    let first = console.until("\n\n").await;
    let (name, snapshot) = events(&first).remove(0);
    assert_eq!(name, "snapshot");
    assert_eq!(snapshot["gateway"]["draining"], false);
    assert_eq!(snapshot["providers"][0]["name"], "ollama");
    assert_eq!(snapshot["requests"][0]["outcome"], "client_error");
    assert_eq!(snapshot["keys"][0]["failed"], 1);
    assert!(snapshot["history"].is_object() && snapshot["errors"].is_array(), "{snapshot}");

    let runs = send(&gateway, &[("x-request-id", "runs")], chat_with("ollama", "hi"));
    upstream.busy(1).await;
    let waits = send(&gateway, &[("x-request-id", "waits")], chat("hi"));
    waiting(&gateway, "ollama", 1).await;
    let seen = console.until("\"phase\":\"wait\"").await;
    assert!(seen.contains("\"asked\":\"ollama/llama3.1\""), "{seen}");
    let seen = console.until("event: keys").await;
    assert!(seen.contains("\"queued_by_caller\":{\"anonymous\":1}"), "{seen}");
    gate.open();
    for sent in [runs, waits] {
        assert_eq!(sent.await.unwrap().status, 200);
    }
    let mut seen = String::new();
    let mut ended = Vec::new();
    while ended.len() < 2 {
        seen.push_str(&console.until("\n\n").await);
        ended = events(&seen);
        ended.retain(|(name, request)| name == "request" && request["phase"] == "end");
    }
    let ended = |id: &str| {
        ended.iter().map(|(_, request)| request).find(|request| request["request_id"] == id)
    };
    let waits = ended("waits").unwrap();
    assert!(waits["queue_ms"].as_u64() > Some(0), "{waits}");
    assert_eq!(ended("runs").unwrap()["completion_tokens"], 3);
    assert_eq!(waits["outcome"], "ok");
    drop(console);
    gateway.end(3).await;
}

#[tokio::test]
async fn no_more_than_sixteen_consoles_are_open_and_a_place_is_given_back() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let mut consoles = Vec::new();
    for _ in 0..SEATS {
        consoles.push(console(&gateway).await);
    }
    let url = gateway.admin_url("/admin/events");
    let refused = get(&url).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert_eq!(refused.json()["detail"], "too many consoles are open, close one");
    drop(consoles.pop());
    let free = async || (open(&url, &[]).await.status == 200).then_some(());
    eventually(|| "a place is free again".to_owned(), free).await;
    gateway.end(0).await;
}

#[tokio::test]
async fn consoles_see_the_gateway_stop_and_end_with_it() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let mut gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let sent = send(&gateway, &[], chat("hi"));
    upstream.busy(1).await;
    let mut console = console(&gateway).await;
    console.until("\n\n").await;
    gateway.signal(Signal::Term);
    let url = gateway.admin_url("/admin/providers");
    let draining = async || (get(&url).await.json()["draining"] == true).then_some(());
    eventually(|| "the gateway drains".to_owned(), draining).await;
    let seen = console.until("\"buffered_bytes\"").await;
    assert!(seen.contains("event: providers") || seen.contains("event: request"), "{seen}");
    gate.open();
    assert_eq!(sent.await.unwrap().status, 200);
    let rest = console.rest().await;
    assert!(rest.ended_properly, "{}", rest.text());
    assert!(rest.text().contains("\"draining\":true") || seen.contains("\"draining\":true"));
    assert_eq!(gateway.exited().await.code(), Some(0));
}

const KEY: &str = "sk-planted-client";
const PROVIDER_KEY: &str = "sk-planted-provider";
const TOKEN: &str = "planted-token";
const PROMPT: &str = "planted-prompt";
const ANSWER: &str = "planted-answer";

/// A configuration in which everything is secret that can be, but the admin listener has no token.
fn secretive(upstream: &Upstream) -> Config {
    Config::new()
        .key(Key::new("team").key(KEY))
        .provider(Provider::ollama(upstream).api_key(PROVIDER_KEY).no_retries())
}

#[tokio::test]
async fn a_console_receives_no_prompt_no_answer_and_no_key() {
    let upstream = Upstream::spawn(|call| match call.number {
        0 => ollama::reply_with(call, &[ANSWER]),
        1 => ollama::error(500, &format!("{PROVIDER_KEY} has had enough")),
        2 => ollama::error(400, &format!("{PROVIDER_KEY} will not say {PROMPT}")),
        _ => ollama::opened(&[ANSWER]).closing().cut_at(160),
    });
    // The harness asks the admin listener without a token, so that this gateway has none.
    let gateway = spawn_gateway(secretive(&upstream)).await;
    let mut console = console(&gateway).await;
    for _ in 0..4 {
        let streamed = streamed_chat(PROMPT);
        stream_with(&gateway.url("/v1/chat"), &key(KEY), &streamed).await.rest().await;
    }
    let mut seen = String::new();
    while seen.matches("\"phase\":\"end\"").count() < 4 || !seen.contains("event: error") {
        seen.push_str(&console.until("\n\n").await);
    }
    seen.push_str(&get(&gateway.admin_url("/admin/providers")).await.text());
    drop(console);
    let mut again = self::console(&gateway).await;
    seen.push_str(&again.until("\n\n").await);
    for planted in [KEY, PROVIDER_KEY, PROMPT, ANSWER] {
        assert!(!seen.contains(planted), "{planted} in {seen}");
    }
    assert!(seen.contains("\"caller\":\"team\""), "{seen}");
    drop(again);
    gateway.end(4).await;
}

#[tokio::test]
async fn the_page_is_open_and_strict_and_what_it_shows_asks_for_the_token() {
    let upstream = Upstream::ollama();
    let mut gateway = spawn_gateway(secretive(&upstream).admin_token(TOKEN)).await;
    let page = get(&gateway.admin_url("/")).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let files: Vec<String> = page
        .text()
        .split('"')
        .filter(|text| text.starts_with("/console/"))
        .map(str::to_owned)
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    for path in files.iter().map(String::as_str).chain(["/"]) {
        let file = get(&gateway.admin_url(path)).await;
        assert_eq!(file.status, 200, "{path}");
        let policy = file.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(file.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(!file.text().contains(TOKEN) && !file.text().contains(KEY), "{path}");
    }
    for path in ["/admin/events", "/admin/providers", "/metrics", "/console/none.js"] {
        assert_eq!(get(&gateway.admin_url(path)).await.status, 401, "{path}");
    }
    let events = gateway.admin_url("/admin/events");
    assert_eq!(open(&events, &[("authorization", "Bearer wrong")]).await.status, 401);
    let bearer = format!("Bearer {TOKEN}");
    let mut console = open(&events, &[("authorization", &bearer)]).await;
    assert!(console.until("\n\n").await.starts_with("event: snapshot\n"));
    let foreign = [("authorization", bearer.as_str()), ("origin", "http://evil.example")];
    assert_eq!(open(&events, &foreign).await.status, 403);
    drop(console);
    gateway.signal(Signal::Term);
    assert_eq!(gateway.exited().await.code(), Some(0));
}

#[tokio::test]
async fn the_playground_calls_the_gateway_like_a_client() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(secretive(&upstream)).await;
    let url = gateway.admin_url("/admin/playground");
    let refused = post_json(&url, &chat("hi")).await;
    assert_eq!((refused.status, &refused.json()["code"]), (401, &"invalid_api_key".into()));
    let answer = stream_with(&url, &key(KEY), &streamed_chat("hi")).await;
    assert_eq!((answer.status, answer.header("x-gateway-provider")), (200, Some("ollama")));
    assert!(
        answer.header("x-gateway-queue-ms").is_some() && answer.header("x-request-id").is_some()
    );
    let pieces = answer.rest().await.events();
    assert_eq!(pieces.last().unwrap().1, "[DONE]");
    assert_eq!(pieces[0].1.matches("\"delta\":\"Hel\"").count(), 1, "{pieces:?}");
    let whole = post_json_with(&url, &key(KEY), &chat("hi")).await;
    assert_eq!((whole.status, &whole.json()["content"]), (200, &"Hello!".into()));
    let foreign = [("origin", "http://evil.example"), key(KEY)[0]];
    assert_eq!(post_json_with(&url, &foreign, &chat("hi")).await.status, 403);
    assert_eq!(
        gateway.access_lines().iter().filter(|line| line.fields["caller"] == "team").count(),
        2
    );
    gateway.end(3).await;
}

#[tokio::test]
async fn a_playground_that_disconnects_ends_its_call() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |_| ollama::opened(&["Hel"]).hold(&held));
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let url = gateway.admin_url("/admin/playground");
    let mut answer = stream_with(&url, &[], &streamed_chat("hi")).await;
    answer.until("Hel").await;
    drop(answer);
    let cancelled = async || {
        let metrics = gateway.metrics().await;
        let outcome = [("outcome", "cancelled")];
        (metrics.sum("llm_gateway_requests_total", &outcome) == 1.0).then_some(())
    };
    eventually(|| "the call is cancelled".to_owned(), cancelled).await;
    gate.open();
    gateway.end(1).await;
}
