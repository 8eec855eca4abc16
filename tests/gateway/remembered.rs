//! Conversations that a server has in its prompt cache: in front of the simulated Ollama, in scaled
//! time.
//!
//! What a reader would get wrong: no time is asserted. What counts is how much was read, and what
//! was told.

use std::time::Duration;

use llm_gateway::sim::{Counts, SimSettings};
use serde_json::{Value, json};

use crate::client::{Answer, get, post_json_with};
use crate::harness::{Config, Gateway, Key, Provider, spawn_gateway};
use crate::simulator::Simulator;

/// A server with one slot, which stores so many tokens beside it and reads so many a second.
fn server(stored: u64, read: f64) -> Simulator {
    Simulator::start(SimSettings {
        load: Duration::from_millis(20),
        first_token: Duration::from_millis(5),
        tokens_per_second: 0.0,
        prompt_cache: Some(stored),
        counts: Counts::Ollama,
        read,
        models: vec!["llama3.1".to_owned()],
        ..SimSettings::default()
    })
}

async fn in_front_of(simulator: &Simulator, remember: bool) -> Gateway {
    let provider = Provider::new("ollama", "ollama", &simulator.url)
        .slots(1)
        .max_queue_wait("10m")
        .remember(remember);
    let config = Config::new().provider(provider);
    spawn_gateway(["a", "b", "c", "d", "e"].iter().fold(config, |it, key| it.key(Key::new(key))))
        .await
}

/// An agent's conversation.
struct Agent {
    key: String,
    messages: Vec<Value>,
}

impl Agent {
    /// One that begins with so many words that nobody else says.
    fn new(key: &str, words: usize) -> Self {
        let rules = format!("{key} rules ").repeat(words / 2);
        let messages = vec![json!({"role": "system", "content": rules})];
        Self { key: format!("sk-{key}"), messages }
    }

    /// Its next turn.
    async fn turn(&mut self, gateway: &Gateway) -> Answer {
        let said = format!("and then? {}", self.messages.len());
        self.messages.push(json!({"role": "user", "content": said}));
        let body = json!({"model": "llama3.1", "messages": self.messages});
        let headers = [("x-api-key", &*self.key)];
        let answer = post_json_with(&gateway.url("/v1/chat/completions"), &headers, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.messages.push(answer.json()["choices"][0]["message"].clone());
        answer
    }
}

/// What the answer says was remembered, and of how many tokens.
fn remembered(answer: &Answer) -> (u64, u64) {
    let told = answer.header("x-gateway-remembered").unwrap();
    let (tokens, total) = told.split_once('/').unwrap();
    (tokens.parse().unwrap(), total.parse().unwrap())
}

#[tokio::test]
async fn an_answer_says_what_was_remembered_of_the_callers_own_conversation() {
    let simulator = server(65_536, 100_000.0);
    let gateway = in_front_of(&simulator, true).await;
    let mut agent = Agent::new("a", 2_000);
    let (tokens, total) = remembered(&agent.turn(&gateway).await);
    assert_eq!(tokens, 0);
    let (tokens, next) = remembered(&agent.turn(&gateway).await);
    assert!(tokens > total / 2 && tokens < next, "{tokens} of {next} after {total}");
    let metrics = get(&gateway.admin_url("/metrics")).await.text();
    let sample = |cached: &str| {
        let begins = "llm_gateway_prompt_tokens_total{";
        let mut lines = metrics.lines().filter(|line| line.starts_with(begins));
        let line = lines.find(|line| line.contains(&format!("cached=\"{cached}\""))).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(sample("true") > 1_000 && sample("false") > 1_000, "{metrics}");
    // Another caller that guesses the conversation does not learn that it was there.
    agent.key = "sk-b".to_owned();
    assert_eq!(remembered(&agent.turn(&gateway).await).0, 0);
    let providers = get(&gateway.admin_url("/admin/providers")).await.json();
    let model = &providers["providers"][0]["models"][0];
    assert_eq!(model["remembered"]["conversations"], 1, "{providers}");
    assert!(model["remembered"]["reused"].as_f64().unwrap() > 0.3, "{model}");
    gateway.end(3).await;
}

#[tokio::test]
async fn agents_are_read_again_less_often_when_the_line_follows_the_cache() {
    let mut read = Vec::new();
    for remember in [false, true] {
        let simulator = server(2_500, 10_000.0);
        let gateway = in_front_of(&simulator, remember).await;
        let agent = async |key: &str| {
            let mut agent = Agent::new(key, 2_000);
            for _ in 0..6 {
                agent.turn(&gateway).await;
            }
        };
        let agents = ["a", "b", "c", "d", "e"].map(agent);
        futures_util::future::join_all(agents).await;
        let [tokens, reused] = simulator.counted(["prompt_read", "prompt_reused"]).await;
        read.push((tokens, reused));
        gateway.end(30).await;
    }
    let [(before, _), (after, reused)] = read[..] else { panic!("two runs") };
    assert!(after * 10 < before * 8 && reused > 0, "{read:?}");
}

#[tokio::test]
async fn without_it_nothing_is_told() {
    let simulator = server(65_536, 100_000.0);
    let gateway = in_front_of(&simulator, false).await;
    let answer = Agent::new("a", 100).turn(&gateway).await;
    assert_eq!(answer.header("x-gateway-remembered"), None);
    gateway.end(1).await;
}
