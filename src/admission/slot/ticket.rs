//! A place in the line of a shared gate, and the wait for the turn.
//!
//! Owns the receiving end of the answer, and the duty of the keeper while this waiter has it. It refuses to decide: it asks
//! the gate when its time has come.
//!
//! The one thing to know: the answer may be on its way when the patience ends. Whoever is no longer in line waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Answer, SharedGate, Slot, now};
use crate::admission::line::Key;
use crate::admission::refusal::{Refusal, RefusalReason};
use crate::admission::types::Ended;

/// A place in the line.
///
/// Dropping it leaves the line at once; a slot that was granted meanwhile goes to the next.
#[derive(Debug)]
pub struct Ticket {
    pub(super) gate: Arc<SharedGate>,
    pub(super) key: Key,
    pub(super) since: Instant,
    pub(super) until: Instant,
    /// `None` once the answer was taken.
    pub(super) answer: Option<oneshot::Receiver<Answer>>,
    /// Set while this waiter is the keeper: when to look at the gate next.
    pub(super) keeps: Option<Instant>,
}

impl Ticket {
    /// Waits for the turn.
    ///
    /// # Errors
    ///
    /// The refusal when the turn will not come: the deadline or the longest wait passed, somebody with a better claim needed the
    /// place, or the provider became unavailable. Asked again after an answer, it refuses with [`RefusalReason::WaitedTooLong`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future keeps the place; dropping the ticket leaves the line.
    pub async fn granted(&mut self) -> Result<Slot, Refusal> {
        let mut expired = false;
        loop {
            let Some(answer) = self.answer.as_mut() else {
                return Err(gone());
            };
            let look = self.keeps.map_or(self.until, |keeps| keeps.min(self.until));
            tokio::select! {
                biased;
                answer = answer => return self.received(answer),
                () = tokio::time::sleep_until(look.into()), if !expired => {}
                () = self.gate.keeper_wanted.notified() => {}
            }
            if now() < self.until {
                self.keep();
            } else if let Some(refusal) = self.expire() {
                self.answer = None;
                self.hand_over();
                return Err(refusal);
            } else {
                // No longer in line: the answer is on its way.
                expired = true;
            }
        }
    }

    /// How many are served before this one, at most, and how long that takes; `None` when the turn has come.
    pub fn place(&self) -> Option<(u64, Duration)> {
        self.gate.inner.lock().gate.place(self.key, now())
    }

    /// How long this job has waited.
    pub fn waited(&self) -> Duration {
        now().saturating_duration_since(self.since)
    }

    fn received(&mut self, answer: Result<Answer, oneshot::error::RecvError>) -> Answer {
        self.answer = None;
        self.hand_over();
        let mut slot = answer.unwrap_or_else(|_| Err(gone()))?;
        slot.ended = Ended::Neutral;
        Ok(slot)
    }

    /// Looks at the gate as the keeper, and finds out when to look again.
    fn keep(&mut self) {
        self.keeps = self.gate.step(|inner, at, wakes| {
            inner.gate.wake(at, wakes);
            inner.kept = inner.gate.next_wake(at.now);
            inner.kept
        });
    }

    /// Leaves the keeper's duty to somebody else, if there is still something to keep.
    fn hand_over(&mut self) {
        if self.keeps.take().is_some() {
            self.gate.step(|inner, at, wakes| {
                // What has become due since it last looked would otherwise be nobody's business.
                inner.gate.wake(at, wakes);
                inner.kept = None;
            });
        }
    }

    fn expire(&mut self) -> Option<Refusal> {
        let key = self.key;
        self.gate.step(|inner, at, _| inner.gate.expire(key, at)).map(|(_, refusal)| refusal)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.answer.is_some() {
            let key = self.key;
            self.gate.step(|inner, _, _| inner.gate.cancel(key));
        }
        self.hand_over();
    }
}

fn gone() -> Refusal {
    Refusal::new(RefusalReason::WaitedTooLong, Duration::ZERO, fastrand::f64())
}
