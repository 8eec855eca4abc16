//! What the upstream saw, call by call.
//!
//! It owns the counts and notifies waiting tests of changes. It decides nothing. A call is under
//! way from its last request byte until just *before* the last byte of its answer is written: the
//! client that reads that byte may start the next call at once, and must not appear to overlap.

use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::script::Leaving;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its place in order of arrival, from 0.
    pub number: usize,
    /// Which accepted connection it came on, from 0.
    pub connection: usize,
    /// Its place among the requests of that connection, from 0.
    pub nth_on_connection: usize,
    /// The request line and headers, exactly as sent.
    pub head: String,
    /// The method, as sent.
    pub method: String,
    /// The path with its query, as sent.
    pub path: String,
    /// The headers, in order, as sent.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Bytes,
    /// When its last byte had been read.
    pub arrived: Instant,
}

/// How and when a peer closed its connection.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// When the close was seen.
    pub at: Instant,
    /// By which packet.
    pub how: Leaving,
    /// Whether the whole answer had been written before.
    pub answered: bool,
}

/// The record of everything, shared by all connections and the test.
pub(super) struct Ledger {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    calls: Vec<Entry>,
    questions: Vec<Call>,
    connections: usize,
    under_way: usize,
    peak: usize,
}

struct Entry {
    call: Call,
    under_way: bool,
    answered: Option<Instant>,
    left: Option<Left>,
}

impl Call {
    /// The value of the first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().find(same).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; fails the test when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether it asks about the provider itself rather than for an answer of a model.
    pub(super) fn is_question(&self) -> bool {
        self.method != "POST" || self.path == "/api/show" || self.is_load()
    }

    /// Whether the gateway itself loads a model by it.
    pub fn is_load(&self) -> bool {
        self.header("x-request-id") == Some("load")
    }
}

impl Ledger {
    pub(super) fn connected(&self) -> usize {
        self.change(|state| {
            state.connections += 1;
            state.connections - 1
        })
    }

    /// Numbers the call and counts it as under way.
    pub(super) fn arrived(&self, mut call: Call) -> Call {
        self.change(|state| {
            call.number = state.calls.len();
            state.under_way += 1;
            state.peak = state.peak.max(state.under_way);
            let entry = Entry { call: call.clone(), under_way: true, answered: None, left: None };
            state.calls.push(entry);
            call
        })
    }

    pub(super) fn asked(&self, question: Call) {
        self.change(|state| state.questions.push(question));
    }

    /// The last byte is about to be written, or the call is over for another reason.
    pub(super) fn ending(&self, number: usize) {
        self.change(|state| {
            if std::mem::take(&mut state.calls[number].under_way) {
                state.under_way -= 1;
            }
        });
    }

    pub(super) fn completed(&self, number: usize) {
        self.change(|state| state.calls[number].answered = Some(Instant::now()));
    }

    pub(super) fn peer_left(&self, number: usize, how: Leaving) {
        self.change(|state| {
            let entry = &mut state.calls[number];
            let answered = entry.answered.is_some();
            entry.left = Some(Left { at: Instant::now(), how, answered });
        });
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn call_count(&self) -> usize {
        self.state.lock().calls.len()
    }

    pub(super) fn all_calls(&self) -> Vec<Call> {
        self.state.lock().calls.iter().map(|entry| entry.call.clone()).collect()
    }

    pub(super) fn all_questions(&self) -> Vec<Call> {
        self.state.lock().questions.clone()
    }

    /// The models that the gateway has loaded, in order.
    pub(super) fn loaded(&self) -> Vec<String> {
        let state = self.state.lock();
        let mut loaded: Vec<String> = Vec::new();
        for load in state.questions.iter().filter(|question| question.is_load()) {
            let model = load.json()["model"].as_str().unwrap_or_default().to_owned();
            if !loaded.contains(&model) {
                loaded.push(model);
            }
        }
        loaded
    }

    pub(super) fn left(&self, number: usize) -> Option<Left> {
        self.state.lock().calls.get(number).and_then(|entry| entry.left)
    }

    pub(super) fn answered(&self, number: usize) -> Option<Instant> {
        self.state.lock().calls.get(number).and_then(|entry| entry.answered)
    }

    pub(super) fn under_way(&self) -> usize {
        self.state.lock().under_way
    }

    pub(super) fn peak(&self) -> usize {
        self.state.lock().peak
    }

    pub(super) fn connections(&self) -> usize {
        self.state.lock().connections
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = change(&mut self.state.lock());
        self.changed.send_replace(());
        outcome
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: watch::Sender::new(()) }
    }
}
