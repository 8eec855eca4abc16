//! Signals: stopping in order, stopping at once, and reading the configuration again.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::raw::{Raw, post_bytes};
use crate::client::{Answer, chat, get, post_json, stream, streamed_chat};
use crate::crowd::{shows, snapshot};
use crate::harness::{
    Config, Gateway, Provider, Server, Signal, spawn_gateway, spawn_gateway_with,
};
use crate::patience::eventually;
use crate::upstream::{Gate, Script, Upstream, ollama};

fn config(provider: Provider, drain: &str) -> Config {
    Config::new().server(Server::default().drain(drain)).provider(provider)
}

/// Sends SIGTERM and awaits that the gateway is not ready; returns what it answered.
async fn stop(gateway: &Gateway) -> Answer {
    gateway.signal(Signal::Term);
    let unready = async || {
        let answer = get(&gateway.url("/readyz")).await;
        (answer.status != 200).then_some(answer)
    };
    eventually(|| "the gateway is no longer ready".to_owned(), unready).await
}

fn post_later(gateway: &Gateway, body: Value) -> tokio::task::JoinHandle<Answer> {
    let url = gateway.url("/v1/chat");
    tokio::spawn(async move { post_json(&url, &body).await })
}

#[tokio::test]
async fn running_and_waiting_requests_finish_while_new_ones_are_refused() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |_| {
        ollama::opened(&["Hel"]).hold(&held).piece(ollama::line("lo")).piece(ollama::done(2))
    });
    let config = config(Provider::ollama(&upstream).slots(2), "60s");
    let mut gateway = spawn_gateway(&config).await;
    let whole = post_later(&gateway, chat("whole"));
    upstream.calls(1).await;
    let mut streamed = stream(&gateway.url("/v1/chat"), &streamed_chat("streamed")).await;
    streamed.until("Hel").await;
    let waiting = post_later(&gateway, chat("waits"));
    eventually(
        || "a request waits".to_owned(),
        async || (gateway.metrics().await.sum("llm_gateway_queued", &[]) == 1.0).then_some(()),
    )
    .await;

    let unready = stop(&gateway).await;
    assert_eq!(unready.status, 503);
    assert!(unready.header("retry-after").is_some());
    assert_eq!(get(&gateway.url("/livez")).await.status, 200);
    let mut late = Raw::connect(gateway.address()).await;
    late.send(&post_bytes("/v1/chat", &[], &chat("late"))).await;
    let (answer, _) = late.read_to_end().await;
    let head = answer.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 503 "), "{answer}");
    assert!(head.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(head.contains("\r\nretry-after: ") && head.contains("\"draining\""), "{answer}");

    gate.open();
    assert_eq!(whole.await.unwrap().json()["content"], "Hello");
    assert_eq!(waiting.await.unwrap().json()["content"], "Hello");
    let rest = streamed.rest().await;
    assert!(rest.ended_properly && rest.text().ends_with("data: [DONE]\n\n"), "{}", rest.text());
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_eq!(upstream.calls_so_far().len(), 3);
    assert_eq!(gateway.access_lines().len(), 4);
}

#[tokio::test]
async fn new_requests_on_a_kept_connection_are_refused_too() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| match call.number {
        0 => ollama::reply(call),
        _ => ollama::reply(call).head_hold(&held),
    });
    let mut gateway = spawn_gateway(config(Provider::ollama(&upstream), "60s")).await;
    let mut kept = Raw::connect(gateway.address()).await;
    let request = post_bytes("/v1/chat", &[], &chat("hi"));
    kept.send(&request).await;
    assert!(kept.read_answer().await.starts_with("HTTP/1.1 200 "));
    let running = post_later(&gateway, chat("runs"));
    upstream.calls(2).await;
    stop(&gateway).await;
    kept.send(&request).await;
    let (answer, _) = kept.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    gate.open();
    assert_eq!(running.await.unwrap().status, 200);
    assert_eq!(gateway.exited().await.code(), Some(0));
}

