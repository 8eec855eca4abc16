//! Which of equal clouds gets a conversation: the one that remembers it, unless its line is longer
//! by more than `affinity_wait`.
//!
//! What a reader would get wrong: without anything remembered the first of equals that is free gets
//! the request, so that the tests begin at the second one.

use std::time::Duration;

use llm_gateway::policy::{DataPolicy, Trust};

use super::Agent;
use crate::client::{Answer, post_json_with};
use crate::harness::{Config, Gateway, Key, Provider, Route, Target, spawn_gateway};
use crate::upstream::{Call, Gate, Upstream, openai};
use serde_json::json;

const MODEL: &str = "llama3.1";
/// How long a cloud takes for an answer, so that a line there is not nothing.
const TAKES: Duration = Duration::from_millis(20);

/// A cloud whose answers to `hold` wait for the gate.
fn cloud(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::spawn(move |call: &Call| {
        let answer = openai::whole(&["so"]).head_pause(TAKES);
        let messages = call.json()["messages"].clone();
        if messages[0]["content"] == "hold" { answer.head_hold(&gate) } else { answer }
    })
}

fn provider(name: &str, upstream: &Upstream, affinity_wait: &str) -> Provider {
    Provider::openai(name, upstream)
        .trust(Trust::Cloud)
        .slots(1)
        .max_queue_wait("1m")
        .affinity_wait(affinity_wait)
}

/// Occupies the only slot of a provider until its gate is opened.
async fn occupy(gateway: &Gateway, name: &str) -> Answer {
    let messages = json!([{ "role": "user", "content": "hold" }]);
    let body = json!({ "model": format!("{name}/{MODEL}"), "messages": messages });
    let headers = [("x-api-key", "sk-b")];
    post_json_with(&gateway.url("/v1/chat/completions"), &headers, &body).await
}

/// How many calls each of them got.
fn calls(upstreams: [&Upstream; 2]) -> [usize; 2] {
    upstreams.map(|upstream| upstream.calls_so_far().len())
}

/// Two equal clouds of which the second one remembers an agent's conversation.
async fn second_remembers(affinity_wait: &str, gate: &Gate) -> (Gateway, [Upstream; 2], Agent) {
    let upstreams = [cloud(gate), cloud(gate)];
    let config = Config::new()
        .provider(provider("first", &upstreams[0], affinity_wait))
        .provider(provider("second", &upstreams[1], affinity_wait))
        .key(Key::new("a"))
        .key(Key::new("b"));
    let gateway = spawn_gateway(config).await;
    let mut agent = Agent::new("a", 100);
    let first_turn = async {
        gate.reached(1).await;
        agent.turn(&gateway).await;
        gate.let_through(1);
    };
    let (answer, ()) = tokio::join!(occupy(&gateway, "first"), first_turn);
    assert_eq!(answer.status, 200);
    assert_eq!(calls([&upstreams[0], &upstreams[1]]), [1, 1]);
    (gateway, upstreams, agent)
}

#[tokio::test]
async fn an_agents_turns_stay_at_the_cloud_that_remembers_them() {
    let gate = Gate::closed();
    let (gateway, [first, second], mut agent) = second_remembers("1s", &gate).await;
    for _ in 0..3 {
        let answer = agent.turn(&gateway).await;
        assert_eq!(answer.header("x-gateway-remembered"), None, "its line does not follow it");
    }
    assert_eq!(calls([&first, &second]), [1, 4]);
    // Another conversation is nobody's.
    Agent::new("b", 100).turn(&gateway).await;
    assert_eq!(calls([&first, &second]), [2, 4]);
    let providers = gateway.providers().await;
    let remembered =
        |place: usize| providers["providers"][place]["models"][0]["remembered"].clone();
    assert_eq!(remembered(1)["conversations"], 1, "{providers}");
    assert!(remembered(1)["tokens"].as_u64() > Some(0), "{providers}");
    assert_eq!(remembered(1)["kept_slots"], 0, "{providers}");
    gateway.end(6).await;
}

#[tokio::test]
async fn a_line_longer_by_more_than_affinity_wait_sends_the_turn_to_the_other() {
    let gate = Gate::closed();
    let (gateway, [first, second], mut agent) = second_remembers("1ms", &gate).await;
    agent.turn(&gateway).await;
    assert_eq!(calls([&first, &second]), [1, 2]);
    let turn = async {
        gate.reached(2).await;
        agent.turn(&gateway).await;
        assert_eq!(calls([&first, &second]), [2, 3], "the call that occupies it, and the turn");
        gate.let_through(1);
    };
    tokio::join!(occupy(&gateway, "second"), turn);
    // Now the other one remembers more.
    agent.turn(&gateway).await;
    assert_eq!(calls([&first, &second]), [3, 3]);
    gateway.end(6).await;
}

#[tokio::test]
async fn a_line_longer_by_less_is_waited_in() {
    let gate = Gate::closed();
    let (gateway, [first, second], mut agent) = second_remembers("10s", &gate).await;
    let turns = async {
        gate.reached(2).await;
        let opens = async {
            while gateway.providers().await["providers"][1]["queued"] != 1 {
                tokio::task::yield_now().await;
            }
            gate.let_through(1);
        };
        tokio::join!(agent.turn(&gateway), opens);
    };
    tokio::join!(occupy(&gateway, "second"), turns);
    assert_eq!(calls([&first, &second]), [1, 3]);
    gateway.end(4).await;
}

#[tokio::test]
async fn equal_targets_of_a_route_are_drawn_for_a_conversation_and_not_for_each_turn() {
    for (affinity_wait, stays) in [("1s", true), ("0s", false)] {
        let gate = Gate::closed();
        let (one, other) = (cloud(&gate), cloud(&gate));
        let config = Config::new()
            .provider(provider("one", &one, affinity_wait))
            .provider(provider("other", &other, affinity_wait))
            .route(Route::new(MODEL, [Target::at("one"), Target::at("other")]))
            .key(Key::new("a"));
        let gateway = spawn_gateway(config).await;
        let mut agent = Agent::new("a", 10);
        for _ in 0..24 {
            agent.turn(&gateway).await;
        }
        let calls = calls([&one, &other]);
        // By drawing alone all would be at one of them once in eight million runs.
        assert_eq!(calls.contains(&0), stays, "{affinity_wait}: {calls:?}");
        gateway.end(24).await;
    }
}

#[tokio::test]
async fn what_is_remembered_opens_no_cloud_to_a_request_that_must_not_go_there() {
    let gate = Gate::closed();
    let (near, far) = (cloud(&gate), cloud(&gate));
    let config = Config::new()
        .provider(provider("far", &far, "10m"))
        .provider(provider("near", &near, "10m").trust(Trust::Local).remember(false))
        .key(Key::new("a"))
        .key(Key::new("near-only").providers(["near"]))
        .key(Key::new("private").data_policy(DataPolicy::Local));
    let gateway = spawn_gateway(config).await;
    let mut agent = Agent::new("a", 10);
    agent.turn(&gateway).await;
    for key in ["near-only", "private"] {
        agent.key = format!("sk-{key}");
        for _ in 0..2 {
            agent.turn(&gateway).await;
        }
    }
    assert_eq!(calls([&near, &far]), [4, 1]);
    gateway.end(5).await;
}
