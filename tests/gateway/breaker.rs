//! Providers that are dead, half-dead or refuse the key: which requests fail there, and which must
//! not be affected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::{Answer, another_chat, chat, post_json};
use crate::crowd::{answers, chat_with, count, send, send_many, shows, snapshot, waiting};
use crate::harness::{Breaker, Config, Gateway, Provider, Route, Target, Timeouts, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Gate, Upstream, black_hole, ollama, refusing};

async fn ask(gateway: &Gateway) -> Answer {
    post_json(&gateway.url("/v1/chat"), &another_chat()).await
}

fn is_shut(answer: &Answer) -> bool {
    let seconds = answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
    answer.status == 503
        && answer.json()["code"] == "provider_unavailable"
        && seconds.is_some_and(|seconds| (1..=60).contains(&seconds))
}

/// Awaits the moment when the breaker of the only model is in this state.
async fn model_is(gateway: &Gateway, state: &str) {
    let is_there = async || {
        let view = snapshot(gateway, "ollama").await;
        (view["models"][0]["breaker"]["state"] == state).then_some(())
    };
    eventually(|| format!("the breaker is {state}"), is_there).await;
}

/// A provider that fails while the switch is on, and whose answers wait at the gate otherwise.
fn flapping(broken: &Arc<AtomicBool>, gate: &Gate) -> Upstream {
    let (broken, gate) = (Arc::clone(broken), gate.clone());
    Upstream::spawn(move |call| match broken.load(Ordering::SeqCst) {
        true => ollama::error(500, "broken"),
        false => ollama::reply(call).head_hold(&gate),
    })
}

#[tokio::test]
async fn five_requests_find_a_dead_provider_and_the_rest_are_refused_on_arrival() {
    let dead = refusing();
    let gateway = spawn_gateway(
        Provider::new("ollama", "ollama", dead.url())
            .no_retries()
            .breaker(Breaker::default().failures(5).open("60s")),
    )
    .await;
    for _ in 0..5 {
        let answer = ask(&gateway).await;
        assert_eq!((answer.status, &answer.json()["code"]), (502, &"bad_upstream".into()));
    }
    gateway.logged("a provider is left alone for a while: it keeps failing").await;
    let refused = answers(send_many(&gateway, &[], "hi", 200)).await;
    assert!(refused.iter().all(is_shut));
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("llm_gateway_upstream_attempts_total", &[("outcome", "connect")]), 5.0);
    assert_eq!(metrics.sum("llm_gateway_admissions_total", &[("decision", "breaker")]), 200.0);
    assert_eq!(metrics.sum("llm_gateway_breaker_state", &[]), 2.0);
    gateway.end(205).await;
}

#[tokio::test]
async fn a_broken_provider_gets_one_probe_per_step_and_each_step_is_longer() {
    let broken = Arc::new(AtomicBool::new(true));
    let upstream = flapping(&broken, &Gate::closed());
    let gateway = spawn_gateway(
        Provider::ollama(&upstream)
            .no_retries()
            .breaker(Breaker::default().failures(3).open("200ms").max_open("800ms")),
    )
    .await;
    for _ in 0..3 {
        assert_eq!(ask(&gateway).await.status, 502);
    }
    let mut sent = 3;
    while upstream.calls_so_far().len() < 3 + 3 {
        let batch = answers(send_many(&gateway, &[], "hi", 2)).await;
        assert!(batch.iter().all(|answer| answer.status == 502 || is_shut(answer)));
        sent += 2;
    }
    let calls = upstream.calls_so_far();
    // Doubled each time, less a fifth of jitter.
    for (call, least) in [(2, 160), (3, 320), (4, 640)] {
        let pause = calls[call + 1].arrived.duration_since(calls[call].arrived);
        assert!(pause >= Duration::from_millis(least), "{pause:?} after call {call}");
    }
    gateway.end(sent).await;
}

#[tokio::test]
async fn one_probe_at_a_time_and_full_capacity_after_two_of_them() {
    let (broken, gate) = (Arc::new(AtomicBool::new(true)), Gate::closed());
    let upstream = flapping(&broken, &gate);
    let gateway = spawn_gateway(
        Provider::ollama(&upstream)
            .slots(4)
            .no_retries()
            .breaker(Breaker::default().failures(1).open("50ms").max_open("50ms")),
    )
    .await;
    assert_eq!(ask(&gateway).await.status, 502);
    broken.store(false, Ordering::SeqCst);
    let mut sent = 1;
    for probe in 1..=2 {
        model_is(&gateway, "half_open").await;
        let probing = send(&gateway, &[], chat("probe"));
        upstream.calls(1 + probe).await;
        let others = answers(send_many(&gateway, &[], "other", 20)).await;
        assert!(others.iter().all(is_shut), "while a probe runs nobody else does");
        assert_eq!(upstream.calls_so_far().len(), 1 + probe);
        gate.let_through(1);
        assert_eq!(probing.await.unwrap().status, 200);
        sent += 21;
    }
    model_is(&gateway, "closed").await;
    let closing = gateway.logged("a provider works again").await;
    assert!(closing.contains("provider=ollama"), "{closing}");
    let metrics = gateway.metrics().await;
    for to in ["open", "closed"] {
        assert_eq!(metrics.sum("llm_gateway_breaker_shifts_total", &[("to", to)]), 1.0, "{to}");
    }
    // Slots return one after the other over ten seconds; no request is refused meanwhile.
    let crowd = send_many(&gateway, &[], "crowd", 12);
    upstream.busy(4).await;
    gate.open();
    assert_eq!(count(&answers(crowd).await, 200), 12);
    assert_eq!(upstream.peak(), 4);
    gateway.end(sent + 12).await;
}

