//! Random configurations, failures and policies over real sockets: no byte of a prompt that must
//! stay local reaches a cloud provider, a log line or a metric, and every request is answered once.
//!
//! It owns the random choices. A run prints its seed; `LLM_GATEWAY_TOPOLOGIES_SEED` repeats its
//! choices, and `LLM_GATEWAY_TOPOLOGIES` (default 400) says how many configurations are tried, with
//! 25 requests each.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use fastrand::Rng;
use llm_gateway::policy::{DataPolicy, Trust};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Answer, post_json_with, stream_with};
use crate::crowd::press;
use crate::harness::{
    Breaker, Config, Gateway, Health, Key, Provider, Retry, Route, Target, Timeouts, spawn_gateway,
};
use crate::upstream::{Call, Script, Upstream, anthropic, gemini, ollama, openai};

/// In every prompt that must stay local, and nowhere else.
const MARKER: &str = "planted-for-local-eyes-only";
/// Requests for each configuration.
const REQUESTS: usize = 25;

/// A provider of the test: its name says whether it is local.
struct Machine {
    name: &'static str,
    backend: &'static str,
    url: String,
    upstream: Upstream,
    /// Before a cloud provider, and sees every byte that is sent to it.
    tap: Option<Tap>,
}

/// Stands before a server and records every byte sent to it, whole request or not.
struct Tap {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = {
                    let mut kept = kept.lock();
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                tokio::spawn(carry(client, server, Arc::clone(&kept), number));
            }
        });
        Self { address, connections }
    }

    fn heard(&self, text: &str) -> bool {
        let contains =
            |bytes: &Vec<u8>| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        self.connections.lock().iter().any(contains)
    }
}

async fn carry(
    client: TcpStream,
    server: SocketAddr,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
    number: usize,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut piece = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut piece).await {
            kept.lock()[number].extend_from_slice(&piece[..length]);
            if to_server.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    };
    // The side that closes first ends both, as a broken provider does.
    tokio::select! {
        () = up => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

/// What a provider does, by the number of the call: mostly it answers.
fn play(call: &Call, seed: u64, answer: fn() -> Script) -> Script {
    let mut dice = Rng::with_seed(seed ^ (call.number as u64).wrapping_mul(0x9e37_79b9));
    match dice.u32(..100) {
        0..50 => answer(),
        50..58 => Script::json(500, &json!({ "error": "broken" })),
        58..66 => Script::json(503, &json!({ "error": "busy" })),
        66..72 => Script::json(429, &json!({ "error": "slow down" })),
        72..76 => Script::json(401, &json!({ "error": "who are you" })),
        76..80 => Script::json(
            400,
            &json!({ "error": { "message": "prompt is too long: \
            longer than the context length, the maximum number of tokens",
            "type": "invalid_request_error", "code": "context_length_exceeded" } }),
        ),
        80..84 => Script::json(404, &json!({ "error": "no such model" })),
        84..88 => Script::redirect(307, "http://127.0.0.1:1/"),
        88..92 => Script::hang_up(),
        92..96 => Script::reset(),
        96..98 => answer().cut_at(40),
        _ => Script::status(200).piece("<html>"),
    }
}

/// A name, the API that is spoken, and an answer in it.
type Kind = (&'static str, &'static str, fn() -> Script);

async fn machines(seed: u64) -> Vec<Machine> {
    let kinds: [Kind; 7] = [
        ("home-a", "ollama", || ollama::answer(&["a"])),
        ("home-b", "ollama", || ollama::answer(&["b"])),
        ("home-c", "openai", || openai::answer(&["c"])),
        ("away-a", "ollama", || ollama::answer(&["a"])),
        ("away-b", "openai", || openai::answer(&["b"])),
        ("away-c", "gemini", || gemini::answer(&["c"])),
        ("away-d", "anthropic", || anthropic::answer(&["d"])),
    ];
    let mut machines = Vec::new();
    for (place, (name, backend, answer)) in kinds.into_iter().enumerate() {
        let seed = seed.rotate_left(place as u32);
        let upstream = Upstream::spawn(move |call| play(call, seed, answer));
        let tap = match name.starts_with("away") {
            true => Some(Tap::before(upstream.address()).await),
            false => None,
        };
        let address = tap.as_ref().map_or(upstream.address(), |tap| tap.address);
        machines.push(Machine { name, backend, url: format!("http://{address}"), upstream, tap });
    }
    machines
}

/// Some of these, perhaps none, in any order.
fn some<'a>(dice: &mut Rng, from: &[&'a str]) -> Vec<&'a str> {
    let mut some = from.to_vec();
    dice.shuffle(&mut some);
    some.truncate(dice.usize(..=from.len()));
    some
}

