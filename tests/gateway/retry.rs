//! What is retried, how often and when, as a provider sees it on the wire.

use std::time::{Duration, SystemTime};

use crate::client::{Answer, chat, post_json};
use crate::crowd::{answers, chat_with, count, send, send_many, shows, snapshot};
use crate::harness::{Config, Gateway, Provider, Retry, Route, Target, Timeouts, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, ollama};

/// Retries without long pauses.
fn quick(provider: Provider) -> Provider {
    provider.retry(Retry::default().backoff("10ms").max_backoff("20ms"))
}

/// What happens the first times a provider is called; afterwards it answers.
struct Row {
    failure: fn() -> Script,
    times: usize,
    status: u16,
    calls: usize,
}

fn row(failure: fn() -> Script, times: usize, (status, calls): (u16, usize)) -> Row {
    Row { failure, times, status, calls }
}

/// Plays every row against a provider of its own, named by its place.
async fn play(rows: &[Row], with: impl Fn(Provider) -> Provider) {
    let upstream = |row: &Row| {
        let (failure, times) = (row.failure, row.times);
        Upstream::spawn(
            move |call| if call.number < times { failure() } else { ollama::reply(call) },
        )
    };
    let upstreams: Vec<Upstream> = rows.iter().map(upstream).collect();
    let providers = upstreams
        .iter()
        .enumerate()
        .map(|(place, upstream)| with(Provider::ollama(upstream).name(format!("row-{place}"))));
    let config = Config::new().providers(providers).default_providers(["row-0"]);
    let gateway = spawn_gateway(config).await;
    for (place, row) in rows.iter().enumerate() {
        let body = chat_with(&format!("row-{place}"), "hi");
        let answer = post_json(&gateway.url("/v1/chat"), &body).await;
        let calls = upstreams[place].calls_so_far().len();
        assert_eq!((answer.status, calls), (row.status, row.calls), "row {place}: {answer:?}");
        assert_eq!(answer.header("x-gateway-attempts"), Some(calls.to_string().as_str()));
        let is_spent = answer.status != 200 && calls > 1;
        let may_retry = answer.header("x-should-retry");
        assert!(!is_spent || may_retry == Some("false"), "row {place}: {answer:?}");
    }
    gateway.end(rows.len()).await;
}

#[tokio::test]
async fn transient_failures_are_retried() {
    let rows = [
        row(|| ollama::error(500, "x"), 1, (200, 2)),
        row(|| ollama::error(500, "x"), 2, (200, 3)),
        row(|| ollama::error(500, "x"), 9, (502, 3)),
        row(|| ollama::error(502, "x"), 1, (200, 2)),
        row(|| ollama::error(503, "x"), 1, (200, 2)),
        row(|| ollama::error(503, "x"), 9, (503, 3)),
        row(|| ollama::error(504, "x"), 1, (200, 2)),
        row(|| ollama::error(529, "x"), 1, (200, 2)),
        row(|| ollama::error(408, "x"), 1, (200, 2)),
        row(|| ollama::error(409, "x"), 1, (200, 2)),
        row(|| ollama::error(429, "x"), 1, (200, 2)),
        row(|| ollama::error(429, "x"), 9, (429, 2)),
        row(Script::reset, 1, (200, 2)),
        row(Script::hang_up, 9, (502, 2)),
        row(|| ollama::stream_head().cut_at(0), 1, (200, 2)),
        row(|| Script::status(200).piece("<html>"), 9, (502, 2)),
    ];
    play(&rows, quick).await;
}

#[tokio::test]
async fn permanent_failures_are_not_retried() {
    let rows = [
        row(|| ollama::error(400, "x"), 1, (400, 1)),
        row(|| ollama::error(404, "x"), 1, (404, 1)),
        row(|| ollama::error(413, "x"), 1, (400, 1)),
        row(|| ollama::error(415, "x"), 1, (400, 1)),
        row(|| ollama::error(422, "x"), 1, (400, 1)),
        row(|| ollama::error(401, "x"), 1, (403, 1)),
        row(|| ollama::error(403, "x"), 1, (403, 1)),
        row(|| ollama::error(402, "x"), 1, (429, 1)),
        row(|| ollama::error(500, "x").header("x-should-retry", "false"), 1, (502, 1)),
        row(|| ollama::error(429, "x").header("retry-after", "21"), 1, (429, 1)),
        row(|| Script::redirect(302, "http://127.0.0.1:1/"), 1, (502, 1)),
        row(Script::never, 1, (504, 1)),
    ];
    let timeouts = Timeouts::default().first_event("1s");
    play(&rows, |provider| quick(provider).timeouts(timeouts.clone())).await;
}

