//! Two replicas behind a simulated load balancer, each in turn stopped and started again under
//! load.
//!
//! It owns the balancing: clients of one kind ask for readiness before every call, those of the
//! other learn it from a refusal. Both use the other replica only if no work can have been done:
//! after a refused connection, or a 503 that says `draining` and closes. Everything else must be a
//! complete answer.
//!
//! What a reader would get wrong: a replica restarts at another address, as a container does, so
//! that no test depends on a port staying free.

mod nginx;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::raw::{End, Raw, post_bytes};
use crate::client::{chat, streamed_chat};
use crate::harness::{Gateway, Provider, Signal, spawn_gateway};
use crate::patience::within;
use crate::upstream::{Call, Gate, Script, Upstream, ollama};

const CLIENTS: usize = 8;
/// Calls at once, for each replica.
const SLOTS: usize = 6;
/// Calls that every client makes between two steps of the restart.
const ROUND: usize = 3;

/// The replicas as clients know them.
struct Fleet {
    addresses: Mutex<[SocketAddr; 2]>,
    is_over: AtomicBool,
}

/// What one replica did, as clients saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Book {
    served: usize,
    turned_away: usize,
}

/// A client, the number of calls it has made, and its report in the end.
struct Client<T> {
    calls: watch::Receiver<usize>,
    end: JoinHandle<T>,
}

/// The report of a client that balances.
type Books = BTreeMap<SocketAddr, Book>;

#[tokio::test]
async fn a_rolling_restart_of_two_replicas_fails_no_call() {
    let gates = [Gate::closed(), Gate::closed()];
    let upstream = upstream(&gates);
    let config = Provider::ollama(&upstream).slots(SLOTS);
    let mut replicas = [spawn_gateway(&config).await, spawn_gateway(&config).await];
    let addresses = [replicas[0].address(), replicas[1].address()];
    let fleet = Arc::new(Fleet { addresses: addresses.into(), is_over: AtomicBool::new(false) });
    let mut clients: Vec<Client<Books>> =
        (0..CLIENTS).map(|number| start(&fleet, number)).collect();
    let mut ended = Vec::new();

    for (index, gate) in gates.iter().enumerate() {
        go_on(&mut clients).await;
        let content = format!("held {index}");
        let old = restart(&mut replicas[index], &config, &content, gate, &mut clients).await;
        fleet.addresses.lock()[index] = replicas[index].address();
        ended.push(old);
    }
    go_on(&mut clients).await;
    fleet.is_over.store(true, Ordering::SeqCst);

    let books = books(clients).await;
    for old in &ended {
        let mut seen = books[&old.address()];
        // No client counts the long one.
        seen.served += 1;
        assert_eq!(logged(old), seen);
        assert!(seen.turned_away > 0, "nobody was turned away by {}", old.address());
    }
    assert!(upstream.peak() <= 2 * SLOTS);
    for new in replicas {
        let seen = books[&new.address()];
        assert!(seen.served > 0 && seen.turned_away == 0, "{seen:?}");
        assert_eq!(logged(&new), seen);
        new.end(seen.served).await;
    }
}

/// Answers at once but for the two that are held.
fn upstream(gates: &[Gate; 2]) -> Upstream {
    let gates = gates.clone();
    Upstream::spawn(move |call: &Call| -> Script {
        match call.json()["messages"][0]["content"].as_str().unwrap() {
            "held 0" => ollama::reply(call).head_hold(&gates[0]),
            "held 1" => ollama::reply(call).head_hold(&gates[1]),
            _ => ollama::reply(call),
        }
    })
}

impl Fleet {
    fn address(&self, index: usize) -> SocketAddr {
        self.addresses.lock()[index]
    }
}

