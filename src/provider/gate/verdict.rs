//! What the end of an attempt means for everybody else: breaker, cooldown, limit, and those in line who cannot run any more.

use std::time::Duration;

use super::door::SHORT_COOLDOWN;
use super::{Ended, Gate, Moment, Permit, Probe, Shift, Wake};
use crate::provider::line::Lane;
use crate::provider::refusal::RefusalReason;

impl<W> Gate<W> {
    /// Takes note of how an attempt ended while `running` (itself included) were in flight.
    pub(super) fn judge(
        &mut self,
        permit: &Permit,
        ended: Ended,
        running: u32,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) -> Shift {
        let (lane, probe, now) = (permit.lane, permit.probe, at.now);
        let held = now.saturating_duration_since(permit.started);
        match ended {
            Ended::Success => {
                self.hold.add(held, false);
                self.slots.succeed(running);
                self.works();
                let mut closed = self.breaker.succeed(probe.provider, now);
                if let Some(model) = self.models.get_mut(lane) {
                    closed |= model.breaker.succeed(probe.model, now);
                    model.cooldown.succeed();
                }
                if closed {
                    return Shift::Closed;
                }
            }
            Ended::HardFailure { whole_provider, congested } => {
                self.hold.add(held, true);
                if congested {
                    self.slots.congested(now);
                }
                if self.fail(lane, probe, whole_provider, at, wakes) {
                    return Shift::Opened;
                }
            }
            Ended::AuthFailed => {
                self.hold.add(held, true);
                self.release(lane, Probe { provider: false, ..probe });
                if self.breaker.fail_auth(probe.provider, now, (at.unit)()) {
                    self.empty(None, RefusalReason::AuthFailed, at, wakes);
                    return Shift::Opened;
                }
            }
            Ended::RateLimited { retry_after } => {
                self.hold.add(held, true);
                self.slots.congested(now);
                self.release(lane, probe);
                self.cool(lane, retry_after, at, wakes);
            }
            Ended::Neutral => {
                self.hold.add(held, false);
                self.release(lane, probe);
            }
            Ended::Unused => {
                self.counters.granted = self.counters.granted.saturating_sub(1);
                self.release(lane, probe);
            }
        }
        Shift::None
    }

    /// A hard failure counts against the provider or against the model, never against both; the other one's probe says nothing.
    /// Says whether that opened a breaker.
    fn fail(
        &mut self,
        lane: Lane,
        probe: Probe,
        whole_provider: bool,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) -> bool {
        let unit = (at.unit)();
        if whole_provider {
            self.release(lane, Probe { provider: false, ..probe });
            let opened = self.breaker.fail(probe.provider, at.now, unit);
            if opened {
                self.empty(None, RefusalReason::BreakerOpen, at, wakes);
            }
            opened
        } else {
            self.release(lane, Probe { model: false, ..probe });
            let model = self.models.get_mut(lane);
            let opened = model.is_some_and(|model| model.breaker.fail(probe.model, at.now, unit));
            if opened {
                self.empty(Some(lane), RefusalReason::BreakerOpen, at, wakes);
            }
            opened
        }
    }

    /// Begins a cooldown; whoever cannot wait for its end is told now.
    fn cool(
        &mut self,
        lane: Lane,
        asked: Option<Duration>,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) {
        let Some(model) = self.models.get_mut(lane) else { return };
        model.cooldown.begin(asked, &self.retry, at.now);
        let left = model.cooldown.left(at.now);
        let (end, long) = (at.now + left, left > SHORT_COOLDOWN);
        while let Some(key) = self.line.impatient(lane, end, long) {
            self.evict(key, (RefusalReason::CoolingDown, left), at, wakes);
        }
    }

    /// Tells everybody in line, or everybody waiting for one model, that a breaker has opened.
    pub(super) fn empty(
        &mut self,
        lane: Option<Lane>,
        reason: RefusalReason,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) {
        let model = lane.and_then(|lane| self.models.get(lane));
        let breaker = model.map_or(&self.breaker, |model| &model.breaker);
        let (_, left) = breaker.state(at.now);
        while let Some(key) = self.line.any(lane) {
            self.evict(key, (reason, left), at, wakes);
        }
    }

    /// A probe without a verdict: the next arrival probes.
    fn release(&mut self, lane: Lane, probe: Probe) {
        if probe.provider {
            self.breaker.release_probe();
        }
        if let Some(model) = self.models.get_mut(lane).filter(|_| probe.model) {
            model.breaker.release_probe();
        }
    }
}
