//! The admission check: which jobs may enter, and which waiting job is pushed out for a newcomer.

use std::time::{Duration, Instant};

use super::{Arrival, Gate, Moment, Probe, Reason, Wake};
use crate::admission::breaker::{Breaker, Permission};
use crate::admission::line::Lane;
use crate::admission::refusal::{DRAINING, UNMEASURED};
use crate::chat::RefusalReason;

/// A job with another candidate waits no longer than this for a cooldown.
pub(super) const SHORT_COOLDOWN: Duration = Duration::from_secs(3);

impl<W> Gate<W> {
    /// Whether this job is admitted, and which breakers it would probe.
    pub(super) fn check(
        &self,
        arrival: &Arrival,
        lane: Lane,
        now: Instant,
    ) -> Result<Probe, Reason> {
        if arrival.deadline <= now {
            let expected = self.newcomer_wait(&arrival.share, lane, false, now);
            return Err((RefusalReason::DeadlinePassed, expected));
        }
        if self.draining && !arrival.again {
            return Err((RefusalReason::Draining, DRAINING));
        }
        let provider = self.is_probe(&self.breaker, now)?;
        let Some(model) = self.models.get(lane) else {
            return Ok(Probe { provider, model: false });
        };
        let probe = Probe { provider, model: self.is_probe(&model.breaker, now)? };
        let cooldown = model.cooldown.left(now);
        let patience = self.patience(arrival, lane, now).saturating_duration_since(now);
        if cooldown > patience || (arrival.elsewhere && cooldown > SHORT_COOLDOWN) {
            return Err((RefusalReason::CoolingDown, cooldown));
        }
        Ok(probe)
    }

    /// Whether this job is the breaker's probe. While a probe runs other jobs are refused, not kept
    /// waiting: it may take as long as loading a model, and another provider may answer them
    /// meanwhile.
    fn is_probe(&self, breaker: &Breaker, now: Instant) -> Result<bool, Reason> {
        match breaker.permission(now) {
            Permission::Granted => Ok(false),
            Permission::Probe => Ok(true),
            Permission::Denied { left, auth } => {
                let reason =
                    if auth { RefusalReason::AuthFailed } else { RefusalReason::BreakerOpen };
                let probing = self.costs.mean_hold().unwrap_or(UNMEASURED);
                Err((reason, if left.is_zero() { probing } else { left }))
            }
        }
    }

    /// Whether this job may wait; if the line is full, another job may be pushed out for it.
    pub(super) fn make_room(
        &mut self,
        arrival: &Arrival,
        lane: Lane,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) -> Result<(), Reason> {
        let expected = self.newcomer_wait(&arrival.share, lane, arrival.again, at.now);
        let patience = self.patience(arrival, lane, at.now).saturating_duration_since(at.now);
        if self.is_trusted(lane) && expected > patience + self.load_guess(lane, at.now) {
            return Err((RefusalReason::PredictedWait, expected));
        }
        if arrival.again {
            return Ok(());
        }
        let most = u64::from(self.limits.max_queue) + u64::from(self.held_back(lane, at.now));
        let waiting = self.line.len() as u64;
        let own = self.line.waiting_of(&arrival.share);
        if waiting > own && own >= most.div_ceil(2) {
            return Err((RefusalReason::OverShare, expected));
        }
        if waiting < most {
            return Ok(());
        }
        let victim = self.line.giving_way_to(&arrival.share).filter(|_| most > 0);
        let victim = victim.ok_or((RefusalReason::QueueFull, expected))?;
        self.evict(victim, (RefusalReason::PushedOut, expected), at, wakes);
        Ok(())
    }

    /// Until when this job would wait.
    pub(super) fn patience(&self, arrival: &Arrival, lane: Lane, now: Instant) -> Instant {
        // One that comes again may have waited for the load of its model.
        let bound = match arrival.waited.is_zero() {
            true => self.load_bound(lane, now),
            false => self.most_load_bound(lane),
        };
        let longest = self.limits.max_queue_wait.saturating_add(bound);
        let left = longest.saturating_sub(arrival.waited);
        let longest = now.checked_add(left);
        longest.map_or(arrival.deadline, |longest| longest.min(arrival.deadline))
    }
}
