//! Random requests against failing providers while operators change every limit, and then the sums.
//!
//! It owns the random choices. A run prints its seed; `LLM_GATEWAY_SOAK_SEED` repeats its choices,
//! and `LLM_GATEWAY_SOAK_SECONDS` (default 4, `tests/run soak` takes 60) says how long new requests
//! are sent. [`steady`] is the same for an ordinary load, and checks the memory and descriptors of
//! the process.

mod steady;

use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;

use crate::client::raw::{End, Raw, post_bytes};
use crate::client::{chat, streamed_chat};
use crate::harness::{Breaker, Config, Gateway, Provider, Retry, Server, Timeouts, spawn_gateway};
use crate::ledger::{Ending, Seen, balance};
use crate::upstream::{Call, Script, Upstream, ollama};

const CLIENTS: u64 = 48;
/// The highest limit that an operator sets.
const MOST: usize = 8;

/// What a prompt may order that is not simply answered.
const FAULTS: [&str; 15] = [
    "reset",
    "hang up",
    "never",
    "stall",
    "cut",
    "reset midway",
    "closing",
    "long",
    "error midway",
    "500",
    "503",
    "429",
    "400",
    "nonsense",
    "once",
];

/// What one client is to do.
struct Wish {
    /// What the provider is asked to do.
    order: &'static str,
    /// How long the client allows.
    deadline: Option<Duration>,
    /// Whether the client disconnects before the end.
    leaves: bool,
}

#[tokio::test]
async fn whatever_happens_every_request_ends_once_and_every_slot_comes_back() {
    let seconds = number("LLM_GATEWAY_SOAK_SECONDS").unwrap_or(4);
    let seed = number("LLM_GATEWAY_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("soak: LLM_GATEWAY_SOAK_SEED={seed}, {seconds} s");
    let upstreams = [Upstream::spawn(play), Upstream::spawn(play)];
    let gateway = spawn_gateway(config(&upstreams, 4)).await;
    let until = Instant::now() + Duration::from_secs(seconds);

    let clients = async {
        let local = tokio::task::LocalSet::new();
        let address = gateway.address();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                local.spawn_local(client(address, number, Rng::with_seed(seed ^ number), until))
            })
            .collect();
        let mut seen = Vec::new();
        local
            .run_until(async {
                for client in clients {
                    seen.extend(client.await.unwrap());
                }
            })
            .await;
        seen
    };
    let mut dice = Rng::with_seed(seed.rotate_left(17));
    let (seen, ()) = tokio::join!(clients, operate(&gateway, &upstreams, &mut dice, until));

    let sent = balance(&gateway, &[&upstreams[0], &upstreams[1]], &seen, MOST).await;
    println!("soak: {} sent, {sent} counted, by ending: {:?}", seen.len(), tally(&seen));
    assert!(seen.iter().any(|one| one.ending == Ending::Whole(200)), "nothing was ever answered");
    gateway.end(sent).await;
}

/// A number in the environment.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

fn config(upstreams: &[Upstream; 2], slots: usize) -> Config {
    let timeouts = Timeouts::default().connect("2s").first_event("300ms").idle("300ms").total("5s");
    let named = |name: &str, upstream: &Upstream| {
        Provider::ollama(upstream)
            .name(name)
            .slots(slots)
            .max_queue(16)
            .max_queue_wait("2s")
            .timeouts(timeouts.clone())
            .retry(Retry::default().max_retries(2).backoff("10ms").max_backoff("50ms"))
            .breaker(Breaker::default().failures(8).open("100ms").max_open("300ms"))
    };
    let [one, two] = upstreams;
    Config::new()
        .server(Server::default().workers(2).body_timeout("2s").heartbeat_after("200ms"))
        .providers([named("one", one), named("two", two)])
        .default_providers(["one", "two"])
}

/// The prompt says what the provider does.
fn play(call: &Call) -> Script {
    let body = call.json();
    let order = body["messages"][0]["content"].as_str().unwrap_or_default();
    let ms = Duration::from_millis;
    let busy = || ollama::error(503, "busy");
    match order {
        "slow head" => ollama::reply(call).head_pause(ms(20)),
        "slow body" => ollama::answer(&["a", "b", "c"]).paced(ms(5)),
        "reset" => Script::reset(),
        "hang up" => Script::hang_up(),
        "never" => Script::never(),
        "stall" => ollama::opened(&["a"]).stall(),
        "cut" => ollama::answer(&["a", "b"]).cut_at(150),
        "reset midway" => ollama::answer(&["a", "b"]).reset_at(150),
        "closing" => ollama::reply(call).closing(),
        "error midway" => ollama::opened(&["a"]).piece(ollama::error_line("out of memory")),
        "500" => ollama::error(500, "failed"),
        "503" => busy(),
        "429" => ollama::error(429, "too many").header("retry-after", "0"),
        "400" => ollama::error(400, "no such thing"),
        "nonsense" => Script::status(200).piece("<html>hello</html>"),
        "once" if call.number.is_multiple_of(2) => busy(),
        "long" => ollama::many_small_events(512 * 1024),
        _ => ollama::reply(call),
    }
}