/// A random configuration of these machines; all of them, if `all`.
fn config(machines: &[Machine], dice: &mut Rng, all: bool) -> Config {
    let mut chosen: Vec<&Machine> = machines.iter().collect();
    dice.shuffle(&mut chosen);
    if !all {
        chosen.truncate(dice.usize(1..=machines.len()));
    }
    let names: Vec<&str> = chosen.iter().map(|machine| machine.name).collect();
    let local: Vec<&str> = names.iter().copied().filter(|name| name.starts_with("home")).collect();
    let mut config = Config::new().providers(chosen.iter().map(|machine| provider(machine, dice)));
    for pattern in ["m1", "r*"] {
        let mut target = |_| {
            let (name, weight) = (names[dice.usize(..names.len())], dice.u32(1..4));
            Target::new(name, "m2").weight(weight).context(u64::from(dice.u32(1..4)))
        };
        let targets: Vec<Target> = (0..2).map(&mut target).collect();
        let fallback: Vec<Target> = (0..3).map(&mut target).collect();
        if dice.bool() {
            config = config.route(Route::new(pattern, targets).fallback(fallback));
        }
    }
    config
        .hint("local", some(dice, &local))
        .hint("secure", some(dice, &local))
        .hint("online", some(dice, &names))
        .default_providers(some(dice, &names))
        .key(Key::new("any").key("k-any"))
        .key(Key::new("home").key("k-home").data_policy(DataPolicy::Local))
}

/// The machine with random limits.
fn provider(machine: &Machine, dice: &mut Rng) -> Provider {
    let Machine { name, backend, url, .. } = machine;
    let trust = if name.starts_with("home") { Trust::Local } else { Trust::Cloud };
    let (slots, models) = (dice.usize(1..5), ["*", "m*", "m1", "m2"]);
    let served = models[dice.usize(..models.len())];
    let health = if dice.bool() { "20ms" } else { "0s" };
    Provider::new(name, backend, url)
        .trust(trust)
        .api_key("k")
        .default_model("m1")
        .models([served])
        .slots(slots)
        .max_queue(8)
        .max_queue_wait("2s")
        .timeouts(Timeouts::default().connect("2s").first_event("2s").idle("2s").total("5s"))
        .retry(Retry::default().backoff("1ms").max_backoff("4ms"))
        .breaker(Breaker::default().failures(4).open("5ms").max_open("20ms"))
        .health(Health::default().interval(health).recovery("20ms"))
}

/// A request to the gateway.
struct Question {
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Value,
    must_stay: bool,
}

fn question(dice: &mut Rng) -> Question {
    let models =
        ["m1", "m2", "r-1", "other", "local", "secure", "online", "away-a/m1", "home-c/m9"];
    let model = models[dice.usize(..models.len())];
    let paths = ["/v1/chat", "/v1/chat/completions", "/api/chat", "/v1/messages"];
    let path = paths[dice.usize(..paths.len())];
    let hints = ["local", "secure", "online"];
    let hint = (path == "/v1/chat" && dice.bool()).then(|| hints[dice.usize(..hints.len())]);
    let (by_header, by_key) = (dice.u8(..3) == 0, dice.u8(..4) == 0);
    let says_local = |name: &str| name == "local" || name == "secure";
    let must_stay = by_header || by_key || says_local(model) || hint.is_some_and(says_local);
    let prompt = if must_stay { format!("{MARKER} {model}") } else { format!("anybody, {model}") };
    let mut body = json!({ "model": model, "max_tokens": 9, "stream": dice.bool(),
        "messages": [{ "role": "user", "content": prompt }] });
    if let Some(hint) = hint {
        body["model_hint"] = hint.into();
    }
    let mut headers = vec![("x-api-key", if by_key { "k-home" } else { "k-any" })];
    if by_header {
        headers.push(("x-gateway-data-policy", "local"));
    }
    if dice.bool() {
        headers.push(("x-gateway-explain", "route"));
    }
    Question { path, headers, body, must_stay }
}

