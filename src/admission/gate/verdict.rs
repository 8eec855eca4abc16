//! What the end of an attempt means for other jobs: breaker, cooldown, limit, and waiting jobs that
//! can no longer run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission_check::SHORT_COOLDOWN;
use super::causes::MOST_DOUBTS;
use super::{Ended, Gate, Moment, Permit, Probe, Transition, Wake};
use crate::admission::breaker::Breaker;
use crate::admission::evidence::{Fault, Weight};
use crate::admission::line::Lane;
use crate::chat::RefusalReason;

impl<W> Gate<W> {
    /// Records how an attempt ended while `running` (itself included) were in flight.
    pub(super) fn judge(
        &mut self,
        permit: &Permit,
        ended: Ended,
        running: u32,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) -> Transition {
        let (lane, probe, now) = (permit.lane, permit.probe, at.now);
        let held = now.saturating_duration_since(permit.started);
        self.stop_asking(permit, ended, now);
        match ended {
            Ended::Success => {
                self.costs.held(held, false);
                self.slots.succeed(running);
                return self.succeed(permit, now);
            }
            Ended::Unreachable => {
                self.costs.held(held, true);
                let reason = RefusalReason::BreakerOpen;
                return self.fail_provider(permit, Breaker::fail, reason, at, wakes);
            }
            Ended::Failed { fault, congested, crashed } => {
                self.costs.held(held, true);
                if congested {
                    self.slots.congested(now);
                }
                return self.fail(permit, fault, crashed, at, wakes);
            }
            Ended::AuthFailed => {
                self.costs.held(held, true);
                let reason = RefusalReason::AuthFailed;
                return self.fail_provider(permit, Breaker::fail_auth, reason, at, wakes);
            }
            Ended::AuthDoubted => {
                self.costs.held(held, true);
                let who = (Arc::clone(&permit.caller), lane);
                if !self.doubts.contains(&who) {
                    self.doubts.push(who);
                }
                if probe.provider || self.doubts.len() >= MOST_DOUBTS {
                    self.doubts.clear();
                    let reason = RefusalReason::AuthFailed;
                    return self.fail_provider(permit, Breaker::fail_auth, reason, at, wakes);
                }
                self.release(lane, probe);
            }
            Ended::NotBegun => {
                self.slots.congested(now);
                self.release(lane, probe);
                self.models.not_begun(lane, permit.asks, now);
            }
            Ended::RateLimited { retry_after } => {
                self.costs.held(held, true);
                self.slots.congested(now);
                self.release(lane, probe);
                self.cool(lane, retry_after, at, wakes);
            }
            Ended::Neutral => {
                self.costs.held(held, false);
                self.release(lane, probe);
            }
            Ended::Unused => {
                self.counters.granted = self.counters.granted.saturating_sub(1);
                self.release(lane, probe);
            }
        }
        Transition::None
    }

    /// A complete answer: the provider works, and the model works for this caller.
    fn succeed(&mut self, permit: &Permit, now: Instant) -> Transition {
        self.works();
        let mut closed = self.breaker.succeed(permit.probe.provider, now);
        if let Some(model) = self.models.get_mut(permit.lane) {
            closed |= model.breaker.succeed(permit.probe.model, now);
            model.cooldown.succeed();
            model.evidence.answered(&permit.caller, now);
        }
        if closed { Transition::Closed } else { Transition::None }
    }

    /// A failure of the whole provider, which `fail` records in its breaker: no connection, or
    /// refused credentials. The model's probe ends without a result. If the breaker opens, all
    /// waiting jobs are refused for `reason`.
    fn fail_provider(
        &mut self,
        permit: &Permit,
        fail: fn(&mut Breaker, bool, Instant, f64) -> bool,
        reason: RefusalReason,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) -> Transition {
        let probe = permit.probe;
        self.release(permit.lane, Probe { provider: false, ..probe });
        if !fail(&mut self.breaker, probe.provider, at.now, (at.unit)()) {
            return Transition::None;
        }
        self.empty(None, reason, at, wakes);
        Transition::Opened
    }

    /// A failure of the model: how much it counts depends on whose request failed. The provider's
    /// probe ends without a result.
    fn fail(
        &mut self,
        permit: &Permit,
        fault: Fault,
        crashed: bool,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) -> Transition {
        let (lane, probe, now, unit) = (permit.lane, permit.probe, at.now, (at.unit)());
        self.release(lane, Probe { model: false, ..probe });
        let Some(model) = self.models.get_mut(lane) else { return Transition::None };
        let mut shift = Transition::None;
        if let (true, Some(why)) = (crashed, &model.cause) {
            let excused = model.evidence.has_failed_others(fault.request);
            let (name, caller) = (&model.name, &permit.caller);
            if self.quarantine.crashed(fault.request, name, caller, why, excused, now) {
                shift = Transition::Quarantined;
            }
        }
        let opened = match model.evidence.failed(&permit.caller, fault, now) {
            Weight::Request { retract } => {
                if retract {
                    model.breaker.retract();
                }
                self.release(lane, Probe { provider: false, ..probe });
                return Transition::Blameless;
            }
            Weight::Model { count, leniency } => {
                model.breaker.fail_as(probe.model, count, leniency, now, unit)
            }
        };
        if !opened {
            return shift;
        }
        self.empty(Some(lane), RefusalReason::BreakerOpen, at, wakes);
        Transition::Opened
    }

    /// What the end of an attempt means for jobs that wait for a model to become ready: the asking
    /// request got another answer, or none; and where a call ends there may be room.
    fn stop_asking(&mut self, permit: &Permit, ended: Ended, now: Instant) {
        let model = self.models.get_mut(permit.lane);
        match ended {
            Ended::NotBegun => return,
            Ended::Neutral | Ended::Unused => {
                let asked = model.filter(|_| permit.asks);
                if let Some(unready) = asked.and_then(|model| model.unready.as_mut()) {
                    unready.give_up(now);
                }
            }
            Ended::Success
            | Ended::Unreachable
            | Ended::Failed { .. }
            | Ended::AuthFailed
            | Ended::AuthDoubted
            | Ended::RateLimited { .. } => {
                if let Some(model) = model {
                    model.unready = None;
                }
            }
        }
        self.models.ask_again(now);
    }

    /// Begins a cooldown; jobs that cannot wait for its end are refused now.
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

    /// Refuses all waiting jobs, or those of one model, because a breaker has opened.
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

    /// A probe without a result: the next arrival probes.
    fn release(&mut self, lane: Lane, probe: Probe) {
        if probe.provider {
            self.breaker.release_probe();
        }
        if let Some(model) = self.models.get_mut(lane).filter(|_| probe.model) {
            model.breaker.release_probe();
        }
    }
}
