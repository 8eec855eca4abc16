//! A model that says that it is not ready: it still loads, or its server's own queue is full.
//!
//! Owns when the model is asked again: after a second, or as soon as a call ends there, by one
//! request for all that wait. It does not count these answers as failures: nothing was begun, so
//! the request keeps its place in line.
//!
//! The one thing to know: the asking request holds a slot like any other attempt, and the others
//! start when it is answered.

use std::time::{Duration, Instant};

/// Since when a model is not ready, and when it is asked again.
#[derive(Clone, Debug)]
pub struct Unready {
    since: Instant,
    next: Instant,
    /// Whether a request is asking now.
    is_asked: bool,
}

/// How often one request asks. A model that becomes ready is used within this time, and a loading
/// server is not disturbed.
const PAUSE: Duration = Duration::from_secs(1);

impl Unready {
    /// The model has just said that it is not ready; `before` is set when it had said so earlier.
    pub fn again(before: Option<Self>, asked: bool, now: Instant) -> Self {
        let since = before.as_ref().map_or(now, |before| before.since);
        // Calls that already ran when the model first said so do not end another request's ask.
        let is_asked = !asked && before.is_some_and(|before| before.is_asked);
        Self { since, next: now + PAUSE, is_asked }
    }

    /// Whether one request may ask now.
    pub fn may_be_asked(&self, now: Instant) -> bool {
        !self.is_asked && self.next <= now
    }

    /// A request begins to ask.
    pub fn ask(&mut self) {
        self.is_asked = true;
    }

    /// The asking request ended without finding out: the next request asks.
    pub fn give_up(&mut self, now: Instant) {
        self.is_asked = false;
        self.next = now;
    }

    /// Something changed at the provider: the next request asks at once.
    pub fn ask_again(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    /// When a request may ask again, if that depends on time alone.
    pub fn next_step(&self, now: Instant) -> Option<Instant> {
        (!self.is_asked && self.next > now).then_some(self.next)
    }

    /// How long the model has not been ready, which is the best guess at how long it will stay so.
    pub fn lasted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since).max(PAUSE)
    }
}
