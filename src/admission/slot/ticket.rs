//! A place in the line of a shared gate, and the wait for a slot.
//!
//! Owns the receiving end of the answer, and the keeper's duty while this waiter has it. It decides
//! nothing: it asks the gate when its time has come.
//!
//! The one thing to know: the answer may be on its way when the longest wait ends. A waiter that is
//! no longer in line waits for the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Answer, SharedGate, Slot, now};
use crate::admission::line::Key;
use crate::admission::refusal::Refusal;
use crate::admission::types::Ended;
use crate::chat::{RefusalReason, Waiting};

/// A place in the line.
///
/// Dropping it leaves the line at once; a slot that was granted meanwhile goes to the next in line.
#[derive(Debug)]
pub struct Ticket {
    pub(super) gate: Arc<SharedGate>,
    pub(super) key: Key,
    pub(super) since: Instant,
    pub(super) until: Instant,
    /// `None` once the answer was received.
    pub(super) answer: Option<oneshot::Receiver<Answer>>,
    /// Set while this waiter is the keeper: when to look at the gate next.
    pub(super) keeps: Option<Instant>,
}

impl Ticket {
    /// Waits for the slot.
    ///
    /// # Errors
    ///
    /// The refusal when there will be no slot: the deadline or the longest wait passed, the job was
    /// pushed out, or the provider became unavailable. Called again after an answer, it refuses
    /// with [`RefusalReason::WaitedTooLong`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future keeps the place; dropping the ticket leaves the line.
    pub async fn granted(&mut self) -> Result<Slot, Refusal> {
        self.granted_telling(|_| ()).await
    }

    /// As [`Ticket::granted`], and tells each time that it may have changed whether the job waits
    /// for the load of its model.
    ///
    /// # Errors
    ///
    /// As [`Ticket::granted`].
    ///
    /// # Cancellation
    ///
    /// As [`Ticket::granted`].
    pub async fn granted_telling(&mut self, tell: impl Fn(bool)) -> Result<Slot, Refusal> {
        let mut expired = false;
        loop {
            let Some(answer) = self.answer.as_mut() else {
                return Err(gone());
            };
            let changed = self.gate.patience.notified();
            if let Some((until, awaits_load)) = self.gate.stand(self.key) {
                self.until = until;
                tell(awaits_load);
            }
            let look = self.keeps.map_or(self.until, |keeps| keeps.min(self.until));
            tokio::select! {
                biased;
                answer = answer => return self.received(answer),
                () = tokio::time::sleep_until(look.into()), if !expired => {}
                () = self.gate.keeper_wanted.notified() => {}
                // A model was loaded, or has to be loaded: the jobs that wait for it have another
                // longest wait.
                () = changed => continue,
            }
            if now() < self.until {
                self.keep();
            } else if let Some(refusal) = self.expire() {
                self.answer = None;
                self.hand_over();
                return Err(refusal);
            } else if self.gate.stand(self.key).is_none() {
                // No longer in line: the answer is on its way.
                expired = true;
            }
        }
    }

    /// Looks up where this job stands; `None` when its turn has come.
    pub fn spot(&self) -> impl Fn() -> Option<Waiting> + Send + Sync + use<> {
        let (gate, key) = (Arc::clone(&self.gate), self.key);
        move || gate.inner.lock().gate.place(key, now())
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

    /// Wakes the gate as the keeper, and finds out when to do so again.
    fn keep(&mut self) {
        self.keeps = self.gate.step(|inner, at, wakes| {
            inner.gate.wake(at, wakes);
            inner.kept = inner.gate.next_wake(at.now);
            inner.kept
        });
    }

    /// Hands the keeper's duty to another waiter, if there is still something to wait for.
    fn hand_over(&mut self) {
        if self.keeps.take().is_some() {
            self.gate.step(|inner, at, wakes| {
                // Otherwise no waiter would act on what has become due since the last look.
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
