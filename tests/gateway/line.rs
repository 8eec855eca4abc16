//! The line in front of a provider: which requests run, which wait, in which order, and which are
//! refused.

use std::collections::BTreeSet;
use std::time::Duration;

use llm_gateway::policy::Priority;

use crate::client::{Answer, chat};
use crate::crowd::{answers, count, key, send, send_many, shows, snapshot, waiting};
use crate::harness::{Config, Key, Provider, spawn_gateway};
use crate::upstream::{Call, Gate, Upstream, ollama};

/// A provider whose answers wait until the gate lets them through.
fn held(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::spawn(move |call| ollama::reply(call).head_hold(&gate))
}

/// The caller's text.
fn content(call: &Call) -> String {
    call.json()["messages"][0]["content"].as_str().unwrap().to_owned()
}

/// `Retry-After` in whole seconds; fails the test when it is no such number.
fn retry_after(answer: &Answer) -> u64 {
    let seconds = answer.header("retry-after").expect("a refusal says when to come back");
    seconds.parse().unwrap_or_else(|error| panic!("{error}: {seconds}"))
}

/// The value below which 99 % of these lie.
fn percentile_99(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[(values.len() - 1) * 99 / 100]
}

#[tokio::test]
async fn of_two_thousand_at_once_never_more_than_eight_run_and_each_is_answered() {
    let upstream =
        Upstream::spawn(|call| ollama::reply(call).head_pause(Duration::from_millis(20)));
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(8).max_queue(64)).await;
    let answers = answers(send_many(&gateway, &[], "herd", 2_000)).await;
    let (served, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    assert!(served.len() >= 8 + 64, "only {} were served", served.len());
    assert_eq!(upstream.calls_so_far().len(), served.len());
    assert!(upstream.peak() <= 8, "{} ran at once", upstream.peak());
    let mut milliseconds = BTreeSet::new();
    for answer in &refused {
        assert_eq!((answer.status, &answer.json()["code"]), (503, &"overloaded".into()));
        assert!((1..=60).contains(&retry_after(answer)));
        milliseconds.insert(answer.header("retry-after-ms").unwrap().to_owned());
    }
    assert!(milliseconds.len() > refused.len().min(200) / 10, "no jitter: {milliseconds:?}");
    gateway.adds_up(2_000).await;
    let of_refused = |access: &crate::harness::Access| {
        (access.outcome == "overloaded").then(|| access.fields["total_ms"].parse().unwrap())
    };
    let took: Vec<u64> = gateway.access_lines().iter().filter_map(of_refused).collect();
    assert_eq!(took.len(), refused.len());
    // It is under 5 ms on an idle machine, and far from any timer on a busy one.
    assert!(percentile_99(took) < 2_000);
    gateway.settled().await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("llm_gateway_admissions_total", &[]), 2_000.0);
    let attempts = metrics.sum("llm_gateway_upstream_attempts_total", &[("outcome", "ok")]);
    assert_eq!(attempts, served.len() as f64);
    gateway.end(2_000).await;
}

#[tokio::test]
async fn the_very_first_burst_can_use_the_whole_line() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(8).max_queue(200)).await;
    let sent = send_many(&gateway, &[], "burst", 208);
    waiting(&gateway, "ollama", 200).await;
    gate.open();
    assert_eq!(count(&answers(sent).await, 200), 208);
    gateway.end(208).await;
}

#[tokio::test]
async fn ten_jobs_of_one_key_do_not_wait_for_a_thousand_of_another() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let keys = [Key::new("many"), Key::new("few")];
    let gateway = spawn_gateway(
        Config::new().keys(keys).provider(Provider::ollama(&upstream).slots(2).max_queue(2200)),
    )
    .await;
    let mut sent = send_many(&gateway, &key("sk-many"), "many", 1_000);
    waiting(&gateway, "ollama", 998).await;
    sent.extend(send_many(&gateway, &key("sk-few"), "few", 10));
    waiting(&gateway, "ollama", 1_008).await;
    gate.open();
    assert_eq!(count(&answers(sent).await, 200), 1_010);
    let calls = upstream.calls_so_far();
    let last = calls.iter().rposition(|call| content(call) == "few").unwrap();
    // Two ran before they arrived; from then on every other turn is theirs. Two run at once, so
    // that neighbours may arrive in either order.
    assert!(last <= 2 + 2 * 10 + 2, "the last of the ten was number {last}");
    gateway.end(1_010).await;
}