#[tokio::test]
async fn a_request_that_waits_when_a_breaker_opens_is_answered_at_once() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |_| ollama::error(500, "broken").head_hold(&held));
    let gateway = spawn_gateway(
        Provider::ollama(&upstream)
            .slots(1)
            .no_retries()
            .breaker(Breaker::default().failures(1).open("60s")),
    )
    .await;
    let sent = send_many(&gateway, &[], "hi", 6);
    waiting(&gateway, "ollama", 5).await;
    gate.open();
    let answers = answers(sent).await;
    assert_eq!(count(&answers, 502), 1);
    assert_eq!(answers.iter().filter(|answer| is_shut(answer)).count(), 5);
    assert_eq!(gateway.metrics().await.sum("llm_gateway_breaker_state", &[]), 2.0);
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(6).await;
}

#[tokio::test]
async fn a_request_that_waits_when_a_breaker_opens_falls_back_if_that_is_allowed() {
    let gate = Gate::closed();
    let held = gate.clone();
    let failing = Upstream::spawn(move |_| ollama::error(500, "broken").head_hold(&held));
    let healthy = Upstream::ollama();
    let one = Provider::ollama(&failing)
        .slots(1)
        .no_retries()
        .breaker(Breaker::default().failures(1).open("60s"));
    let other = Provider::ollama(&healthy).name("spare");
    let gateway = spawn_gateway(
        Config::new().provider(one).provider(other).route(
            Route::new("chat", [Target::new("ollama", "llama3.1")])
                .fallback([Target::new("spare", "llama3.1")]),
        ),
    )
    .await;
    let asked = || {
        let mut body = chat("hi");
        body["model"] = "chat".into();
        send(&gateway, &[], body)
    };
    let sent: Vec<_> = (0..6).map(|_| asked()).collect();
    waiting(&gateway, "ollama", 5).await;
    gate.open();
    let answers = answers(sent).await;
    assert_eq!(count(&answers, 200), 6);
    assert!(answers.iter().all(|answer| answer.header("x-gateway-provider") == Some("spare")));
    assert_eq!((failing.calls_so_far().len(), healthy.calls_so_far().len()), (1, 6));
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("llm_gateway_fallbacks_total", &[("provider", "ollama")]), 6.0);
    gateway.end(6).await;
}

#[tokio::test]
async fn refused_credentials_close_a_provider_at_once_until_they_are_changed() {
    let upstream = Upstream::spawn_whole(|call| match call.header("authorization") {
        Some("Bearer right") if call.path == "/api/chat" => ollama::reply(call),
        Some("Bearer right") => ollama::about_itself(call, &[]),
        _ => ollama::error(401, "who are you, sk-planted?"),
    });
    let with_key = |api_key: &str| Provider::ollama(&upstream).api_key(api_key);
    let gateway = spawn_gateway(&with_key("wrong")).await;
    let first = ask(&gateway).await;
    let chats = || upstream.calls_so_far().iter().filter(|call| call.path == "/api/chat").count();
    assert_eq!((first.status, chats()), (502, 1), "and not retried");
    assert!(!first.text().contains("planted"));
    let line = gateway.logged("it does not accept the gateway's credentials").await;
    assert!(line.contains("ERROR"), "{line}");
    assert!(is_shut(&ask(&gateway).await));
    let view = snapshot(&gateway, "ollama").await;
    assert_eq!(view["breaker"]["state"], "auth_failed");
    assert!(view["breaker"]["left_ms"].as_u64().unwrap() <= 72_000, "tried again each minute");
    assert_eq!(gateway.metrics().await.sum("llm_gateway_breaker_state", &[]), 3.0);
    gateway.write_config(with_key("right"));
    assert_eq!(crate::crowd::press(&gateway, "reload").await.status, 200);
    assert_eq!(ask(&gateway).await.status, 200);
    assert_eq!(chats(), 2);
    gateway.end(3).await;
}

#[tokio::test]
async fn a_provider_that_swallows_connections_does_not_affect_the_others() {
    let (hole, upstream) = (black_hole(), Upstream::ollama());
    let one = Provider::new("hole", "ollama", hole.url())
        .slots(4)
        .timeouts(Timeouts::default().connect("15s"));
    let gateway =
        spawn_gateway(Config::new().provider(Provider::ollama(&upstream)).provider(one)).await;
    let lost: Vec<_> =
        (0..20).map(|_| send(&gateway, &[], chat_with("hole", "nobody hears"))).collect();
    waiting(&gateway, "hole", 16).await;
    for _ in 0..50 {
        assert_eq!(ask(&gateway).await.status, 200);
    }
    assert!(lost.iter().all(|one| !one.is_finished()), "the neighbour waited for the hole");
    shows(&gateway, "hole", "in_flight", 4).await;
    lost.iter().for_each(tokio::task::JoinHandle::abort);
    gateway.end(70).await;
}
