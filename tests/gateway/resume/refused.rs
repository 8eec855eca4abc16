//! Answers that break off and are not resumed: one error event, an abnormal end, and no useless
//! call or slot.

use std::time::Duration;

use llm_gateway::policy::{OnCut, Trust};
use serde_json::{Value, json};

use super::{
    EVERYTHING, asked, counted, dies, ollama_at, openai_at, read, routed, text_of, two, with_route,
};

use crate::client::raw::{Raw, post_bytes};
use crate::client::{Pieces, stream, stream_with, streamed_chat};
use crate::crowd::{shows, waiting};
use crate::harness::{Gateway, spawn_gateway};
use crate::upstream::{Gate, Upstream, ollama, openai};

/// Checks that a native stream has this text, one error and no end.
#[track_caller]
fn check_broken(pieces: &Pieces, text: &str) {
    let (said, errors, ends) = read(pieces);
    assert_eq!((said.as_str(), ends), (text, 0), "{}", pieces.text());
    assert_eq!(errors, ["bad_upstream"], "{}", pieces.text());
    assert!(!pieces.ended_properly);
}

async fn ask(gateway: &Gateway) -> Pieces {
    stream(&gateway.url("/v1/chat"), &asked()).await.rest().await
}

#[tokio::test]
async fn a_different_answer_is_an_error_and_its_call_is_closed() {
    let first = dies();
    let second = Upstream::spawn(|_| openai::opened(&["Hel", "p yourself"]).stall());
    let gateway = two(&first, &second).await;
    check_broken(&ask(&gateway).await, "Hello");
    assert!(!second.left(0).await.answered);
    assert_eq!(
        counted(&gateway, "upstream_attempts", "second", ("outcome", "cancelled")).await,
        1.0
    );
    assert_eq!(counted(&gateway, "fallbacks", "first", ("reason", "resumed")).await, 1.0);
    // What was no failure of the second does not count against it.
    shows(&gateway, "second", "last_error", Value::Null).await;
    gateway.end(1).await;
}

#[tokio::test]
async fn an_answer_that_ends_too_soon_is_no_success() {
    let first = dies();
    let second = Upstream::spawn(|_| openai::answer(&["Hel"]));
    let gateway = two(&first, &second).await;
    check_broken(&ask(&gateway).await, "Hello");
    gateway.end(1).await;
}

#[tokio::test]
async fn tool_calls_and_log_probabilities_are_never_joined() {
    let function = json!({ "name": "f", "arguments": { "a": 1 } });
    let message =
        json!({ "role": "assistant", "content": "", "tool_calls": [{ "function": function }] });
    let line = json!({ "model": ollama::MODEL, "message": message, "done": false });
    let first = Upstream::spawn(move |call| match call.number {
        0 => ollama::opened(&["Hel"]).piece(format!("{line}\n")).cut_at(EVERYTHING),
        _ => ollama::opened(&["Hel"]).cut_at(EVERYTHING),
    });
    let second = Upstream::ollama();
    let gateway = two(&first, &second).await;
    let mut body = asked();
    body["tools"] = json!([{ "type": "function", "function": { "name": "f" } }]);
    let mut other = asked();
    other["logprobs"] = true.into();
    for body in [body, other] {
        let pieces = stream(&gateway.url("/v1/chat/completions"), &body).await.rest().await;
        let text = pieces.text();
        assert!(!pieces.ended_properly && !text.contains("[DONE]"), "{text}");
        assert_eq!(text.matches("\"error\":{").count(), 1, "{text}");
        assert_eq!(text_of(&text, |said| said.pointer("/choices/0/delta/content")), "Hel");
    }
    assert!(second.calls_so_far().is_empty());
    gateway.end(2).await;
}

#[tokio::test]
async fn more_text_than_is_kept_is_not_resumed() {
    let piece = "a".repeat(64 * 1024);
    let pieces: Vec<&str> = vec![&piece; 17];
    let script = pieces.iter().map(|piece| ollama::line(piece)).collect::<Vec<_>>();
    let first =
        Upstream::spawn(move |_| ollama::stream_head().pieces(script.clone()).cut_at(EVERYTHING));
    let second = Upstream::ollama();
    let gateway = two(&first, &second).await;
    check_broken(&ask(&gateway).await, &pieces.concat());
    assert!(second.calls_so_far().is_empty());
    gateway.end(1).await;
}

