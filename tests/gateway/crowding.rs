//! Servers that run fewer calls at one time than they are given: the gateway notices and says so.

use std::time::Duration;

use futures_util::future::join_all;
use llm_gateway::sim::SimSettings;

use crate::client::{chat, post_json};
use crate::harness::{Gateway, Provider, spawn_gateway};
use crate::simulator::Simulator;

const SLOTS: usize = 4;
const EACH: usize = 40;

async fn ask(gateway: &Gateway) {
    assert_eq!(post_json(&gateway.url("/v1/chat"), &chat("Why?")).await.status, 200);
}

/// As many lonely calls as calls of four clients at one time; whether the gateway said that they
/// take turns.
async fn is_said(slots: u32) -> bool {
    let simulator = Simulator::start(SimSettings {
        slots,
        load: Duration::ZERO,
        first_token: Duration::from_millis(30),
        tokens_per_second: 0.0,
        ..SimSettings::default()
    });
    let gateway =
        spawn_gateway(Provider::new("ollama", "ollama", &simulator.url).slots(SLOTS)).await;
    for _ in 0..EACH {
        ask(&gateway).await;
    }
    join_all((0..SLOTS).map(async |_| {
        for _ in 0..EACH {
            ask(&gateway).await;
        }
    }))
    .await;
    let is_said = gateway.log_lines().iter().any(|line| line.contains("they take turns there"));
    gateway.end(EACH * (1 + SLOTS)).await;
    is_said
}

#[tokio::test]
async fn calls_that_take_turns_in_the_server_are_noticed() {
    assert!(is_said(1).await);
}

#[tokio::test]
async fn calls_that_run_together_are_not() {
    assert!(!is_said(4).await);
}
