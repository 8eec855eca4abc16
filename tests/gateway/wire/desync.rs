//! Many clients, few connections, and providers that misbehave on the wire at random: no client
//! ever reads another client's marker, every well-formed answer arrives, and no slot is lost.
//!
//! What is done to a request follows from the seed and its marker alone ([`plan::Plan`]), so that
//! the client knows what to expect and a run can be repeated: it prints its seed,
//! `LLM_GATEWAY_SOAK_SEED` repeats its choices, and `LLM_GATEWAY_SOAK_SECONDS` (default 4,
//! `tests/run soak` takes 60) says how long it runs.
//!
//! What a reader would get wrong: unsolicited bytes are sent after an answer in the same write, or
//! between two rounds, while there is no request. At other times nothing could distinguish them
//! from an answer.

mod bodies;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::peer::Peer;
use crate::client::{Streamed, chat, post_json_with, stream_with};
use crate::harness::{Breaker, Config, Gateway, Provider, Server, Timeouts, Tls, spawn_gateway};
use crate::patience::within;
use crate::soak::number;
use crate::tls::front::{Authority, Front, Leaf};
use bodies::{Api, PLANTED};
use plan::{Expected, Plan};

const CLIENTS: usize = 32;
/// Exchanges of each client in a round.
const TURNS: usize = 12;
/// Calls at one time, and so about as many connections, at each provider.
const SLOTS: usize = 4;
/// The outcome of a request whose breaker was open because others had failed: no answer, and not
/// another's.
const LEFT_ALONE: &str = "left alone";
/// More than any request waits to be sent.
const LARGE: usize = 3 << 20;

/// A provider's name and what it speaks.
const PROVIDERS: [(&str, Api); 5] = [
    ("ollama", Api::Ollama),
    ("openai", Api::OpenAi),
    ("gemini", Api::Gemini),
    ("anthropic", Api::Anthropic),
    ("encrypted", Api::Ollama),
];

/// What one client saw.
struct Seen {
    plan: Plan,
    is_carried: bool,
    status: u16,
    text: String,
    marker: String,
}

#[tokio::test]
async fn no_client_ever_reads_the_answer_to_another_request() {
    let seconds = number("LLM_GATEWAY_SOAK_SECONDS").unwrap_or(4);
    let seed = number("LLM_GATEWAY_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("desync: LLM_GATEWAY_SOAK_SEED={seed}");
    let peers: Vec<Peer> = PROVIDERS
        .iter()
        .map(|(_, api)| Peer::spawn(move |asked| Plan::of(seed, &asked.marker).acts(*api, asked)))
        .collect();
    let authority = Authority::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let front = Front::open(peers[4].address(), authority.issue(Leaf::Good)).await;
    let tls = Tls::default().ca_file(file.to_str().unwrap()).roots("none");
    let gateway = Arc::new(spawn_gateway(config(&peers, &front.url(), &tls)).await);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut tally = BTreeMap::<String, usize>::new();
    let (mut sent, mut round) = (0, 0);
    while Instant::now() < until {
        let seen = one_round(&gateway, seed, round).await;
        sent += seen.len();
        round += 1;
        seen.iter().for_each(|one| check(one, &mut tally));
        gateway.settled().await;
        for peer in &peers {
            // A client that reads it, then or later, reads bytes that were never an answer.
            peer.say_unasked(planted_answer()).await;
        }
    }
    println!("desync: {sent} exchanges in {round} rounds: {tally:?}");
    let reuse = peers.iter().flat_map(Peer::asked).filter(|asked| asked.nth > 0).count();
    let asked: usize = peers.iter().map(|peer| peer.asked().len()).sum();
    println!("desync: {asked} calls, {reuse} of them on a kept connection");
    assert!(tally["own"] > sent / 2 && reuse > asked / 5, "it shows nothing");
    let left_alone = tally.get(LEFT_ALONE).copied().unwrap_or_default();
    assert!(left_alone < sent / 20, "the breakers keep most of it from being asked");
    Arc::into_inner(gateway).unwrap().end(sent).await;
}

fn config(peers: &[Peer], encrypted: &str, tls: &Tls) -> Config {
    let providers = PROVIDERS.iter().zip(peers).map(|((name, api), peer)| {
        let provider = match *name {
            "encrypted" => Provider::new(name, api.backend(), encrypted).tls(tls.clone()),
            _ => Provider::new(name, api.backend(), format!("{}{}", peer.url(), api.path())),
        };
        provider
            .api_key("x")
            .slots(SLOTS)
            .max_queue(1000)
            .no_retries()
            .breaker(Breaker::default().failures(1000))
            .timeouts(Timeouts::default().first_event("10s").idle("10s"))
    });
    Config::new().server(Server::default().workers(2)).providers(providers)
}

/// All clients at once, each with its exchanges one after the other.
async fn one_round(gateway: &Arc<Gateway>, seed: u64, round: usize) -> Vec<Seen> {
    let clients = (0..CLIENTS).map(|client| {
        let gateway = Arc::clone(gateway);
        tokio::spawn(async move {
            let mut seen = Vec::new();
            for turn in 0..TURNS {
                let marker = format!("mk{round:04x}{client:02x}{turn:02x}");
                seen.push(one_exchange(&gateway, seed, marker).await);
            }
            seen
        })
    });
    let mut seen = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        seen.extend(client.await.unwrap());
    }
    seen
}

