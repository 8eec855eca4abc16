//! How long jobs will wait: for the choice between providers, for refusals and for the waiting
//! clients.

use std::time::{Duration, Instant};

use super::Gate;
use crate::admission::breaker::{Breaker, Permission};
use crate::admission::line::{Key, Lane, Share};
use crate::admission::refusal::UNMEASURED;

impl<W> Gate<W> {
    /// When time alone may next let a job start; `None` when no job waits for that. What is due
    /// already is not counted: [`Gate::wake`] uses it.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let limit = self.limit();
        if limit == 0 {
            // With no slots at all, time alone makes no room.
            return None;
        }
        let whole = if self.line.is_empty() || self.in_flight < self.usable(now) {
            None
        } else {
            self.breaker.next_step(limit, now)
        };
        let models = self.line.lanes().filter_map(|lane| self.models.get(lane));
        models.filter_map(|model| model.next_step(limit, now)).chain(whole).min()
    }

    /// How long a newcomer for this model would wait here: for the choice among equals. Zero when
    /// it could start at once; an open breaker or a cooldown counts with the time left.
    pub fn expected_wait(&self, model: &str, now: Instant) -> Duration {
        let shut = |breaker: &Breaker| match breaker.permission(now) {
            Permission::Granted | Permission::Probe => Duration::ZERO,
            Permission::Denied { left, .. } => {
                left.max(self.costs.mean_hold().unwrap_or(UNMEASURED))
            }
        };
        let known = self.models.find(model);
        let model = known
            .map_or(Duration::ZERO, |model| shut(&model.breaker).max(model.cooldown.left(now)));
        let queue = if self.line.is_empty() && self.in_flight < self.usable(now) {
            Duration::ZERO
        } else {
            self.wait(self.line.len() as u64, now)
        };
        shut(&self.breaker).max(model) + queue
    }

    /// The most jobs served before this waiting job, and how long that takes; `None` when it no
    /// longer waits.
    ///
    /// Linear in the caller's own queue: for heartbeats, not for decisions.
    pub fn place(&self, key: Key, now: Instant) -> Option<(u64, Duration)> {
        let lane = self.line.get(key)?.lane;
        let ahead = self.line.ahead_of(key)?;
        Some((ahead, self.cooldown_left(lane, now) + self.wait(ahead, now)))
    }

    /// The predicted wait of a newcomer; a guess while nothing has been measured.
    pub(super) fn newcomer_wait(
        &self,
        share: &Share,
        lane: Lane,
        again: bool,
        now: Instant,
    ) -> Duration {
        let ahead = self.line.ahead_of_newcomer(share, again);
        self.cooldown_left(lane, now) + self.wait(ahead, now)
    }

    pub(super) fn wait(&self, ahead: u64, now: Instant) -> Duration {
        self.costs.of(ahead, self.usable_soon(now)).total()
    }

    pub(super) fn cooldown_left(&self, lane: Lane, now: Instant) -> Duration {
        self.models.get(lane).map_or(Duration::ZERO, |model| model.cooldown.left(now))
    }
}