#[tokio::test]
async fn weights_of_three_to_one_give_turns_of_three_to_one() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let gateway = spawn_gateway(
        Config::new()
            .keys([Key::new("many").weight(3), Key::new("few")])
            .provider(Provider::ollama(&upstream).slots(1).max_queue(400)),
    )
    .await;
    let mut sent = send_many(&gateway, &key("sk-few"), "first", 1);
    shows(&gateway, "ollama", "in_flight", 1).await;
    sent.extend(send_many(&gateway, &key("sk-few"), "few", 100));
    waiting(&gateway, "ollama", 100).await;
    sent.extend(send_many(&gateway, &key("sk-many"), "many", 100));
    waiting(&gateway, "ollama", 200).await;
    gate.open();
    assert_eq!(count(&answers(sent).await, 200), 201);
    let calls = upstream.calls_so_far();
    let contended = &calls[1..=100];
    let many = contended.iter().filter(|call| content(call) == "many").count();
    assert!((68..=82).contains(&many), "{many} of 100 turns went to the key of weight 3");
    gateway.end(201).await;
}

#[tokio::test]
async fn batch_work_leaves_slots_free_and_is_shed_first() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let gateway = spawn_gateway(
        Config::new()
            .keys([Key::new("nightly").priority(Priority::Batch), Key::new("people")])
            .provider(Provider::ollama(&upstream).slots(5).max_queue(4)),
    )
    .await;
    let nightly = send_many(&gateway, &key("sk-nightly"), "nightly", 8);
    upstream.busy(4).await;
    waiting(&gateway, "ollama", 4).await;
    let mut people = send_many(&gateway, &key("sk-people"), "people", 1);
    upstream.busy(5).await;
    assert_eq!(snapshot(&gateway, "ollama").await["batch_in_flight"], 4);
    // The line is full of batch work: each newcomer takes the place of the newest of it, up to half
    // of the line.
    people.extend(send_many(&gateway, &key("sk-people"), "people", 2));
    let people_wait = serde_json::json!({"nightly": 2, "people": 2});
    shows(&gateway, "ollama", "queued_by_caller", people_wait).await;
    gate.open();
    let (people, nightly) = (answers(people).await, answers(nightly).await);
    assert_eq!(count(&people, 200), 3);
    assert_eq!((count(&nightly, 200), count(&nightly, 429)), (6, 2));
    let shed = nightly.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(shed.json()["code"], "rate_limited");
    retry_after(shed);
    gateway.end(11).await;
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_line_answers_504_and_never_calls() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(1)).await;
    let backlog = send_many(&gateway, &[], "backlog", 5);
    waiting(&gateway, "ollama", 4).await;
    let hurried = send(&gateway, &[("x-request-timeout-ms", "2000")], chat("hurried"));
    let hurried = hurried.await.unwrap();
    assert_eq!((hurried.status, &hurried.json()["code"]), (504, &"timeout".into()));
    assert!(hurried.took >= Duration::from_secs(2), "{:?}", hurried.took);
    assert!(hurried.took < Duration::from_secs(10), "{:?}", hurried.took);
    waiting(&gateway, "ollama", 4).await;
    gate.open();
    assert_eq!(count(&answers(backlog).await, 200), 5);
    assert!(upstream.calls_so_far().iter().all(|call| content(call) == "backlog"));
    gateway.end(6).await;
}

