//! Servers that change under the gateway, that tell less, and several of them.

use super::*;
use crate::client::{post_json, stream_with};
use crate::crowd::{answers, send};
use crate::harness::Retry;

/// The same server again at the same address, with other settings.
fn again(simulator: Simulator, settings: SimSettings) -> Simulator {
    let listen = simulator.url.strip_prefix("http://").unwrap().parse().unwrap();
    simulator.stop();
    Simulator::start(SimSettings { listen, ..settings })
}

#[tokio::test]
async fn a_server_that_was_started_again_is_believed_to_remember_nothing() {
    let simulator = server(65_536, 100_000.0);
    let retry = Retry::default().max_retries(0);
    let gateway = before([provider(&simulator).retry(retry)]).await;
    let mut agents = ["a", "b", "c"].map(|key| Agent::new(key, 1_000));
    rounds(&gateway, &mut agents, 2).await;
    let listen = simulator.url.strip_prefix("http://").unwrap().parse().unwrap();
    simulator.stop();
    // Somebody finds it gone.
    let hi = json!({"model": "llama3.1", "messages": [{"role": "user", "content": "hi"}]});
    let gone = answers(vec![send(&gateway, &[("x-api-key", "sk-d")], hi)]).await;
    assert_eq!(gone[0].status, 502, "{gone:?}");
    let simulator = Simulator::start(SimSettings { listen, ..settings(65_536, 100_000.0) });
    for agent in &mut agents {
        assert_eq!(remembered(&agent.turn(&gateway).await).0, 0);
    }
    for agent in &mut agents {
        let (told, total) = remembered(&agent.turn(&gateway).await);
        assert!(told * 2 > total, "{told} of {total}");
    }
    let [reused] = simulator.counted(["prompt_reused"]).await;
    assert!(reused > 2_000, "{reused}");
    gateway.end(13).await;
}

#[tokio::test]
async fn a_server_that_was_started_again_unnoticed_is_read_once() {
    let simulator = server(65_536, 100_000.0);
    let gateway = in_front_of(&simulator, true).await;
    let mut agents = ["a", "b", "c"].map(|key| Agent::new(key, 1_000));
    rounds(&gateway, &mut agents, 2).await;
    let simulator = again(simulator, settings(65_536, 100_000.0));
    let mut told = (0, 0);
    for round in 0..6 {
        for agent in &mut agents {
            let (tokens, total) = remembered(&agent.turn(&gateway).await);
            if round > 1 {
                told = (told.0 + tokens, told.1 + total);
            }
        }
    }
    assert!(told.0 * 10 > told.1 * 8, "{told:?}");
    let [read, reused] = simulator.counted(["prompt_read", "prompt_reused"]).await;
    assert!(reused > 3 * read, "{read} read, {reused} reused");
    gateway.end(24).await;
}

#[tokio::test]
async fn a_model_that_was_unloaded_and_loaded_again_remembers_nothing() {
    let simulator = server(65_536, 100_000.0);
    let gateway = in_front_of(&simulator, true).await;
    let mut agents = ["a", "b"].map(|key| Agent::new(key, 1_000));
    rounds(&gateway, &mut agents, 2).await;
    let unload = json!({"model": "llama3.1", "keep_alive": 0});
    let unloaded = post_json(&format!("{}/api/generate", simulator.url), &unload).await;
    assert_eq!(unloaded.status, 200);
    rounds(&gateway, &mut agents, 3).await;
    for agent in &mut agents {
        let (told, total) = remembered(&agent.turn(&gateway).await);
        assert!(told * 10 > total * 8, "{told} of {total}");
    }
    let [loads] = simulator.counted(["loads"]).await;
    assert_eq!(loads, 2);
    gateway.end(12).await;
}

#[tokio::test]
async fn a_cache_that_has_become_smaller_is_noticed() {
    let mut read = Vec::new();
    for remember in [false, true] {
        let simulator = server(9_000, 10_000.0);
        let gateway = in_front_of(&simulator, remember).await;
        six_turns(&gateway, one_of_each_key()).await;
        let simulator = again(simulator, settings(2_500, 10_000.0));
        six_turns(&gateway, one_of_each_key()).await;
        read.extend(simulator.counted(["prompt_read"]).await);
        if remember {
            let room = believed(&gateway).await["room"].as_u64().unwrap();
            assert!(room < 9_000, "{room}");
        }
        gateway.end(60).await;
    }
    assert!(read[1] * 10 < read[0] * 8, "{read:?}");
}

