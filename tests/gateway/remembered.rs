//! Conversations that a server has in its prompt cache: in front of the simulated Ollama, in scaled
//! time.
//!
//! What a reader would get wrong: no time is asserted. What counts is how much was read, and what
//! was told.
mod clouds;
mod conversations;
mod dialects;
mod line;
mod servers;

use std::time::Duration;

use llm_gateway::sim::{Counts, SimSettings};
use serde_json::{Value, json};

use crate::client::{Answer, get, post_json_with};
use crate::harness::{Config, Gateway, Key, Provider, spawn_gateway};
use crate::simulator::Simulator;

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A server with one slot, which stores so many tokens beside it and reads so many a second.
fn server(stored: u64, read: f64) -> Simulator {
    Simulator::start(settings(stored, read))
}

fn settings(stored: u64, read: f64) -> SimSettings {
    SimSettings {
        load: Duration::from_millis(20),
        first_token: Duration::from_millis(5),
        tokens_per_second: 0.0,
        prompt_cache: Some(stored),
        counts: Counts::Ollama,
        read,
        models: vec!["llama3.1".to_owned()],
        ..SimSettings::default()
    }
}

async fn in_front_of(simulator: &Simulator, remember: bool) -> Gateway {
    before([provider(simulator).remember(remember)]).await
}

fn provider(simulator: &Simulator) -> Provider {
    Provider::new("ollama", "ollama", &simulator.url).slots(1).max_queue_wait("10m")
}

async fn before(providers: impl IntoIterator<Item = Provider>) -> Gateway {
    let config = Config::new().providers(providers);
    spawn_gateway(KEYS.iter().fold(config, |it, key| it.key(Key::new(key)))).await
}

/// An agent's conversation.
#[derive(Clone)]
struct Agent {
    key: String,
    messages: Vec<Value>,
}

impl Agent {
    /// One that begins with so many words that nobody else says.
    fn new(key: &str, words: usize) -> Self {
        Self::with(key, &format!("{key} rules ").repeat(words / 2))
    }

    /// One that begins with this system text.
    fn with(key: &str, rules: &str) -> Self {
        let messages = vec![json!({"role": "system", "content": rules})];
        Self { key: format!("sk-{key}"), messages }
    }

    /// Its next turn.
    async fn turn(&mut self, gateway: &Gateway) -> Answer {
        let said = format!("and then? {}", self.messages.len());
        self.say(gateway, &said).await
    }

    /// A turn that says this.
    async fn say(&mut self, gateway: &Gateway, said: &str) -> Answer {
        self.messages.push(json!({"role": "user", "content": said}));
        let body = json!({"model": "llama3.1", "messages": self.messages});
        let headers = [("x-api-key", &*self.key)];
        let answer = post_json_with(&gateway.url("/v1/chat/completions"), &headers, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.messages.push(answer.json()["choices"][0]["message"].clone());
        answer
    }

    /// So many turns.
    async fn turns(mut self, gateway: &Gateway, count: usize) {
        for _ in 0..count {
            self.turn(gateway).await;
        }
    }
}

/// What the answer says was remembered, and of how many tokens.
fn remembered(answer: &Answer) -> (u64, u64) {
    told(answer.header("x-gateway-remembered").unwrap())
}

/// The two numbers of the header.
fn told(header: &str) -> (u64, u64) {
    let (tokens, total) = header.split_once('/').unwrap();
    (tokens.parse().unwrap(), total.parse().unwrap())
}

/// So many turns of each of these agents, one after the other.
async fn rounds(gateway: &Gateway, agents: &mut [Agent], count: usize) {
    for _ in 0..count {
        for agent in &mut *agents {
            agent.turn(gateway).await;
        }
    }
}

/// What a provider says of the cache of its only model.
async fn believed(gateway: &Gateway) -> Value {
    let providers = gateway.providers().await;
    providers["providers"][0]["models"][0]["remembered"].clone()
}

/// Lets each of these agents have six turns, all at one time.
async fn six_turns(gateway: &Gateway, agents: impl IntoIterator<Item = Agent>) {
    futures_util::future::join_all(agents.into_iter().map(|it| it.turns(gateway, 6))).await;
}

/// Tokens that are read for six turns of each of these agents, in the order of the line and by what
/// the server remembers.
async fn read_for(
    simulators: impl Fn() -> Vec<Simulator>,
    provider: impl Fn(&Simulator) -> Provider,
    agents: impl Fn() -> Vec<Agent>,
) -> [u64; 2] {
    let mut read = [0; 2];
    for (remember, read) in [false, true].into_iter().zip(&mut read) {
        let simulators = simulators();
        let named = simulators.iter().enumerate().map(|(number, simulator)| {
            provider(simulator).name(format!("host-{number}")).remember(remember)
        });
        let gateway = before(named).await;
        let agents = agents();
        let count = agents.len() * 6;
        six_turns(&gateway, agents).await;
        for simulator in &simulators {
            *read += simulator.counted(["prompt_read"]).await[0];
        }
        gateway.end(count).await;
    }
    read
}

/// One agent of each key, each with a conversation of two thousand tokens.
fn one_of_each_key() -> Vec<Agent> {
    KEYS.iter().map(|key| Agent::new(key, 2_000)).collect()
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
    let believed = believed(&gateway).await;
    assert_eq!(believed["conversations"], 1, "{believed}");
    assert!(believed["reused"].as_f64().unwrap() > 0.3, "{believed}");
    gateway.end(3).await;
}

#[tokio::test]
async fn agents_are_read_again_less_often_when_the_line_follows_the_cache() {
    let hosts = || vec![server(2_500, 10_000.0)];
    let [before, after] = read_for(hosts, provider, one_of_each_key).await;
    assert!(after * 10 < before * 8, "{after} of {before}");
}

#[tokio::test]
async fn without_it_nothing_is_told() {
    let simulator = server(65_536, 100_000.0);
    let gateway = in_front_of(&simulator, false).await;
    let answer = Agent::new("a", 100).turn(&gateway).await;
    assert_eq!(answer.header("x-gateway-remembered"), None);
    gateway.end(1).await;
}
