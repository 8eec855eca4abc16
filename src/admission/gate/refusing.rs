//! Refuses jobs: at the admission check, for another job, and when their time has passed.
//!
//! Owns nothing: the reasons are decided elsewhere; here they become refusals, each counted once.
//!
//! The one thing to know: a job that would wait for its model's load is told so. For other reasons
//! than a wait the load does not matter.

use std::sync::Arc;
use std::time::Instant;

use super::{Arrival, Decision, Gate, Moment, Reason, Waiter, Wake};
use crate::admission::line::{Entry, Key, Lane, Share};
use crate::admission::refusal::Refusal;
use crate::chat::{RefusalReason, Waiting};

/// The job that is refused: whose it is, and the model that it needs.
struct Refused<'a> {
    pub share: &'a Share,
    pub lane: Lane,
    pub model: &'a Arc<str>,
}

impl<W> Gate<W> {
    pub(super) fn refuse(
        &mut self,
        reason: Reason,
        arrival: &Arrival,
        lane: Lane,
        at: &mut Moment<'_>,
    ) -> Decision {
        let job = Refused { share: &arrival.share, lane, model: &arrival.model };
        Decision::Refuse(self.refusal(reason, &job, at))
    }

    /// A waiting job's own timer has run out. Returns its waker and why it is refused, or `None`
    /// when it no longer waits (then it was or will be woken) or may still wait.
    pub fn expire(&mut self, key: Key, at: &mut Moment<'_>) -> Option<(W, Refusal)> {
        let reason = self.line.get(key).and_then(|entry| overdue(entry, at.now))?;
        let Entry { share, lane, load, .. } = self.line.remove(key)?;
        let expected = self.newcomer_wait(&share, lane, false, at.now);
        let waiting = self.release_probes(load, lane);
        let job = Refused { share: &share, lane, model: &waiting.model };
        let refusal = self.refusal((reason, expected), &job, at);
        Some((waiting.waker, refusal))
    }

    pub(super) fn evict(
        &mut self,
        key: Key,
        reason: Reason,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) {
        let Some(Entry { share, lane, load, .. }) = self.line.remove(key) else { return };
        let waiting = self.release_probes(load, lane);
        let job = Refused { share: &share, lane, model: &waiting.model };
        let refusal = self.refusal(reason, &job, at);
        wakes.push(Wake::Refuse(waiting.waker, refusal));
    }

    fn refusal(
        &mut self,
        (reason, expected): Reason,
        job: &Refused<'_>,
        at: &mut Moment<'_>,
    ) -> Refusal {
        self.counters.refuse(reason, at.now);
        let cause = self.cause_of(reason, job.lane, at.now);
        let waiting = if is_about_wait(reason) { self.load_awaited_by(job, at.now) } else { None };
        Refusal { cause, waiting, ..Refusal::new(reason, expected, (at.unit)()) }
    }

    /// Where the job would stand, if it would wait for a load.
    fn load_awaited_by(&self, job: &Refused<'_>, now: Instant) -> Option<Waiting> {
        let &Refused { share, lane, model } = job;
        let load = self.awaited_load(lane, model, now)?;
        let ahead = self.line.ahead_of_newcomer_in_lane(share, lane);
        let expected = self.told_wait(lane, ahead, now);
        Some(Waiting { ahead, expected, load: Some(load) })
    }
}

/// Why a waiting job must not be started any more; `None` when it may.
pub(super) fn overdue<W>(entry: &Entry<Waiter<W>>, now: Instant) -> Option<RefusalReason> {
    if entry.load.deadline <= now {
        Some(RefusalReason::DeadlinePassed)
    } else if entry.until <= now {
        Some(RefusalReason::WaitedTooLong)
    } else {
        None
    }
}

/// Whether the job is refused because it waits, or would wait, in line.
fn is_about_wait(reason: RefusalReason) -> bool {
    match reason {
        RefusalReason::QueueFull
        | RefusalReason::PredictedWait
        | RefusalReason::OverShare
        | RefusalReason::PushedOut
        | RefusalReason::WaitedTooLong
        | RefusalReason::DeadlinePassed => true,
        RefusalReason::BreakerOpen
        | RefusalReason::CoolingDown
        | RefusalReason::AuthFailed
        | RefusalReason::Quarantined
        | RefusalReason::Draining => false,
    }
}