#[tokio::test]
async fn a_cache_that_has_become_larger_is_noticed() {
    let simulator = server(2_500, 100_000.0);
    let gateway = in_front_of(&simulator, true).await;
    let mut agents = one_of_each_key();
    rounds(&gateway, &mut agents, 3).await;
    let small = believed(&gateway).await["room"].as_u64().unwrap();
    let simulator = again(simulator, settings(65_536, 100_000.0));
    let mut told = Vec::new();
    for _ in 0..8 {
        told.clear();
        for agent in &mut agents {
            told.push(remembered(&agent.turn(&gateway).await));
        }
    }
    let large = believed(&gateway).await["room"].as_u64().unwrap_or(u64::MAX);
    assert!(large * 2 > 3 * small, "{small} {large}");
    assert!(told.iter().all(|(tokens, total)| tokens * 10 > total * 8), "{told:?}");
    let [read, reused] = simulator.counted(["prompt_read", "prompt_reused"]).await;
    assert!(reused > 4 * read, "{read} read, {reused} reused");
    gateway.end(55).await;
}

#[tokio::test]
async fn a_server_that_does_not_count_its_cache_is_known_by_the_time_it_takes() {
    let older = || SimSettings { counts: Counts::OlderOllama, ..settings(2_500, 10_000.0) };
    let hosts = || vec![Simulator::start(older())];
    let [before, after] = read_for(hosts, provider, one_of_each_key).await;
    assert!(after * 10 < before * 8, "{after} of {before}");
}

/// Four turns of an agent that reads streams.
async fn streamed_turns(gateway: &Gateway, mut agent: Agent) {
    for turn in 0..4 {
        agent.messages.push(json!({"role": "user", "content": format!("and then? {turn}")}));
        let body = json!({"model": "llama3.1", "stream": true, "messages": agent.messages});
        let headers = [("x-api-key", &*agent.key)];
        let stream = stream_with(&gateway.url("/v1/chat/completions"), &headers, &body).await;
        let events = stream.rest().await.events();
        let piece = |data: &str| {
            let event: Value = serde_json::from_str(data).ok()?;
            Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())
        };
        let text: String = events.iter().filter_map(|(_, data)| piece(data)).collect();
        assert!(!text.is_empty(), "{events:?}");
        agent.messages.push(json!({"role": "assistant", "content": text}));
    }
}

#[tokio::test]
async fn one_that_counts_nothing_is_known_by_the_time_to_the_first_event_of_its_streams() {
    let mut read = Vec::new();
    for remember in [false, true] {
        let older = SimSettings { counts: Counts::OlderOllama, ..settings(2_500, 10_000.0) };
        let simulator = Simulator::start(older);
        let url = format!("{}/v1", simulator.url);
        let provider = Provider::new("host", "openai", url).slots(1).max_queue_wait("10m");
        let gateway = before([provider.remember(remember)]).await;
        let agents = one_of_each_key().into_iter().map(|it| streamed_turns(&gateway, it));
        futures_util::future::join_all(agents).await;
        read.extend(simulator.counted(["prompt_read"]).await);
        gateway.end(20).await;
    }
    assert!(read[1] * 10 < read[0] * 9, "{read:?}");
}

#[tokio::test]
async fn conversations_settle_at_the_hosts_that_remember_them() {
    let hosts = || (0..3).map(|_| server(2_500, 10_000.0)).collect();
    let agents = || {
        let both = KEYS.iter().flat_map(|key| [(key, "one"), (key, "two")]);
        let agent = |(key, name): (&&str, &str)| Agent {
            key: format!("sk-{key}"),
            ..Agent::new(&format!("{key}{name}"), 2_000)
        };
        both.map(agent).collect()
    };
    let [before, after] = read_for(hosts, provider, agents).await;
    assert!(after * 10 < before * 7, "{after} of {before}");
}
