//! Pages in browsers: which may call, and which headers their browsers get.

use reqwest::header::HeaderMap;

use super::{echo, gateway, gateway_with};
use crate::client::raw::{Raw, post_bytes};
use crate::client::{Answer, ask, chat, post_json_with, stream_with, streamed_chat};
use crate::harness::{Config, Gateway, Key, Provider, Rate, Server, Signal, spawn_gateway_with};
use crate::patience::eventually;
use crate::upstream::{Upstream, ollama};

fn with_keys() -> Config {
    Config::new().keys([Key::new("a"), Key::new("spent").rate(Rate::of(1, 0.0001))])
}

const KEY: (&str, &str) = ("x-api-key", "sk-a");
const PAGE: (&str, &str) = ("origin", "app://obsidian.md");
const STRANGER: (&str, &str) = ("origin", "https://elsewhere.example");

/// What a browser asks before it lets a page ask.
fn preflight(origin: (&'static str, &'static str)) -> [(&'static str, &'static str); 3] {
    [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-stainless-os"),
    ]
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// Fails the test unless a page of this origin may read the answer, and all of it.
#[track_caller]
fn check_welcome(headers: &HeaderMap, origin: &str) {
    assert_eq!(all(headers, "access-control-allow-origin"), [origin], "{headers:?}");
    assert_eq!(all(headers, "vary").join(", ").matches("Origin").count(), 1, "{headers:?}");
    assert!(!headers.contains_key("access-control-allow-credentials"));
    let exposed = all(headers, "access-control-expose-headers").join(", ");
    for name in headers.keys().map(|name| name.as_str()) {
        let is_ours =
            ["x-gateway-", "x-ratelimit-", "x-request-id", "x-should-retry", "retry-after"];
        if is_ours.iter().any(|prefix| name.starts_with(prefix)) {
            assert!(exposed.split(", ").any(|one| one == name), "{name} is not in {exposed}");
        }
    }
}

/// Fails the test when any page may read the answer.
#[track_caller]
fn check_stranger(headers: &HeaderMap) {
    let cors = headers.keys().find(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(cors, None, "{headers:?}");
}

async fn asked(gateway: &Gateway, path: &str, origin: (&'static str, &'static str)) -> Answer {
    ask("OPTIONS", &gateway.url(path), &preflight(origin)).await
}

#[tokio::test]
async fn a_preflight_is_answered_before_any_key_is_checked() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, with_keys()).await;
    for path in [
        "/v1/chat/completions",
        "/v1/messages",
        "/v1beta/models/m:generateContent",
        "/api/chat",
        "/v1/chat",
        "/v1/models",
        "/nowhere",
    ] {
        let answer = asked(&gateway, path, PAGE).await;
        assert_eq!((answer.status, answer.text().as_str()), (204, ""), "{path}");
        check_welcome(&answer.headers, PAGE.1);
        let allowed = answer.header("access-control-allow-headers").unwrap();
        assert_eq!(allowed, "authorization,content-type,x-stainless-os");
        let methods = answer.header("access-control-allow-methods").unwrap();
        assert!(
            ["GET", "POST", "DELETE"].iter().all(|method| methods.contains(method)),
            "{methods}"
        );
        assert!(answer.header("access-control-max-age").is_some());
        assert_eq!(answer.header("access-control-allow-private-network"), None);
    }
    let private = ("access-control-request-private-network", "true");
    let answer = ask("OPTIONS", &gateway.url("/v1/chat"), &[PAGE, private]).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-private-network"), Some("true"));
    assert!(answer.header("access-control-allow-headers").unwrap().contains("authorization"));
    gateway.end(0).await;
}

#[tokio::test]
async fn an_allowed_page_may_read_every_answer_errors_and_streams_too() {
    let upstream = Upstream::spawn(echo);
    let config = with_keys().server(Server::default().max_body("4KiB"));
    let gateway = gateway_with(&upstream, config).await;
    let url = |path: &str| gateway.url(path);
    let spent = ("x-api-key", "sk-spent");
    post_json_with(&url("/v1/chat"), &[spent], &chat("the last")).await;
    let large = chat(&"x".repeat(5000));
    let text = ("content-type", "text/plain");
    let websocket = [PAGE, ("connection", "Upgrade"), ("upgrade", "websocket")];
    let answers = [
        (200, post_json_with(&url("/v1/chat"), &[PAGE, KEY], &chat("hi")).await),
        (401, post_json_with(&url("/v1/chat"), &[PAGE], &chat("hi")).await),
        (429, post_json_with(&url("/v1/chat"), &[PAGE, spent], &chat("hi")).await),
        (413, post_json_with(&url("/v1/chat"), &[PAGE, KEY], &large).await),
        (422, post_json_with(&url("/v1/chat"), &[PAGE, KEY], &serde_json::json!({})).await),
        (
            400,
            post_json_with(
                &url("/v1/chat"),
                &[PAGE, KEY, ("x-request-timeout-ms", "x")],
                &chat(""),
            )
            .await,
        ),
        (404, post_json_with(&url("/nowhere"), &[PAGE, KEY], &chat("hi")).await),
        (403, post_json_with(&url("/api/pull"), &[PAGE, KEY], &chat("hi")).await),
        (405, ask("PUT", &url("/v1/chat"), &[PAGE, KEY]).await),
        (415, ask("POST", &url("/v1/chat"), &[PAGE, KEY, text]).await),
        (426, ask("GET", &url("/v1/responses"), &websocket).await),
        (200, ask("GET", &url("/v1/models"), &[PAGE, KEY]).await),
        (200, ask("GET", &url("/livez"), &[PAGE]).await),
        (200, ask("GET", &url("/"), &[PAGE]).await),
    ];
    for (status, answer) in &answers {
        assert_eq!(answer.status, *status, "{}", answer.text());
        check_welcome(&answer.headers, PAGE.1);
    }
    let streamed = stream_with(&url("/v1/chat"), &[PAGE, KEY], &streamed_chat("hi")).await;
    check_welcome(&streamed.headers, PAGE.1);
    let pieces = streamed.rest().await;
    assert!(pieces.ended_properly && pieces.text().ends_with("data: [DONE]\n\n"));
    let sent = gateway.metrics().await.sum("llm_gateway_requests_total", &[]) as usize;
    gateway.end(sent).await;
}