/// Sends one request after the other, of random kinds, until the time is over.
async fn client(
    address: std::net::SocketAddr,
    number: u64,
    mut dice: Rng,
    until: Instant,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    while Instant::now() < until {
        let id = format!("soak-{number}-{}", seen.len());
        let one = request(address, id, &mut dice).await;
        let was_refused = one.ending == Ending::Whole(503);
        seen.push(one);
        if was_refused {
            tokio::time::sleep(Duration::from_millis(dice.u64(..60))).await;
        }
    }
    seen
}

async fn request(address: std::net::SocketAddr, id: String, dice: &mut Rng) -> Seen {
    let order = match dice.u32(..100) {
        0..70 => "fine",
        70..75 => "slow head",
        75..80 => "slow body",
        _ => dice.choice(FAULTS).unwrap(),
    };
    let deadline = dice.u32(..100).lt(&20).then(|| Duration::from_millis(dice.u64(1..300)));
    let leaves = dice.u32(..100) < 25;
    send(address, id, Wish { order, deadline, leaves }, dice).await
}

/// Sends one request, streamed or not, and reads its answer unless the client is to disconnect.
async fn send(address: std::net::SocketAddr, id: String, wish: Wish, dice: &mut Rng) -> Seen {
    let Wish { order, deadline, leaves } = wish;
    let body = if dice.bool() { chat(order) } else { streamed_chat(order) };
    let allowed = deadline.map(|deadline| deadline.as_millis().to_string());
    let mut headers = vec![("x-request-id", id.as_str()), ("connection", "close")];
    if let Some(allowed) = &allowed {
        headers.push(("x-request-timeout-ms", allowed));
    }
    let bytes = post_bytes("/v1/chat", &headers, &body);
    let sent = Instant::now();
    let mut raw = Raw::connect(address).await;
    let ending = if leaves {
        leave(raw, &bytes, dice).await
    } else {
        raw.send(&bytes).await;
        let (text, end) = raw.read_to_end().await;
        ending(&text, end)
    };
    Seen { id, sent, deadline, ending }
}

/// Sends all or most of a request and disconnects, in order or not, at once, soon, or once
/// something arrived.
async fn leave(mut raw: Raw, bytes: &[u8], dice: &mut Rng) -> Ending {
    let most = bytes.len() - if dice.u32(..4) == 0 { dice.usize(1..20) } else { 0 };
    raw.send(&bytes[..most]).await;
    let (mut some, resets) = (false, dice.bool());
    match dice.u32(..3) {
        0 => {}
        1 => tokio::time::sleep(Duration::from_millis(dice.u64(..40))).await,
        _ if most == bytes.len() => some = raw.some().await.is_ok(),
        _ => {}
    }
    let at = Instant::now();
    if resets {
        raw.rst()
    } else {
        raw.fin()
    }
    Ending::Left { at, perhaps_unread: resets && !some }
}

/// What an answer amounts to.
fn ending(text: &str, end: End) -> Ending {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ending::Nothing };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let whole = match length {
        Some(length) => length.parse() == Ok(body.len()),
        None => body.ends_with("0\r\n\r\n"),
    };
    if whole && end == End::Fin { Ending::Whole(status) } else { Ending::Broken(status) }
}

/// Changes limits as no sensible operator would.
async fn operate(gateway: &Gateway, upstreams: &[Upstream; 2], dice: &mut Rng, until: Instant) {
    let mut ticks = tokio::time::interval(Duration::from_millis(60));
    while Instant::now() < until {
        ticks.tick().await;
        let name = dice.choice(["one", "two"]).unwrap();
        let slots = dice.usize(1..=MOST);
        let path = format!("/admin/providers/{name}");
        match dice.u32(..4) {
            0 => {
                knob(gateway, "PATCH", &path, &json!({"max_concurrency": slots}).to_string()).await
            }
            1 => {
                let body = json!({"max_queue": dice.u32(0..20), "max_queue_wait_ms": 500});
                knob(gateway, "PATCH", &path, &body.to_string()).await;
            }
            2 => {
                knob(gateway, "POST", &format!("{path}/drain"), "").await;
                ticks.tick().await;
                knob(gateway, "POST", &format!("{path}/resume"), "").await;
            }
            _ => {
                gateway.write_config(config(upstreams, slots));
                knob(gateway, "POST", "/admin/reload", "").await;
            }
        }
    }
}

async fn knob(gateway: &Gateway, method: &str, path: &str, body: &str) {
    let client = Rc::new(reqwest::Client::builder().no_proxy().build().unwrap());
    let request = client.request(method.parse().unwrap(), gateway.admin_url(path));
    let answer = request.body(body.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{method} {path}: {}", answer.text().await.unwrap());
}

fn tally(seen: &[Seen]) -> std::collections::BTreeMap<String, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for one in seen {
        let name = match one.ending {
            Ending::Whole(status) => format!("whole {status}"),
            Ending::Broken(status) => format!("broken {status}"),
            Ending::Nothing => "nothing".to_owned(),
            Ending::Left { .. } => "left".to_owned(),
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
}
