//! A model that says that it has not begun to work: it still loads, or its server's own queue is full.
//!
//! Owns when the model is asked again: after a second, or as soon as a call ends there, by one request for all that wait.
//! It refuses to count these answers as failures: nothing was begun, so the request keeps its place in the line.
//!
//! The one thing to know: whoever asks holds a slot like any other attempt, and the others start when it is answered.

use std::time::{Duration, Instant};

/// Since when a model has not begun to work, and when it is asked again.
#[derive(Clone, Debug)]
pub struct Unready {
    since: Instant,
    next: Instant,
    /// Whether a request is asking.
    is_asked: bool,
}

/// How often one request asks. A model that is up serves within this time, and a server that loads is not disturbed.
const PAUSE: Duration = Duration::from_secs(1);

impl Unready {
    /// The model has just said so, once more where `before` is known.
    pub fn again(before: Option<Self>, asked: bool, now: Instant) -> Self {
        let since = before.as_ref().map_or(now, |before| before.since);
        // Calls that were under way when the first of them was told so do not end the question of another.
        let is_asked = !asked && before.is_some_and(|before| before.is_asked);
        Self { since, next: now + PAUSE, is_asked }
    }

    /// Whether one request may ask now.
    pub fn may_be_asked(&self, now: Instant) -> bool {
        !self.is_asked && self.next <= now
    }

    /// A request asks.
    pub fn ask(&mut self) {
        self.is_asked = true;
    }

    /// The request that asked ended without an answer to that: the next one asks.
    pub fn give_up(&mut self, now: Instant) {
        self.is_asked = false;
        self.next = now;
    }

    /// Something has changed at the provider: the next one asks at once.
    pub fn ask_again(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    /// When one may ask again, if time alone brings that.
    pub fn next_step(&self, now: Instant) -> Option<Instant> {
        (!self.is_asked && self.next > now).then_some(self.next)
    }

    /// How long this has been going on, which is the best guess at how long it goes on.
    pub fn lasted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since).max(PAUSE)
    }
}