#[tokio::test]
async fn a_page_that_is_not_allowed_gets_no_headers_where_keys_are_required() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, with_keys()).await;
    let foreign = asked(&gateway, "/v1/chat", STRANGER).await;
    assert_eq!(foreign.status, 405);
    check_stranger(&foreign.headers);
    for origin in [STRANGER, ("origin", "null"), ("origin", "http://localhost.example.com")] {
        let answer = post_json_with(&gateway.url("/v1/chat"), &[origin, KEY], &chat("hi")).await;
        assert_eq!(answer.status, 200, "a key is a key, whoever shows it");
        check_stranger(&answer.headers);
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    let answer = post_json_with(&gateway.url("/v1/chat"), &[KEY], &chat("hi")).await;
    check_stranger(&answer.headers);
    assert_eq!(answer.header("vary"), None);
    gateway.end(5).await;
}

#[tokio::test]
async fn a_page_that_is_not_allowed_is_refused_where_no_key_is_required() {
    let upstream = Upstream::ollama();
    let gateway = gateway(&upstream).await;
    for path in ["/v1/chat", "/v1/chat/completions", "/api/chat", "/v1/messages"] {
        let answer = post_json_with(&gateway.url(path), &[STRANGER], &chat("hi")).await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.text().contains("server.cors.origins"), "{}", answer.text());
        check_stranger(&answer.headers);
    }
    // A name made to resolve to this machine has its own origin, whatever Host says.
    let rebound = [("origin", "http://rebound.example:8000"), ("host", "rebound.example:8000")];
    let answer = post_json_with(&gateway.url("/v1/chat"), &rebound, &chat("hi")).await;
    assert_eq!(answer.status, 403);
    assert_eq!(asked(&gateway, "/v1/chat", STRANGER).await.status, 403);
    assert!(upstream.calls_so_far().is_empty());
    let answer = post_json_with(&gateway.url("/v1/chat"), &[PAGE], &chat("hi")).await;
    assert_eq!(answer.status, 200);
    check_welcome(&answer.headers, PAGE.1);
    gateway.end(7).await;
}

#[tokio::test]
async fn beyond_loopback_only_listed_origins_may_call() {
    let upstream = Upstream::ollama();
    let open = Server::default().listen("0.0.0.0:0");
    let gateway = gateway_with(&upstream, with_keys().server(open.clone())).await;
    for origin in [PAGE, ("origin", "http://localhost:3000")] {
        assert_eq!(asked(&gateway, "/v1/chat", origin).await.status, 405);
        let answer = post_json_with(&gateway.url("/v1/chat"), &[origin, KEY], &chat("hi")).await;
        assert_eq!(answer.status, 200);
        check_stranger(&answer.headers);
    }
    gateway.end(4).await;
    let named = with_keys()
        .server(open.origins(["https://chat.example"]))
        .provider(Provider::ollama(&upstream));
    let variables = [("OLLAMA_ORIGINS", "https://*.team.example, chrome-extension://*")];
    let gateway = spawn_gateway_with(&named, &variables).await;
    for origin in ["https://chat.example", "https://a.team.example", "chrome-extension://abc"] {
        let answer = asked(&gateway, "/v1/chat", ("origin", origin)).await;
        assert_eq!(answer.status, 204, "{origin}");
        check_welcome(&answer.headers, origin);
    }
    assert_eq!(asked(&gateway, "/v1/chat", PAGE).await.status, 405);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_reload_changes_who_may_call() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, with_keys()).await;
    assert_eq!(asked(&gateway, "/v1/chat", PAGE).await.status, 204);
    gateway.write_config(
        with_keys()
            .server(Server::default().origins(["https://elsewhere.example"]))
            .provider(Provider::ollama(&upstream)),
    );
    gateway.signal(Signal::Hup);
    eventually(
        || "the other page may call".to_owned(),
        async || (asked(&gateway, "/v1/chat", STRANGER).await.status == 204).then_some(()),
    )
    .await;
    assert_eq!(asked(&gateway, "/v1/chat", PAGE).await.status, 405);
    let sent = gateway.metrics().await.sum("llm_gateway_requests_total", &[]) as usize;
    gateway.end(sent).await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_and_a_head_that_is_sent_early_are_marked_too() {
    let gate = crate::upstream::Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |_| ollama::opened(&["Hel"]).hold(&held).closing());
    let gateway =
        gateway_with(&upstream, Config::new().server(Server::default().heartbeat_after("50ms")))
            .await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(&post_bytes("/v1/chat", &[PAGE], &streamed_chat("hi"))).await;
    let head = raw.read_until("\r\n\r\n").await.to_ascii_lowercase();
    assert!(head.contains("\r\naccess-control-allow-origin: app://obsidian.md\r\n"), "{head}");
    gate.open();
    let (answer, _) = raw.read_to_end().await;
    assert!(answer.contains("event: error\n"), "{answer}");
    gateway.end(1).await;
}