#[tokio::test]
async fn a_wait_as_long_as_the_operator_allows_answers_503() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(1).max_queue_wait("300ms")).await;
    let first = send(&gateway, &[], chat("first"));
    upstream.busy(1).await;
    let second = send(&gateway, &[], chat("second")).await.unwrap();
    assert_eq!((second.status, &second.json()["code"]), (503, &"overloaded".into()));
    retry_after(&second);
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(upstream.calls_so_far().len(), 1);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_wait_that_is_predicted_to_be_too_long_is_refused_on_arrival() {
    let gate = Gate::closed();
    let behind = gate.clone();
    let upstream = Upstream::spawn(move |call| {
        let measured = ollama::reply(call).head_pause(Duration::from_millis(200));
        if content(call) == "measured" { measured } else { measured.head_hold(&behind) }
    });
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(4).max_queue(100)).await;
    assert_eq!(count(&answers(send_many(&gateway, &[], "measured", 24)).await, 200), 24);
    let backlog = send_many(&gateway, &[], "backlog", 84);
    waiting(&gateway, "ollama", 80).await;
    // 81 turns of at least 0.2 s, four at a time, are more than 4 s.
    let hurried = send(&gateway, &[("x-request-timeout-ms", "3000")], chat("hurried"));
    let hurried = hurried.await.unwrap();
    assert_eq!((hurried.status, &hurried.json()["code"]), (503, &"overloaded".into()));
    assert!(hurried.took < Duration::from_secs(3), "at once, not at its deadline");
    assert!((3..=60).contains(&retry_after(&hurried)), "the prediction, less 20 %");
    let counted = gateway.metrics().await;
    let refused = [("decision", "predicted_wait")];
    assert_eq!(counted.sum("llm_gateway_admissions_total", &refused), 1.0);
    gate.open();
    assert_eq!(count(&answers(backlog).await, 200), 84);
    gateway.end(24 + 84 + 1).await;
}

#[tokio::test]
async fn a_flood_of_refusals_is_in_the_log_the_metrics_and_the_snapshot() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let gateway = spawn_gateway(Provider::ollama(&upstream).slots(1).max_queue(0)).await;
    let first = send(&gateway, &[], chat("first"));
    upstream.busy(1).await;
    let refused = answers(send_many(&gateway, &[], "refused", 70)).await;
    assert_eq!(count(&refused, 503), 70);
    assert!(refused.iter().all(|answer| answer.header("x-gateway-reason") == Some("queue_full")));
    let line = gateway.logged("requests are turned away in great number").await;
    for part in ["WARN", "provider=ollama", "mostly=queue_full", "of=anonymous", "refused=20"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(snapshot(&gateway, "ollama").await["refused_last_minute"], 70);
    let counted = gateway.metrics().await;
    let full = [("decision", "queue_full")];
    assert_eq!(counted.sum("llm_gateway_admissions_total", &full), 70.0);
    let full = [("provider", "ollama"), ("reason", "queue_full")];
    assert_eq!(counted.sum("llm_gateway_refusals_total", &full), 70.0);
    // The access line has the reason too.
    let lines = gateway.access_lines();
    let told = lines.iter().filter(|line| line.fields["cause"] == "queue_full");
    assert_eq!(told.count(), 70, "{lines:?}");
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    gateway.end(71).await;
}

#[tokio::test]
async fn metrics_tell_what_each_key_has_and_how_long_a_newcomer_would_wait() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let keys = ["a", "b"].map(Key::new);
    let config =
        Config::new().keys(keys).provider(Provider::ollama(&upstream).slots(1).max_queue(2));
    let gateway = spawn_gateway(config).await;
    let first = send(&gateway, &key("sk-a"), chat("first"));
    upstream.busy(1).await;
    let second = send(&gateway, &key("sk-a"), chat("second"));
    waiting(&gateway, "ollama", 1).await;
    let third = send(&gateway, &key("sk-b"), chat("third"));
    waiting(&gateway, "ollama", 2).await;
    let fourth = send(&gateway, &key("sk-a"), chat("fourth")).await.unwrap();
    // Its share of the line is taken, since another key waits.
    assert_eq!(fourth.status, 429);
    let counted = gateway.metrics().await;
    let of =
        |name: &str, key: &str| counted.sum(&format!("llm_gateway_key_{name}"), &[("key", key)]);
    assert_eq!((of("in_flight", "a"), of("queued", "a")), (2.0, 1.0));
    assert_eq!((of("in_flight", "b"), of("queued", "b")), (1.0, 1.0));
    let refused = [("key", "a"), ("ended", "refused")];
    assert_eq!(counted.sum("llm_gateway_key_requests_total", &refused), 1.0);
    assert!(counted.sum("llm_gateway_predicted_wait_seconds", &[("provider", "ollama")]) > 0.0);
    gate.open();
    for sent in [first, second, third] {
        assert_eq!(sent.await.unwrap().status, 200);
    }
    gateway.end(4).await;
}