#[tokio::test]
async fn a_kept_connection_that_died_costs_one_free_call() {
    let upstream = Upstream::spawn(|call| match call.nth_on_connection {
        0 => ollama::reply(call),
        _ => Script::reset(),
    });
    let gateway = spawn_gateway(Provider::ollama(&upstream).no_retries()).await;
    let mut stale = 0;
    for _ in 0..10 {
        let answer = post_json(&gateway.url("/v1/chat"), &chat("hi")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        stale += usize::from(answer.header("x-gateway-attempts") == Some("2"));
    }
    assert!(stale > 0, "no connection was ever kept");
    assert_eq!(upstream.calls_so_far().len(), 10 + stale);
    let view = snapshot(&gateway, "ollama").await;
    assert_eq!((&view["retried"], &view["breaker"]["state"]), (&0.into(), &"closed".into()));
    let retries = gateway.metrics().await.sum("llm_gateway_retries_total", &[("reason", "reset")]);
    assert_eq!(retries, stale as f64);
    gateway.end(10).await;
}

/// Sends one chat to a provider that answers 429 with this header at first; returns how long the
/// gateway waited.
async fn left_alone(gateway: &Gateway, upstream: &Upstream, model: &str) -> (Answer, Duration) {
    let mut body = chat("hi");
    body["model"] = model.into();
    let before = upstream.calls_so_far().len();
    let answer = post_json(&gateway.url("/v1/chat"), &body).await;
    let calls = upstream.calls(before + 2).await;
    (answer, calls[before + 1].arrived.duration_since(calls[before].arrived))
}

#[tokio::test]
async fn every_form_of_retry_after_is_waited_for() {
    let in_three_seconds = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    // Each model is left alone by itself, so that the cooldown of one is not that of the next. The
    // second call to it is answered.
    let upstream = Upstream::spawn(move |call| {
        let model = call.json()["model"].as_str().unwrap().to_owned();
        let refused = ollama::error(429, "slow down");
        match (model.as_str(), call.number % 2) {
            (_, 1) => ollama::reply(call),
            ("seconds", _) => refused.header("retry-after", "1"),
            ("milliseconds", _) => {
                refused.header("retry-after-ms", "600").header("retry-after", "9")
            }
            ("date", _) => refused.header("retry-after", &in_three_seconds()),
            ("past", _) => refused.header("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("nonsense", _) => refused.header("retry-after", "soon"),
            (other, _) => panic!("{other}"),
        }
    });
    let gateway = spawn_gateway(&quick(Provider::ollama(&upstream))).await;
    for (model, least) in
        [("seconds", 1_000), ("milliseconds", 600), ("date", 2_000), ("past", 0), ("nonsense", 0)]
    {
        let (answer, pause) = left_alone(&gateway, &upstream, model).await;
        assert_eq!(answer.status, 200, "{model}: {answer:?}");
        assert!(pause >= Duration::from_millis(least), "{model}: {pause:?}");
        assert!(pause < Duration::from_millis(least + 8_000), "{model}: {pause:?}");
    }
    gateway.end(5).await;
}

#[tokio::test]
async fn a_provider_that_asks_for_a_long_pause_is_replaced_by_another_at_once() {
    let limited = Upstream::spawn(|_| ollama::error(429, "slow down").header("retry-after", "15"));
    let spare = Upstream::ollama();
    let one = Provider::ollama(&limited);
    let other = Provider::ollama(&spare).name("spare");
    let gateway = spawn_gateway(
        Config::new().provider(one).provider(other).route(
            Route::new("chat", [Target::new("ollama", "llama3.1")])
                .fallback([Target::new("spare", "llama3.1")]),
        ),
    )
    .await;
    for _ in 0..3 {
        let mut body = chat("hi");
        body["model"] = "chat".into();
        let answer = post_json(&gateway.url("/v1/chat"), &body).await;
        let served = (answer.status, answer.header("x-gateway-provider"));
        assert_eq!(served, (200, Some("spare")));
        assert!(answer.took < Duration::from_secs(10));
    }
    assert_eq!(limited.calls_so_far().len(), 1, "all others heard of it");
    // Without another provider the client reads when to retry.
    let body = chat_with("ollama", "hi");
    let patient = send(&gateway, &[("x-request-timeout-ms", "5000")], body).await.unwrap();
    assert_eq!((patient.status, limited.calls_so_far().len()), (503, 1), "{patient:?}");
    let seconds: u64 = patient.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=18).contains(&seconds), "{seconds}");
    gateway.end(4).await;
}

#[tokio::test]
async fn a_pause_asked_of_one_request_holds_for_all_and_they_do_not_return_together() {
    let busy = |call: &Call| match call.number {
        0 => ollama::error(429, "slow down").header("retry-after", "2"),
        _ => ollama::reply(call).head_pause(Duration::from_millis(50)),
    };
    let upstream = Upstream::spawn(busy);
    let gateway = spawn_gateway(&quick(Provider::ollama(&upstream))).await;
    let first = send(&gateway, &[], chat("first"));
    upstream.answered(0).await;
    let cooling = async || {
        let left = snapshot(&gateway, "ollama").await["cooldown_left_ms"].as_u64().unwrap();
        (left > 0).then_some(())
    };
    crate::patience::eventually(|| "it is left alone".to_owned(), cooling).await;
    let rest = answers(send_many(&gateway, &[], "rest", 8)).await;
    assert_eq!((first.await.unwrap().status, count(&rest, 200)), (200, 8));
    let calls = upstream.calls_so_far();
    let pause = calls[1].arrived.duration_since(calls[0].arrived);
    assert!(pause >= Duration::from_secs(2), "{pause:?}");
    // One slot returns first, and the next a second later.
    let second = calls[2].arrived.duration_since(calls[1].arrived);
    assert!(second >= Duration::from_millis(20), "two woke together: {second:?}");
    gateway.end(9).await;
}

#[tokio::test]
async fn retries_stay_within_their_budget_when_everything_fails() {
    // 409 is retried and does not count against the provider, so that no breaker hides the budget.
    let upstream = Upstream::spawn(|_| ollama::error(409, "busy"));
    let gateway = spawn_gateway(&quick(Provider::ollama(&upstream)).slots(8)).await;
    let answers = answers(send_many(&gateway, &[], "hi", 60)).await;
    let calls = upstream.calls_so_far().len();
    // A fifth of sixty requests.
    assert!((61..=60 + 12).contains(&calls), "{calls} calls for 60 requests");
    // A request without a retry gets the original failure.
    assert_eq!(count(&answers, 502), 60, "{:?}", answers[0]);
    shows(&gateway, "ollama", "retries_in_flight", 0).await;
    let retries = gateway.metrics().await.sum("llm_gateway_retries_total", &[]);
    assert_eq!(retries, (calls - 60) as f64);
    gateway.end(60).await;
}