#[tokio::test]
async fn after_the_drain_remaining_requests_end_with_an_error() {
    let upstream = Upstream::spawn(|call| match call.number {
        2 => ollama::opened(&["Hel"]).stall(),
        // One of those that wait may get the slot of one that was ended, and is ended a moment
        // later.
        _ => Script::never(),
    });
    let config = config(Provider::ollama(&upstream).slots(3), "1s");
    let mut gateway = spawn_gateway(&config).await;
    let mut unanswered = vec![post_later(&gateway, chat("runs"))];
    upstream.calls(1).await;
    unanswered.push(post_later(&gateway, streamed_chat("runs")));
    upstream.calls(2).await;
    let mut streamed = stream(&gateway.url("/v1/chat"), &streamed_chat("streams")).await;
    streamed.until("Hel").await;
    unanswered.push(post_later(&gateway, chat("waits")));
    unanswered.push(post_later(&gateway, streamed_chat("waits")));
    eventually(
        || "two requests wait".to_owned(),
        async || (gateway.metrics().await.sum("llm_gateway_queued", &[]) == 2.0).then_some(()),
    )
    .await;
    stop(&gateway).await;

    for request in unanswered {
        let answer = request.await.unwrap();
        assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("draining")));
        assert!(answer.header("retry-after").is_some());
    }
    let rest = streamed.rest().await;
    assert!(!rest.ended_properly && !rest.text().contains("[DONE]"), "{}", rest.text());
    let events = rest.events();
    let (name, data) = events.last().unwrap();
    assert!(name == "error" && data.contains("\"draining\""), "{events:?}");
    for number in 0..3 {
        upstream.left(number).await;
    }
    assert_eq!(gateway.exited().await.code(), Some(0));
    assert_eq!(gateway.access_lines().len(), 5);
}

#[tokio::test]
async fn a_gateway_at_rest_stops_at_once_by_either_signal() {
    for signal in [Signal::Term, Signal::Int] {
        let upstream = Upstream::ollama();
        let mut gateway = spawn_gateway(config(Provider::ollama(&upstream), "600s")).await;
        // A connection that is open and idle is no reason to wait.
        let idle = Raw::connect(gateway.address()).await;
        gateway.signal(signal);
        assert_eq!(gateway.exited().await.code(), Some(0), "{signal:?}");
        idle.fin();
    }
}

#[tokio::test]
async fn a_second_signal_ends_at_once_with_another_status() {
    for second in [Signal::Term, Signal::Int] {
        let upstream = Upstream::spawn(|_| ollama::opened(&["Hel"]).stall());
        let mut gateway = spawn_gateway(config(Provider::ollama(&upstream), "600s")).await;
        let mut streamed = stream(&gateway.url("/v1/chat"), &streamed_chat("hi")).await;
        streamed.until("Hel").await;
        stop(&gateway).await;
        let since = Instant::now();
        gateway.signal(second);
        let status = gateway.exited().await;
        assert!(status.code().is_some_and(|code| code != 0), "{status:?}");
        assert!(since.elapsed() < Duration::from_secs(10));
        assert!(!streamed.rest().await.ended_properly);
    }
}

#[tokio::test]
async fn a_hangup_reads_the_configuration_again_and_what_runs_is_finished() {
    let gate = Gate::closed();
    let held = gate.clone();
    let before = Upstream::spawn(move |call| ollama::reply(call).head_hold(&held));
    let after = Upstream::ollama();
    let gateway = spawn_gateway(config(Provider::ollama(&before), "30s")).await;
    let running = post_later(&gateway, chat("hi"));
    before.calls(1).await;

    gateway.write_config(config(Provider::ollama(&after).slots(7), "30s"));
    gateway.signal(Signal::Hup);
    gateway.logged("the configuration was read again").await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat("hi")).await;
    assert_eq!((answer.status, after.calls_so_far().len()), (200, 1));
    assert_eq!(gateway.metrics().await.sum("llm_gateway_max_concurrency", &[]), 7.0);
    gate.open();
    assert_eq!(running.await.unwrap().status, 200);
    assert_eq!(before.calls_so_far().len(), 1);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_hangup_reads_dotenv_again_and_what_is_really_set_still_wins() {
    let upstream = Upstream::ollama();
    let set = [("LLM_GATEWAY__PROVIDERS__OLLAMA__MAX_QUEUE", "7")];
    let gateway = spawn_gateway_with(config(Provider::ollama(&upstream), "30s"), &set).await;
    let prefix = "LLM_GATEWAY__PROVIDERS__OLLAMA";
    let dotenv = format!("{prefix}__MAX_CONCURRENCY=3\n{prefix}__MAX_QUEUE=9\n");
    std::fs::write(gateway.config_file().with_file_name(".env"), dotenv).unwrap();
    gateway.signal(Signal::Hup);
    shows(&gateway, "ollama", "limit", 3).await;
    assert_eq!(snapshot(&gateway, "ollama").await["max_queue"], 7);
    gateway.end(0).await;
}

#[tokio::test]
async fn a_hangup_with_a_bad_file_keeps_the_old_configuration() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(config(Provider::ollama(&upstream), "30s")).await;
    gateway.write_config("[providers.ollama]\nmax_concurency = 3\n[server]\ndrain = \"soon\"\n");
    gateway.signal(Signal::Hup);
    gateway.logged("the old one stays").await;
    gateway.logged("did you mean `max_concurrency`").await;
    gateway.logged("server.drain").await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat("hi")).await;
    assert_eq!((answer.status, upstream.calls_so_far().len()), (200, 1));
    gateway.end(1).await;
}
