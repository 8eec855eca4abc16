//! How an answer that is passed on ends: whole, or not at all.

use std::time::Duration;

use llm_gateway::policy::OnCut;

use super::{JSON, lister};
use crate::client::raw::Raw;
use crate::client::{Pieces, post_bytes, send_stream};
use crate::harness::{Config, Gateway, Route, Server, Signal, Target, Timeouts, spawn_gateway};
use crate::upstream::{Call, Gate, Script, Upstream};

async fn speech(gateway: &Gateway) -> Pieces {
    let url = gateway.url("/v1/audio/speech");
    let answer = send_stream("POST", &url, &[JSON], r#"{"model":"m"}"#).await;
    assert_eq!(answer.status, 200);
    answer.rest().await
}

/// What a client gets of an answer that `script` plays, and how the request was counted.
async fn ends(script: impl Fn(&Call) -> Script + Send + Sync + 'static) -> (Pieces, String) {
    let upstream = Upstream::spawn(script);
    let gateway = spawn_gateway(
        lister("own", &upstream).no_retries().timeouts(Timeouts::default().idle("300ms")),
    )
    .await;
    let pieces = speech(&gateway).await;
    gateway.adds_up(1).await;
    let outcome = gateway.access_lines()[0].outcome.clone();
    gateway.end(1).await;
    (pieces, outcome)
}

#[tokio::test]
async fn a_whole_answer_is_whole_however_it_is_framed() {
    let framings: [fn() -> Script; 3] = [
        || Script::status(200).pieces(["some", "more"]),
        || Script::status(200).chunked().pieces(["some", "more"]),
        || Script::status(200).until_close().pieces(["some", "more"]),
    ];
    for framing in framings {
        let (pieces, outcome) = ends(move |_| framing()).await;
        assert!(pieces.ended_properly && pieces.text() == "somemore", "{pieces:?}");
        assert_eq!(outcome, "ok");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let cuts: [fn() -> Script; 5] = [
        || Script::status(200).sized_as(100).piece("some").cut_at(4),
        || Script::status(200).sized_as(100).piece("some").reset_at(4),
        || Script::status(200).chunked().pieces(["some", "more"]).cut_at(4),
        || Script::status(200).chunked().piece("some").stall(),
        || Script::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\nzz\r\n"),
    ];
    for cut in cuts {
        let (pieces, outcome) = ends(move |_| cut()).await;
        assert!(!pieces.ended_properly, "{pieces:?}");
        assert_eq!(pieces.text(), "some");
        assert!(["upstream_error", "timeout"].contains(&&*outcome), "{outcome}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_asked_for_again_once_it_has_begun() {
    let upstream =
        Upstream::spawn(|_| Script::status(200).chunked().pieces(["some", "more"]).cut_at(4));
    let other = Upstream::spawn(|_| Script::status(200).piece("other"));
    let route = Route::new("m", [Target::new("own", "m")]).on_cut(OnCut::Resume);
    let config = Config::new()
        .providers([lister("own", &upstream), lister("two", &other)])
        .route(route.fallback([Target::new("two", "m")]));
    let gateway = spawn_gateway(config).await;
    let pieces = speech(&gateway).await;
    assert!(!pieces.ended_properly && pieces.text() == "some", "{pieces:?}");
    assert_eq!((upstream.calls_so_far().len(), other.calls_so_far().len()), (1, 0));
    gateway.end(1).await;
}

#[tokio::test]
async fn a_coded_answer_is_decoded() {
    use std::io::Write;
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    coder.write_all(b"plain").unwrap();
    let coded = coder.finish().unwrap();
    let (pieces, _) =
        ends(move |_| Script::status(200).header("content-encoding", "gzip").piece(coded.clone()))
            .await;
    assert!(pieces.ended_properly && pieces.text() == "plain", "{pieces:?}");
}

#[tokio::test]
async fn strange_headers_of_an_answer_stay_where_they_are() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ntransfer-encoding: chunked\r\n\
                location: http://evil.example\r\nx-gateway-provider: other\r\nconnection: x-a\r\n\
                access-control-allow-origin: *\r\nstrict-transport-security: max-age=1\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let upstream = Upstream::spawn(move |_| Script::raw(head));
    let gateway = spawn_gateway(lister("own", &upstream).no_retries()).await;
    let answer = post_bytes(&gateway.url("/v1/audio/speech"), &[], r#"{"model":"m"}"#).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hi"));
    assert_eq!(answer.header("x-gateway-provider"), Some("own"));
    for name in ["location", "access-control-allow-origin", "strict-transport-security"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    gateway.end(1).await;
}

#[tokio::test]
async fn a_stopping_gateway_lets_answers_finish_and_breaks_those_that_take_too_long() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| match call.json()["model"].as_str().unwrap() {
        "soon" => Script::status(200).chunked().piece("some").hold(&held).piece("more"),
        _ => Script::status(200).chunked().piece("some").stall(),
    });
    let server = Server::default().drain("2s");
    let config = Config::new().server(server).provider(lister("own", &upstream));
    let mut gateway = spawn_gateway(config).await;
    let url = gateway.url("/v1/audio/speech");
    let mut soon = send_stream("POST", &url, &[JSON], r#"{"model":"soon"}"#).await;
    let mut never = send_stream("POST", &url, &[JSON], r#"{"model":"never"}"#).await;
    soon.until("some").await;
    never.until("some").await;
    let mut late = Raw::connect(gateway.address()).await;
    gateway.signal(Signal::Term);
    gateway.logged("stopping").await;
    let body = serde_json::json!({"model": "soon"});
    late.send(&crate::client::raw::post_bytes("/v1/audio/speech", &[], &body)).await;
    late.read_until(" 503 ").await;
    gate.open();
    let soon = soon.rest().await;
    assert!(soon.ended_properly && soon.text() == "more", "{soon:?}");
    assert!(!never.rest().await.ended_properly);
    assert_eq!(gateway.exited().await.code(), Some(0));
}

#[tokio::test]
async fn a_slow_answer_is_waited_for_as_long_as_a_whole_one() {
    let upstream =
        Upstream::spawn(|_| Script::status(200).head_pause(Duration::from_millis(700)).piece("a"));
    let timeouts = Timeouts::default().first_event("200ms").whole("5s");
    let gateway = spawn_gateway(lister("own", &upstream).timeouts(timeouts)).await;
    assert_eq!(speech(&gateway).await.text(), "a");
    gateway.end(1).await;
}