async fn one_exchange(gateway: &Gateway, seed: u64, marker: String) -> Seen {
    let plan = Plan::of(seed, &marker);
    let filling = if plan.is_large { LARGE } else { 0 };
    let words = format!("{marker}{}", "x".repeat(filling));
    let (name, api) = PROVIDERS[plan.provider];
    // A breaker is kept for each model, and some of these fail often.
    let model = format!("{name}/m{}", fastrand::u16(..300));
    let is_carried = fastrand::bool();
    let (path, mut body) = match is_carried {
        true => bodies::asked(api, &model, &words, plan.is_streamed),
        false => ("/v1/chat".to_owned(), chat(&words)),
    };
    if !is_carried {
        body["model"] = json!(model);
        body["stream"] = plan.is_streamed.into();
    }
    let (url, headers) = (gateway.url(&path), [("x-request-id", marker.as_str())]);
    let (status, text) = if plan.is_streamed {
        let streamed = stream_with(&url, &headers, &body).await;
        (streamed.status, read(streamed, plan.leaves).await)
    } else {
        let answer = post_json_with(&url, &headers, &body).await;
        (answer.status, answer.text())
    };
    Seen { plan, is_carried, status, text, marker }
}

/// Reads to the end, or disconnects after the first piece.
async fn read(mut streamed: Streamed, leaves: bool) -> String {
    if leaves {
        let first = within("a first piece", streamed.piece()).await;
        return first
            .ok()
            .flatten()
            .map_or_else(String::new, |piece| String::from_utf8_lossy(&piece).into_owned());
    }
    streamed.rest().await.text()
}

/// Fails the test if the client saw what is not its own, or not its own what it should have seen.
fn check(seen: &Seen, tally: &mut BTreeMap<String, usize>) {
    let Seen { plan, is_carried, status, text, marker } = seen;
    let foreign =
        text.match_indices("mk").find(|(at, _)| !text[*at..].starts_with(marker.as_str()));
    assert_eq!(foreign, None, "{marker} read what is not its own, {plan:?}: {text}");
    let (_, api) = PROVIDERS[plan.provider];
    let is_own = *status == 200
        && match plan.is_streamed {
            _ if *is_carried => {
                text.contains(marker) && text.contains(bodies::end(api, plan.is_streamed))
            }
            true => text.contains(&format!("\"delta\":\"{marker}\"")) && text.contains("[DONE]"),
            false => text.contains(&format!("\"content\":\"say {marker}\"")),
        };
    // Of the few requests that a model gets in a minute more than half can fail by chance.
    let is_left_alone =
        *status == 503 && (*is_carried || text.contains("\"code\":\"provider_unavailable\""));
    match plan.expected() {
        Expected::Own if is_left_alone => {}
        Expected::Own if plan.leaves && plan.is_streamed => {}
        Expected::Own => assert!(is_own, "{marker} has no answer, {plan:?}: {status} {text}"),
        Expected::OwnOrError => {}
    }
    let what = match (is_own, is_left_alone) {
        (true, _) => "own".to_owned(),
        (false, true) => LEFT_ALONE.to_owned(),
        (false, false) => status.to_string(),
    };
    *tally.entry(what).or_default() += 1;
}

fn planted_answer() -> Vec<u8> {
    let body = bodies::whole(Api::Ollama, PLANTED);
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into()
}
