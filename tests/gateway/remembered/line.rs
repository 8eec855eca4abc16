//! The line while conversations are remembered: today's order where nothing is, batch work, clients
//! that disconnect, late jobs, shares, and a configuration that changes meanwhile.

use std::cell::Cell;
use std::sync::Arc;

use llm_gateway::policy::Priority;
use parking_lot::Mutex;

use super::*;
use crate::crowd::{Sent, press, send, snapshot, waiting};
use crate::patience::eventually;

/// A call that keeps the only slot of a server for long. It is batch work, for which no slot is kept
/// afterwards.
fn blocker(gateway: &Gateway, tokens: usize) -> Sent {
    let text = "many ".repeat(tokens * 4 / 5);
    let body = json!({"model": "llama3.1", "messages": [{"role": "user", "content": text}]});
    send(gateway, &[("x-api-key", "sk-e"), ("x-gateway-priority", "batch")], body)
}

/// The order in which these questions of these keys are answered that wait at the same time.
async fn order(remember: bool, asked: &[(&str, Vec<Value>)]) -> Vec<usize> {
    // Writing takes longer than reading, and whoever does not say how much may be written keeps the
    // slot for seconds.
    let slow = SimSettings { tokens_per_second: 20.0, ..settings(65_536, 20_000.0) };
    let simulator = Simulator::start(slow);
    let gateway = in_front_of(&simulator, remember).await;
    let known = json!({"model": "llama3.1", "max_tokens": 2,
        "messages": [{"role": "user", "content": "known ".repeat(100)}]});
    for _ in 0..2 {
        let headers = [("x-api-key", "sk-e")];
        assert_eq!(post_json_with(&gateway.url("/v1/chat"), &headers, &known).await.status, 200);
    }
    let blocker = blocker(&gateway, 50);
    crate::crowd::shows(&gateway, "ollama", "in_flight", 1).await;
    let ended = Arc::new(Mutex::new(Vec::new()));
    let mut sent = Vec::new();
    for (number, (key, messages)) in asked.iter().enumerate() {
        let (url, key) = (gateway.url("/v1/chat"), format!("sk-{key}"));
        let body = json!({"model": "llama3.1", "max_tokens": 2, "messages": messages});
        let ended = Arc::clone(&ended);
        sent.push(tokio::spawn(async move {
            let answer = post_json_with(&url, &[("x-api-key", &key)], &body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            ended.lock().push(number);
        }));
        waiting(&gateway, "ollama", number + 1).await;
    }
    for sent in sent {
        sent.await.unwrap();
    }
    assert_eq!(blocker.await.unwrap().status, 200);
    gateway.end(asked.len() + 3).await;
    ended.lock().clone()
}

#[tokio::test]
async fn short_questions_are_answered_in_the_order_of_the_line() {
    let asked: Vec<_> = ["a", "a", "a", "b", "b", "c", "a", "d", "b", "c", "d", "a"]
        .iter()
        .enumerate()
        .map(|(number, key)| {
            (*key, vec![json!({"role": "user", "content": format!("{number} is what?")})])
        })
        .collect();
    assert_eq!(order(true, &asked).await, order(false, &asked).await);
}

#[tokio::test]
async fn calls_of_one_conversation_are_answered_in_the_order_of_the_line() {
    let rules = json!({"role": "system", "content": "the rules ".repeat(400)});
    let asked: Vec<_> = (0..8)
        .map(|number| {
            let question = json!({"role": "user", "content": format!("{number} is what?")});
            ("a", vec![rules.clone(), question])
        })
        .collect();
    assert_eq!(order(true, &asked).await, (0..8).collect::<Vec<_>>());
}

/// The most slots that were seen kept free while two agents of this priority have their turns.
async fn kept_for(priority: Priority) -> u64 {
    let simulator = server(100, 10_000.0);
    let keys = ["a", "b"].map(|key| Key::new(key).priority(priority));
    let config = Config::new().provider(provider(&simulator)).keys(keys);
    let gateway = spawn_gateway(config).await;
    let (is_over, most) = (Cell::new(false), Cell::new(0));
    let watch = async {
        while !is_over.get() {
            let kept = believed(&gateway).await["kept_slots"].as_u64().unwrap_or_default();
            most.set(kept.max(most.get()));
        }
    };
    let turns = async {
        let agents = ["a", "b"].map(|key| Agent::new(key, 4_000));
        six_turns(&gateway, agents).await;
        is_over.set(true);
    };
    futures_util::future::join(watch, turns).await;
    gateway.end(12).await;
    most.get()
}

#[tokio::test]
async fn no_slot_is_kept_for_batch_work() {
    assert_eq!(kept_for(Priority::Batch).await, 0);
}

#[tokio::test]
async fn clients_that_disconnect_leave_true_beliefs_behind() {
    let simulator = server(65_536, 10_000.0);
    let gateway = in_front_of(&simulator, true).await;
    let mut agents = ["a", "b"].map(|key| Agent::new(key, 2_000));
    rounds(&gateway, &mut agents, 1).await;
    let blocker = blocker(&gateway, 20_000);
    crate::crowd::shows(&gateway, "ollama", "in_flight", 1).await;
    // One disconnects in line, the other one while it holds the slot that is kept for it.
    for agent in &agents {
        let mut messages = agent.messages.clone();
        messages.push(json!({"role": "user", "content": "never mind"}));
        let body = json!({"model": "llama3.1", "messages": messages});
        let leaver = send(&gateway, &[("x-api-key", &agent.key)], body);
        waiting(&gateway, "ollama", 1).await;
        leaver.abort();
        waiting(&gateway, "ollama", 0).await;
    }
    assert_eq!(blocker.await.unwrap().status, 200);
    for agent in &mut agents {
        let (told, total) = remembered(&agent.turn(&gateway).await);
        assert!(told * 2 > total, "{told} of {total}");
    }
    // A third one is read for half a second, and its client leaves in the middle of that.
    let mut third = Agent::new("c", 6_000);
    let mut messages = third.messages.clone();
    messages.push(json!({"role": "user", "content": "never mind"}));
    let body = json!({"model": "llama3.1", "messages": messages});
    let leaver = send(&gateway, &[("x-api-key", "sk-c")], body);
    crate::crowd::shows(&gateway, "ollama", "in_flight", 1).await;
    leaver.abort();
    crate::crowd::shows(&gateway, "ollama", "in_flight", 0).await;
    third.turn(&gateway).await;
    let (told, total) = remembered(&third.turn(&gateway).await);
    assert!(told * 2 > total, "{told} of {total}");
    gateway.end(10).await;
}

#[tokio::test]
async fn a_client_that_disconnects_while_a_slot_is_kept_for_it_keeps_nobody_waiting() {
    let simulator = server(100, 10_000.0);
    let gateway = in_front_of(&simulator, true).await;
    // Nobody's conversation is remembered but the last one's.
    let mut agents = ["a", "b", "c"].map(|key| Agent::new(key, 4_000));
    rounds(&gateway, &mut agents, 1).await;
    let others = agents[..2].iter_mut().map(|agent| agent.turn(&gateway));
    let others = futures_util::future::join_all(others);
    let leaves = async {
        let url = gateway.url("/v1/chat/completions");
        for _ in 0..3 {
            let mut messages = Agent::new("c", 4_000).messages;
            messages.push(json!({"role": "user", "content": "never mind"}));
            let body = json!({"model": "llama3.1", "messages": messages});
            let headers = [("x-api-key", "sk-c")];
            let sent = post_json_with(&url, &headers, &body);
            drop(tokio::time::timeout(Duration::from_millis(40), sent).await);
        }
    };
    futures_util::future::join(others, leaves).await;
    eventually(
        || "no slot is kept when nobody waits".to_owned(),
        async || (believed(&gateway).await["kept_slots"] == 0).then_some(()),
    )
    .await;
    gateway.end(8).await;
}

#[tokio::test]
async fn nobody_is_passed_by_for_longer_than_was_promised() {
    let simulator = server(65_536, 10_000.0);
    let gateway = in_front_of(&simulator, true).await;
    let mut agents: Vec<Agent> = ["a", "b", "c"].map(|key| Agent::new(key, 2_000)).to_vec();
    rounds(&gateway, &mut agents, 1).await;
    let is_over = Cell::new(false);
    let busy = async |mut agent: Agent| {
        let mut turns = 0;
        while !is_over.get() {
            agent.turn(&gateway).await;
            turns += 1;
        }
        turns
    };
    // Others are always remembered, and this one costs forty times as much.
    let late = async {
        let answer = Agent::new("d", 4_000).turn(&gateway).await;
        is_over.set(true);
        answer
    };
    let (turns, answer) = futures_util::future::join(
        futures_util::future::join_all(agents.into_iter().map(busy)),
        late,
    )
    .await;
    assert_eq!(answer.status, 200);
    let turns: usize = turns.iter().sum();
    let lines = gateway.access_lines();
    gateway.end(3 + 1 + turns).await;
    let line = lines.iter().find(|line| line.fields["caller"] == "d").unwrap();
    let of = |name: &str| line.fields[name].parse::<f64>().unwrap();
    let (waited, read) = (of("queue_ms"), of("total_ms") - of("queue_ms"));
    // First come, first served with nothing remembered: three of half its length before it.
    assert!(waited < 2.0 * 1.5 * 2.5 * read, "{waited} ms in line, {read} ms at the server");
}

/// Slot time by key over some seconds: so many agents of each of two keys with these weights.
async fn slot_times(agents: [usize; 2], weights: [u32; 2], rounds: usize) -> [f64; 2] {
    let simulator = server(6_000, 20_000.0);
    let keys = [0, 1].map(|key| Key::new(["a", "b"][key]).weight(weights[key]));
    let config = Config::new().provider(provider(&simulator).max_queue(64)).keys(keys);
    let gateway = spawn_gateway(config).await;
    let (is_over, asked) = (Cell::new(false), Cell::new(0));
    let agent = async |key: usize, number: usize| {
        let key = ["a", "b"][key];
        let mut agent =
            Agent { key: format!("sk-{key}"), ..Agent::new(&format!("{key}{number}"), 2_000) };
        while !is_over.get() {
            agent.turn(&gateway).await;
            asked.set(asked.get() + 1);
            is_over.set(asked.get() >= rounds);
        }
    };
    let all = [0, 1].into_iter().flat_map(|key| (0..agents[key]).map(move |number| (key, number)));
    futures_util::future::join_all(all.map(|(key, number)| agent(key, number))).await;
    let of = |caller: &str| {
        let lines = gateway.access_lines();
        let own = lines.iter().filter(|line| line.fields["caller"] == caller);
        let field =
            |line: &crate::harness::Access, name: &str| line.fields[name].parse::<f64>().unwrap();
        own.map(|line| field(line, "total_ms") - field(line, "queue_ms")).sum()
    };
    gateway.adds_up(asked.get()).await;
    let times = ["a", "b"].map(of);
    gateway.end(asked.get()).await;
    times
}

#[tokio::test]
async fn keys_share_slot_time_by_weight() {
    // Twelve conversations are read before anything is known, and twelve more at the end.
    let [more, less] = slot_times([6, 6], [3, 1], 400).await;
    assert!(more > 1.3 * less && more < 5.0 * less, "{more} {less}");
}

#[tokio::test]
async fn a_key_with_one_conversation_is_not_lost_beside_one_with_twenty() {
    let [one, twenty] = slot_times([1, 20], [1, 1], 160).await;
    assert!(one * 8.0 > twenty, "{one} {twenty}");
}

#[tokio::test]
async fn a_reload_may_change_everything_while_jobs_wait() {
    let simulator = server(2_500, 10_000.0);
    let gateway = in_front_of(&simulator, true).await;
    let (is_over, asked) = (Cell::new(false), Cell::new(0));
    let agent = async |mut agent: Agent| {
        while !is_over.get() {
            agent.turn(&gateway).await;
            asked.set(asked.get() + 1);
        }
    };
    let reloads = async {
        for (number, remember) in [false, true, true, false, true].into_iter().enumerate() {
            let before = asked.get();
            eventually(
                || "some more turns".to_owned(),
                async || (asked.get() > before + 8).then_some(()),
            )
            .await;
            let provider = provider(&simulator).remember(remember);
            let key = |key: &&str| Key::new(key).weight(number as u32 % 3 + 1);
            let config = Config::new().provider(provider).keys(KEYS.iter().map(key));
            gateway.write_config(config);
            assert_eq!(press(&gateway, "reload").await.status, 200);
        }
        is_over.set(true);
    };
    let agents = futures_util::future::join_all(one_of_each_key().into_iter().map(agent));
    futures_util::future::join(agents, reloads).await;
    assert_eq!(snapshot(&gateway, "ollama").await["in_flight"], 0);
    gateway.end(asked.get()).await;
}
