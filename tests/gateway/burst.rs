//! A burst of clients, far more than fit, in front of the simulated Ollama: the limit is never
//! exceeded, every client gets an answer, and afterwards everything is back at rest.

use std::collections::BTreeMap;
use std::time::Duration;

use llm_gateway::sim::SimSettings;
use tokio::task::JoinSet;

use crate::client::{Answer, chat, post_json_with, streamed_chat};
use crate::harness::{Metrics, Provider, spawn_gateway};
use crate::simulator::Simulator;

const CLIENTS: usize = 1_000;
const LIMIT: usize = 8;

/// All clients at once: half of them stream, a tenth have a short deadline.
async fn everybody(url: &str) -> Vec<Answer> {
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let url = url.to_owned();
        clients.spawn(async move {
            let body = if number % 2 == 0 { chat("hi") } else { streamed_chat("hi") };
            let deadline: &[_] =
                if number % 10 == 0 { &[("x-request-timeout-ms", "300")] } else { &[] };
            post_json_with(&url, deadline, &body).await
        });
    }
    clients.join_all().await
}

fn check_refusals(answers: &[Answer]) {
    let mut seconds = BTreeMap::<u64, usize>::new();
    for answer in answers.iter().filter(|answer| [429, 503].contains(&answer.status)) {
        let after = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
        *seconds.entry(after).or_default() += 1;
        let code = answer.json()["code"].as_str().unwrap().to_owned();
        assert!(["overloaded", "rate_limited"].contains(&code.as_str()), "{}", answer.text());
    }
    assert!(seconds.len() > 1, "all refused clients would come back at once: {seconds:?}");
}

fn check_counters(metrics: &Metrics, by_status: &BTreeMap<u16, usize>) {
    let count = |outcome| metrics.sum("llm_gateway_requests_total", &[("outcome", outcome)]);
    let answered = |status| by_status.get(&status).copied().unwrap_or(0) as f64;
    assert_eq!(count("ok"), answered(200));
    assert_eq!(count("rate_limited"), answered(429));
    assert_eq!(count("overloaded"), answered(503));
    assert_eq!(count("timeout"), answered(504));
    assert_eq!(metrics.sum("llm_gateway_requests_total", &[]), CLIENTS as f64);
    // Every request was decided once, since nothing is retried here.
    assert_eq!(metrics.sum("llm_gateway_admissions_total", &[]), CLIENTS as f64);
    let attempts =
        |labels: &[(&str, &str)]| metrics.sum("llm_gateway_upstream_attempts_total", labels);
    assert_eq!(attempts(&[("outcome", "ok")]), answered(200));
    assert_eq!(attempts(&[]), attempts(&[("outcome", "ok")]) + attempts(&[("outcome", "timeout")]));
}

#[tokio::test]
async fn a_burst_is_served_within_the_limit_and_every_client_is_answered() {
    let simulator = Simulator::start(SimSettings {
        slots: 64,
        load: Duration::from_millis(50),
        first_token: Duration::from_millis(50),
        tokens_per_second: 0.0,
        ..SimSettings::default()
    });
    let gateway =
        spawn_gateway(Provider::new("ollama", "ollama", &simulator.url).slots(LIMIT).max_queue(64))
            .await;
    let answers = everybody(&gateway.url("/v1/chat")).await;

    let mut by_status = BTreeMap::<u16, usize>::new();
    for answer in &answers {
        *by_status.entry(answer.status).or_default() += 1;
    }
    assert_eq!(answers.len(), CLIENTS);
    let known = |answer: &&Answer| [200, 429, 503, 504].contains(&answer.status);
    let other = answers.iter().find(|answer| !known(answer));
    assert!(other.is_none(), "{by_status:?} {other:?}");
    assert!(by_status[&200] >= LIMIT, "{by_status:?}");
    check_refusals(&answers);

    gateway.settled().await;
    gateway.adds_up(CLIENTS).await;
    check_counters(&gateway.metrics().await, &by_status);
    gateway.end(CLIENTS).await;
    let seen = simulator.stop();
    assert!(seen.most_running <= LIMIT, "{seen:?}");
    assert_eq!((seen.running, seen.waiting, seen.refused), (0, 0, 0), "{seen:?}");
    assert!(seen.finished >= by_status[&200] as u64, "{seen:?}");
}
