//! What is retried, how often, when, and what the client reads after the last try.

use std::time::Duration;

use super::{
    BOTH, at, chat_with, check_error, check_error_at, model_of, quick, retry_after, streamed_with,
};
use crate::client::post_json;
use crate::harness::{Breaker, Config, Provider, Server, spawn_gateway};
use crate::upstream::{Script, Upstream, ollama};

const BUSY: &str = "server busy, please try again.  maximum pending requests exceeded";

#[tokio::test]
async fn a_busy_provider_is_asked_three_times_and_then_reported_to_the_client() {
    let upstream = Upstream::spawn(|_| ollama::error(503, "too much to do"));
    let gateway = spawn_gateway(quick(upstream.url())).await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat_with("llama3.1")).await;
    let said = check_error(&answer, 503, "provider_unavailable");
    assert!(said.contains("too much to do"), "{said}");
    retry_after(&answer);
    assert_eq!(answer.header("x-gateway-attempts"), Some("3"));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(upstream.calls_so_far().len(), 3);
    let metrics = gateway.metrics().await;
    let attempts = "llm_gateway_upstream_attempts_total";
    assert_eq!(metrics.sum(attempts, &[("outcome", "overloaded")]), 3.0);
    assert_eq!(metrics.sum("llm_gateway_retries_total", &[("reason", "overloaded")]), 2.0);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_provider_that_has_not_begun_is_asked_again_at_the_same_place_of_the_line() {
    let upstream = Upstream::spawn(|call| match call.number {
        0 | 1 => ollama::error(503, BUSY),
        _ => ollama::reply(call),
    });
    let gateway = spawn_gateway(quick(upstream.url())).await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat_with("llama3.1")).await;
    assert_eq!((answer.status, answer.json()["content"].as_str()), (200, Some("Hello!")));
    // What was not begun is no attempt.
    assert_eq!(answer.header("x-gateway-attempts"), Some("1"));
    assert_eq!(answer.header("x-should-retry"), None);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("llm_gateway_retries_total", &[]), 0.0);
    let bodies: Vec<_> = upstream.calls_so_far().into_iter().map(|call| call.body).collect();
    assert!(bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    gateway.end(1).await;
}

#[tokio::test]
async fn a_provider_that_fails_is_502_after_three_attempts() {
    for path in BOTH {
        let upstream =
            Upstream::spawn(|_| ollama::error(500, "model runner has unexpectedly stopped"));
        let gateway = spawn_gateway(quick(upstream.url())).await;
        let asked = at(path, chat_with("llama3.1"));
        let answer = post_json(&gateway.url(path), &asked).await;
        check_error_at(path, &answer, 502, "bad_upstream");
        assert_eq!(answer.header("x-gateway-attempts"), Some("3"));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_eq!(upstream.calls_so_far().len(), 3);
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn the_time_a_provider_asks_for_is_waited_out_when_it_is_short() {
    let upstream = Upstream::spawn(|call| {
        let code = model_of(call).parse().unwrap();
        if call.number % 2 == 0 {
            return ollama::error(code, "later").header("retry-after", "1");
        }
        ollama::reply(call)
    });
    let gateway = spawn_gateway(quick(upstream.url())).await;
    for code in ["503", "429"] {
        let answer = post_json(&gateway.url("/v1/chat"), &chat_with(code)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-gateway-attempts"), Some("2"));
    }
    let calls = upstream.calls_so_far();
    for pair in calls.chunks(2) {
        let waited = pair[1].arrived - pair[0].arrived;
        assert!(waited >= Duration::from_millis(990), "{waited:?}");
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn a_time_that_is_too_long_to_wait_is_passed_on_within_bounds() {
    let upstream = Upstream::spawn(|call| {
        let model = model_of(call);
        let (code, seconds) = model.split_once('-').unwrap();
        ollama::error(code.parse().unwrap(), "later").header("retry-after", seconds)
    });
    let gateway = spawn_gateway(quick(upstream.url())).await;
    let cases = [
        ("503-30", "provider_unavailable", 30),
        ("503-86400", "provider_unavailable", 60),
        ("429-30", "rate_limited", 30),
        ("429-86400", "rate_limited", 60),
    ];
    for (model, code, seconds) in cases {
        let answer = post_json(&gateway.url("/v1/chat"), &chat_with(model)).await;
        let status = model[..3].parse().unwrap();
        check_error(&answer, status, code);
        assert_eq!(retry_after(&answer), seconds, "{model}");
        assert_eq!(answer.header("x-gateway-attempts"), Some("1"), "{model}");
    }
    assert_eq!(upstream.calls_so_far().len(), cases.len());
    gateway.end(cases.len()).await;
}

#[tokio::test]
async fn a_429_that_names_no_time_is_tried_once_more_and_passed_on() {
    let upstream = Upstream::spawn(|_| ollama::error(429, "slow down"));
    let gateway = spawn_gateway(quick(upstream.url())).await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat_with("llama3.1")).await;
    let said = check_error(&answer, 429, "rate_limited");
    assert!(said.contains("slow down"), "{said}");
    retry_after(&answer);
    assert_eq!(answer.header("x-gateway-attempts"), Some("2"));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(upstream.calls_so_far().len(), 2);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_pause_that_a_provider_asks_for_holds_for_all_requests() {
    let upstream = Upstream::spawn(|_| ollama::error(429, "slow down").header("retry-after", "45"));
    let gateway = spawn_gateway(quick(upstream.url())).await;
    for _ in 0..3 {
        let answer = post_json(&gateway.url("/v1/chat"), &chat_with("llama3.1")).await;
        assert!([429, 503].contains(&answer.status), "{}", answer.text());
        assert!(retry_after(&answer) >= 30);
    }
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(3).await;
}

#[tokio::test]
async fn a_provider_that_says_not_to_retry_is_not_asked_again() {
    let upstream = Upstream::spawn(|_| ollama::error(500, "no").header("x-should-retry", "false"));
    let gateway = spawn_gateway(quick(upstream.url())).await;
    let answer = post_json(&gateway.url("/v1/chat"), &chat_with("llama3.1")).await;
    check_error(&answer, 502, "bad_upstream");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_kept_connection_that_died_meanwhile_fails_no_request() {
    for broken in [Script::hang_up as fn() -> Script, Script::reset] {
        let upstream = Upstream::spawn(move |call| match call.nth_on_connection {
            0 => ollama::reply(call),
            _ => broken(),
        });
        // Without retries, and with a breaker that opens at the first failure.
        let config = Config::new().server(Server::default().workers(1)).provider(
            Provider::ollama(&upstream).no_retries().breaker(Breaker::default().failures(1)),
        );
        let gateway = spawn_gateway(config).await;
        for path in [BOTH, BOTH].concat() {
            let asked = at(path, streamed_with("llama3.1"));
            let answer = post_json(&gateway.url(path), &asked).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let calls = upstream.calls_so_far();
        let stale = calls.iter().filter(|call| call.nth_on_connection > 0).count();
        assert!(stale > 0 && calls.len() == 4 + stale, "{calls:#?}");
        gateway.end(4).await;
    }
}