/// Stops a replica and starts another in its place. An answer with this content, which the gate
/// holds, lasts until every client has noticed that the replica is about to stop. Returns the
/// stopped one.
async fn restart<T>(
    replica: &mut Gateway,
    config: &Provider,
    content: &str,
    gate: &Gate,
    clients: &mut [Client<T>],
) -> Gateway {
    let long = send(replica.address(), "long", content, true);
    let stopping = async {
        gate.reached(1).await;
        replica.signal(Signal::Term);
        replica.logged("stopping").await;
        go_on(clients).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(long, stopping);
    assert!(matches!(answer, Some(Reply::Served)), "the long answer is cut");
    let mut old = std::mem::replace(replica, spawn_gateway(config).await);
    assert_eq!(old.exited().await.code(), Some(0), "{:#?}", old.log_lines());
    old.logged("stopped").await;
    old
}

/// Awaits some more calls of every client.
async fn go_on<T>(clients: &mut [Client<T>]) {
    for client in clients {
        let enough = *client.calls.borrow() + ROUND;
        let reached = client.calls.wait_for(|calls| *calls >= enough);
        let reached = within("a client makes more calls", reached).await;
        assert!(reached.is_ok(), "a client has failed");
    }
}

fn start(fleet: &Arc<Fleet>, number: usize) -> Client<Books> {
    let (counter, calls) = watch::channel(0);
    let fleet = Arc::clone(fleet);
    let end = tokio::spawn(async move {
        let (mut books, mut stopping) = (BTreeMap::new(), BTreeSet::new());
        while !fleet.is_over.load(Ordering::SeqCst) {
            let call = *counter.borrow();
            balance(&fleet, number, call, &mut books, &mut stopping).await;
            counter.send_replace(call + 1);
        }
        books
    });
    Client { calls, end }
}

/// Makes one call, at whichever replica takes it.
async fn balance(
    fleet: &Fleet,
    number: usize,
    call: usize,
    books: &mut Books,
    stopping: &mut BTreeSet<SocketAddr>,
) {
    let asks_first = number.is_multiple_of(2);
    for turn in 0..4 {
        let address = fleet.address((number + call + turn) % 2);
        if stopping.contains(&address) || (asks_first && !is_ready(address).await) {
            continue;
        }
        let id = format!("client-{number}-{call}-{turn}");
        let is_streamed = call.is_multiple_of(3);
        match send(address, &id, "hi", is_streamed).await {
            Some(Reply::Served) => {
                books.entry(address).or_default().served += 1;
                return;
            }
            Some(Reply::Draining) => books.entry(address).or_default().turned_away += 1,
            None => {}
        }
        // A client that was refused there does not return.
        stopping.insert(address);
    }
    panic!("no replica takes call {call} of client {number}: {:?}", fleet.addresses.lock());
}

/// The possible outcomes of a call.
enum Reply {
    /// The complete answer.
    Served,
    /// The replica stops and has done nothing.
    Draining,
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut raw) = Raw::try_connect(address).await else { return false };
    let question = b"GET /readyz HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n";
    raw.offer(question).await && raw.read_to_end().await.0.starts_with("HTTP/1.1 200 ")
}

/// Makes one call; `None` when the connection was refused. Fails the test for whatever a load
/// balancer must not repeat.
async fn send(address: SocketAddr, id: &str, content: &str, is_streamed: bool) -> Option<Reply> {
    let mut raw = Raw::try_connect(address).await.ok()?;
    raw.send(&request(id, content, is_streamed)).await;
    let (text, end) = raw.read_to_end().await;
    let closes = text.to_ascii_lowercase().contains("\r\nconnection: close\r\n");
    if text.starts_with("HTTP/1.1 503 ") && closes && text.contains("\"code\":\"draining\"") {
        return Some(Reply::Draining);
    }
    assert!(is_whole(&text, is_streamed) && end == End::Fin, "{id} fails: {end:?} {text}");
    Some(Reply::Served)
}

fn request(id: &str, content: &str, is_streamed: bool) -> Vec<u8> {
    let body = if is_streamed { streamed_chat(content) } else { chat(content) };
    post_bytes("/v1/chat", &[("x-request-id", id), ("connection", "close")], &body)
}

/// Whether this is all of an answer.
fn is_whole(text: &str, is_streamed: bool) -> bool {
    let end = if is_streamed { "data: [DONE]\n\n\r\n0\r\n\r\n" } else { "}" };
    text.starts_with("HTTP/1.1 200 ") && text.ends_with(end)
}

async fn books(clients: Vec<Client<Books>>) -> Books {
    let mut books = Books::new();
    for client in clients {
        for (address, seen) in client.end.await.unwrap() {
            let book = books.entry(address).or_default();
            book.served += seen.served;
            book.turned_away += seen.turned_away;
        }
    }
    books
}

/// What the replica itself has written down: one line for each request.
fn logged(replica: &Gateway) -> Book {
    let lines = replica.access_lines();
    let ids: BTreeSet<&str> = lines.iter().map(|line| line.request_id.as_str()).collect();
    assert_eq!(ids.len(), lines.len(), "a request ended twice");
    let count = |code: &str, outcome: &str| {
        lines.iter().filter(|line| line.outcome == outcome && line.fields["code"] == code).count()
    };
    let book = Book { served: count("-", "ok"), turned_away: count("draining", "unavailable") };
    assert_eq!(book.served + book.turned_away, lines.len(), "{lines:#?}");
    book
}