#[tokio::test]
async fn a_local_prompt_is_never_resumed_in_the_cloud() {
    let (first, cloud) = (dies(), Upstream::ollama());
    let providers = [ollama_at("first", &first), ollama_at("cloud", &cloud).trust(Trust::Cloud)];
    let gateway = spawn_gateway(routed(providers)).await;
    let policy = [("x-gateway-data-policy", "local")];
    let streamed = stream_with(&gateway.url("/v1/chat"), &policy, &asked()).await;
    check_broken(&streamed.rest().await, "Hello");
    assert_eq!(cloud.calls_so_far().len(), 0);
    gateway.end(1).await;
}

#[tokio::test]
async fn no_other_provider_is_asked_with_on_cut_error_or_without_a_route() {
    let (first, second) = (dies(), Upstream::ollama());
    let providers = [ollama_at("first", &first), ollama_at("second", &second)];
    let config = with_route(providers, |route| route.on_cut(OnCut::Error))
        .default_providers(["first", "second"]);
    let gateway = spawn_gateway(&config).await;
    check_broken(&ask(&gateway).await, "Hello");
    let unrouted = stream(&gateway.url("/v1/chat"), &streamed_chat("hi")).await;
    check_broken(&unrouted.rest().await, "Hello");
    assert!(second.calls_so_far().is_empty());
    gateway.end(2).await;
}

#[tokio::test]
async fn if_no_provider_can_continue_the_client_reads_why_the_answer_broke_off() {
    let first = dies();
    let refusals: [fn() -> crate::upstream::Script; 3] = [
        || openai::error(400, "invalid_request_error", "PLANTED words of the prompt"),
        || openai::error(503, "server_error", "busy"),
        crate::upstream::Script::hang_up,
    ];
    let second = Upstream::spawn(move |call| refusals[call.number.min(2)]());
    let gateway = two(&first, &second).await;
    for _ in refusals {
        let pieces = ask(&gateway).await;
        check_broken(&pieces, "Hello");
        let text = pieces.text();
        assert!(text.contains("provider `first` was cut off"), "{text}");
    }
    gateway.adds_up(3).await;
    let log = gateway.log_lines();
    for code in ["invalid_request", "provider_unavailable", "bad_upstream"] {
        let said = format!("not resumed: {code}");
        assert!(log.iter().any(|line| line.contains(&said)), "{code}: {log:#?}");
    }
    assert!(!log.iter().any(|line| line.contains("PLANTED")), "{log:#?}");
    gateway.end(3).await;
}

/// A first provider that dies midway, a second with one slot, whose answers the gate holds, and a
/// gateway in front of both.
async fn busy_second(gate: &Gate) -> (Upstream, Upstream, Gateway) {
    let held = gate.clone();
    let first = dies();
    let second = Upstream::spawn(move |_| openai::answer(&["Hello"]).head_hold(&held));
    let providers = [ollama_at("first", &first), openai_at("second", &second).slots(1)];
    let gateway = spawn_gateway(routed(providers)).await;
    (first, second, gateway)
}

#[tokio::test]
async fn the_wait_for_another_provider_ends_with_the_deadline() {
    let gate = Gate::closed();
    let (_first, second, gateway) = busy_second(&gate).await;
    let mut direct = asked();
    direct["model"] = "second/llama3.1".into();
    let url = gateway.url("/v1/chat");
    let busy = tokio::spawn(async move { stream(&url, &direct).await.rest().await });
    gate.reached(1).await;
    let deadline = [("x-request-timeout-ms", "700")];
    let streamed = stream_with(&gateway.url("/v1/chat"), &deadline, &asked()).await;
    let sent = streamed.sent;
    check_broken(&streamed.rest().await, "Hello");
    let took = sent.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!(second.calls_so_far().len(), 1);
    gate.open();
    assert!(busy.await.unwrap().ended_properly);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_disconnect_ends_a_resumption_in_the_line_and_in_the_call() {
    let gate = Gate::closed();
    let (_first, second, gateway) = busy_second(&gate).await;
    let mut clients = Vec::new();
    for number in 0..2 {
        let mut client = Raw::connect(gateway.address()).await;
        client.send(&post_bytes("/v1/chat", &[], &asked())).await;
        client.read_until("\"lo\"").await;
        // The first is being answered when the second gets in line.
        if number == 0 {
            gate.reached(1).await;
        }
        clients.push(client);
    }
    waiting(&gateway, "second", 1).await;
    let (running, waits) = (clients.remove(0), clients.remove(0));
    waits.rst();
    waiting(&gateway, "second", 0).await;
    running.fin();
    assert!(!second.left(0).await.answered);
    gateway.settled().await;
    gateway.adds_up(2).await;
    assert_eq!(second.calls_so_far().len(), 1);
    let cancelled = [("outcome", "cancelled")];
    assert_eq!(gateway.metrics().await.sum("llm_gateway_requests_total", &cancelled), 2.0);
    gateway.end(2).await;
}