/// Sends a request, and returns the answer and its provider; a stream is read to its end, whichever
/// it is.
async fn ask(url: String, question: Question) -> (bool, u16, Option<String>) {
    let Question { headers, body, must_stay, .. } = question;
    if body["stream"] == true {
        let answer = stream_with(&url, &headers, &body).await;
        let (status, from) =
            (answer.status, answer.header("x-gateway-provider").map(str::to_owned));
        answer.rest().await;
        return (must_stay, status, from);
    }
    let answer: Answer = post_json_with(&url, &headers, &body).await;
    (must_stay, answer.status, answer.header("x-gateway-provider").map(str::to_owned))
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

#[tokio::test]
async fn ten_thousand_requests_over_random_topologies_show_no_cloud_a_local_only_prompt() {
    let topologies = number("LLM_GATEWAY_TOPOLOGIES").unwrap_or(400);
    let seed = number("LLM_GATEWAY_TOPOLOGIES_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("topologies: LLM_GATEWAY_TOPOLOGIES_SEED={seed}, {topologies}");
    let mut dice = Rng::with_seed(seed);
    let machines = machines(seed).await;
    let gateway = spawn_gateway(&config(&machines, &mut dice, true)).await;
    let (mut sent, mut kept, mut refused) = (0, 0, 0);
    for topology in 1..=topologies {
        let questions: Vec<Question> = (0..REQUESTS).map(|_| question(&mut dice)).collect();
        let asked: Vec<_> = questions
            .into_iter()
            .map(|question| tokio::spawn(ask(gateway.url(question.path), question)))
            .collect();
        // While these are on their way. The last has all providers again, whose gauges are checked
        // in the end.
        gateway.write_config(config(&machines, &mut dice, topology == topologies));
        let reloaded = press(&gateway, "reload").await;
        assert_eq!(reloaded.status, 200, "{}", reloaded.text());
        for one in asked {
            let (must_stay, status, from) = one.await.unwrap();
            sent += 1;
            assert!((200..600).contains(&status), "{status}");
            let abroad = from.as_deref().is_some_and(|name| name.starts_with("away"));
            assert!(!(must_stay && abroad), "topology {topology}: {from:?} saw it");
            kept += usize::from(must_stay && status == 200);
            refused += usize::from(must_stay && status == 503);
        }
    }
    println!("topologies: {sent} sent, {kept} kept at home and answered, {refused} refused");
    check_silence(&gateway, &machines).await;
    let heard = machines.iter().filter(|machine| machine.tap.is_none());
    let heard: usize = heard.map(|machine| prompts(machine, MARKER)).sum();
    let others: usize = machines.iter().map(|machine| prompts(machine, "anybody")).sum();
    // Otherwise the test would show nothing.
    assert!(heard >= kept && kept > sent / 50 && refused > 0 && others > sent / 10);
    gateway.end(sent).await;
}

/// No cloud provider, log line or metric knows the marker, and the cloud was asked for other
/// things.
async fn check_silence(gateway: &Gateway, machines: &[Machine]) {
    for machine in machines {
        if let Some(tap) = &machine.tap {
            assert!(!tap.heard(MARKER), "{} has seen a local-only prompt", machine.name);
            assert!(tap.heard("anybody"), "{} was never asked", machine.name);
        }
    }
    let told = gateway.log_lines().into_iter().find(|line| line.contains(MARKER));
    assert_eq!(told, None);
    let metrics = crate::client::get(&gateway.admin_url("/metrics")).await.text();
    let providers = gateway.providers().await.to_string();
    assert!(!metrics.contains(MARKER) && !providers.contains(MARKER));
}

fn prompts(machine: &Machine, text: &str) -> usize {
    let calls = machine.upstream.calls_so_far();
    calls.iter().filter(|call| String::from_utf8_lossy(&call.body).contains(text)).count()
}
