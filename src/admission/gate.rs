//! The admission of one provider: which jobs run, which wait and which are refused.
//!
//! Owns the slots, the waiting line, breaker and cooldown of the provider and each of its models,
//! and the retry budget. It is a pure state machine: the present time and random numbers are
//! arguments ([`Moment`]), the caller wakes the waiters (each function appends to a list of
//! [`Wake`]s), and nothing is logged. [`super::slot`] puts a lock and a clock around it.
//!
//! Invariants: no more than the limit is started; every [`Permit`] comes back once, by
//! [`Gate::end`]; every waiter is answered exactly once, by a wake or by its own [`Gate::expire`]
//! or [`Gate::cancel`]; nothing is started after its deadline.
//!
//! The trap: some changes come from time alone (a cooldown ends, slots return after a pause), and
//! the gate has no timer. A waiter sleeps no longer than [`Gate::next_wake`] says and then calls
//! [`Gate::wake`]; one waiter that does so is enough for all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::RetryPolicy;
use super::breaker::{Breaker, BreakerPolicy};
use super::budget::RetryBudget;
use super::concurrency::SlotLimit;
use super::cost::Costs;
use super::crowding::Crowding;
use super::line::{Entry, Key, Lane, Line};
use super::models::Models;
use super::quarantine::Quarantine;
use super::remembered::{Call, Remembered};
use super::types::{Arrival, Decision, Ended, Limits, Moment, Permit, Probe, Transition, Wake};
use super::warm::Warm;
use crate::chat::{Chain, RefusalReason};
use crate::policy::Priority;
use counters::Counters;
use health_checks::Health;
use refusing::overdue;
use shared_limit::SharedLimit;

mod admission_check;
mod causes;
mod counters;
mod granting;
pub mod health_checks;
pub mod loading;
pub mod peers;
mod prediction;
mod refusing;
pub mod remembering;
pub mod shared_limit;
pub mod snapshot;
mod verdict;

/// The admission of one provider. `W` is what wakes a waiter.
#[derive(Debug)]
pub struct Gate<W> {
    limits: Limits,
    retry: RetryPolicy,
    slots: SlotLimit,
    /// This gateway's lease on the slots; `None`: all of them.
    shared: Option<SharedLimit>,
    /// The most jobs that ran or waited since [`Gate::take_demand`] was last called.
    peak: u64,
    breaker: Breaker,
    models: Models,
    quarantine: Quarantine,
    /// Callers and models whose requests were refused as if our credentials were wrong, since the
    /// last answer.
    doubts: Vec<(Arc<str>, Lane)>,
    /// The last failure of the whole provider, worded for every caller.
    cause: Option<Arc<str>>,
    line: Line<Waiter<W>>,
    costs: Costs,
    crowding: Crowding,
    /// Which models the server has loaded, where loads are scheduled.
    warm: Option<Warm>,
    /// What the server has in its prompt cache, where that counts.
    remembered: Option<Remembered>,
    /// The last job of which an earlier `remembered` may still hear.
    last_call: Call,
    /// Whether waiting jobs wait for longer or shorter than they were told.
    patience_changed: bool,
    budget: RetryBudget,
    in_flight: u32,
    batch_in_flight: u32,
    draining: bool,
    health: Health,
    /// Health checks that failed in a row.
    failed_checks: u32,
    counters: Counters,
}

/// What the gate remembers of a waiting job.
#[derive(Debug)]
struct Waiter<W> {
    waker: W,
    /// The model, as the request names it.
    model: Arc<str>,
    deadline: Instant,
    probe: Probe,
    /// Whether its patience is that of a job whose model has to be loaded first.
    was_cold: bool,
    /// Its conversation, where the server's prompt cache counts.
    chain: Option<Arc<Chain>>,
    /// How long it would wait if nothing were remembered, in seconds.
    promised: f64,
}

/// A reason and how long it is expected to last.
type Reason = (RefusalReason, Duration);

impl<W> Gate<W> {
    /// An idle gate.
    pub fn new(limits: Limits, breaker: BreakerPolicy, retry: RetryPolicy, now: Instant) -> Self {
        Self {
            limits,
            retry,
            slots: SlotLimit::new(limits.max_concurrency),
            shared: None,
            peak: 0,
            breaker: Breaker::new(breaker, now),
            models: Models::new(breaker, now),
            quarantine: Quarantine::default(),
            doubts: Vec::new(),
            cause: None,
            line: Line::new(),
            costs: Costs::default(),
            crowding: Crowding::default(),
            warm: None,
            remembered: None,
            last_call: Call::default(),
            patience_changed: false,
            budget: RetryBudget::new(now),
            in_flight: 0,
            batch_in_flight: 0,
            draining: false,
            health: Health::default(),
            failed_checks: 0,
            counters: Counters::new(now),
        }
    }

    /// Decides about a job. `waker` is called only when it must wait.
    pub fn admit(
        &mut self,
        arrival: Arrival,
        at: &mut Moment<'_>,
        waker: impl FnOnce() -> W,
        wakes: &mut Vec<Wake<W>>,
    ) -> Decision {
        let now = at.now;
        let lane = self.lane_of(&arrival, now);
        // Slots that time alone has freed, or a model's raised limit, go to the jobs that already
        // wait.
        self.grant(at, wakes);
        let probe = match self.check(&arrival, lane, now) {
            Ok(probe) => probe,
            Err(reason) => return self.refuse(reason, &arrival, lane, at),
        };
        if let Some(refusal) = self.quarantined(&arrival, at) {
            return Decision::Refuse(refusal);
        }
        self.note_arrival(&arrival, lane, now);
        if self.may_start(lane, arrival.share.priority, now) && !self.keeps_for(&arrival, lane, now)
        {
            self.count_entry(&arrival, probe, lane, now);
            let chain = arrival.chain.as_ref();
            self.pay_at_once(&arrival.share, lane, chain);
            return Decision::Run(self.start(lane, &arrival.share, probe, chain, now));
        }
        let room = self.wish(&arrival, lane, now);
        if let Err(reason) = room.and_then(|()| self.make_room(&arrival, lane, at, wakes)) {
            return self.refuse(reason, &arrival, lane, at);
        }
        self.count_entry(&arrival, probe, lane, now);
        self.counters.waited += 1;
        let until = self.patience(&arrival, lane, now);
        let was_cold = !self.load_bound(lane, now).is_zero();
        let promised = self.promise(lane, arrival.chain.as_ref(), now);
        let Arrival { share, model, deadline, chain, elsewhere: movable, .. } = arrival;
        let load = Waiter { waker: waker(), model, deadline, probe, was_cold, chain, promised };
        let entry = Entry { share, lane, since: now, until, movable, load };
        let key = self.line.insert(entry, arrival.again);
        self.count_demand();
        if self.plan(now) {
            self.grant(at, wakes);
        }
        Decision::Wait { key, until }
    }

    /// The first event of an attempt's answer arrived. For a probe that counts as success:
    /// otherwise all other jobs would be refused until a long answer is complete.
    pub fn answering(
        &mut self,
        permit: &mut Permit,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) -> Transition {
        let probe = std::mem::take(&mut permit.probe);
        let mut closed = probe.provider && self.breaker.succeed(true, at.now);
        if let Some(model) = self.models.get_mut(permit.lane).filter(|_| probe.model) {
            closed |= model.breaker.succeed(true, at.now);
        }
        if std::mem::take(&mut permit.asks)
            && let Some(model) = self.models.get_mut(permit.lane)
        {
            // The model has begun to work: the jobs that waited for that start.
            model.unready = None;
        }
        self.grant(at, wakes);
        if closed { Transition::Closed } else { Transition::None }
    }

    /// An attempt has ended: its slot goes to the next in line, and its result to breaker, cooldown
    /// and limit. `cause` is the failure in words that every caller may read.
    pub fn end(
        &mut self,
        permit: Permit,
        ended: Ended,
        cause: Option<Arc<str>>,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) -> Transition {
        let running = self.in_flight;
        debug_assert!(running > 0, "a permit came back twice");
        self.in_flight = self.in_flight.saturating_sub(1);
        if permit.priority == Priority::Batch {
            self.batch_in_flight = self.batch_in_flight.saturating_sub(1);
        }
        let mut of_model = 0;
        if let Some(model) = self.models.get_mut(permit.lane) {
            of_model = model.in_flight;
            model.in_flight = model.in_flight.saturating_sub(1);
        }
        self.note_end(&permit, ended, at.now);
        self.note_read(&permit, ended, at.now);
        self.keep_cause(permit.lane, ended, cause);
        let mut shift = self.judge(&permit, ended, running, at, wakes);
        if (shift, ended, of_model) == (Transition::None, Ended::Success, running) {
            let held = at.now.saturating_duration_since(permit.started);
            let crowded = self.crowding.note(permit.lane, running, held);
            shift = crowded.map_or(shift, Transition::Crowded);
        }
        self.grant(at, wakes);
        shift
    }

    /// Takes a cancelled job out of the line. Returns its waker, or `None` when it no longer waits:
    /// then it was or will be woken.
    pub fn cancel(&mut self, key: Key) -> Option<W> {
        let entry = self.line.remove(key)?;
        Some(self.release_probes(entry.load, entry.lane).waker)
    }

    /// Starts the waiting jobs that time alone has made room for.
    pub fn wake(&mut self, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) {
        self.grant(at, wakes);
    }

    /// Takes other limits at once. Raising them starts waiting jobs; lowering them lets running
    /// attempts finish. Waiting jobs keep the longest wait they began with; a line longer than its
    /// new limit accepts a newcomer only in the place of another job.
    pub fn change(&mut self, limits: Limits, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) {
        self.limits = limits;
        self.slots.change(limits.max_concurrency);
        self.crowding.forget();
        self.grant(at, wakes);
    }

    /// Takes other policies; pauses that breakers and cooldowns have begun are kept.
    pub fn change_policies(&mut self, breaker: BreakerPolicy, retry: RetryPolicy) {
        self.breaker.change(breaker);
        self.models.change(breaker);
        self.retry = retry;
    }

    /// Forgets every failure and pause: the provider has another address or other credentials now.
    pub fn forget_failures(&mut self, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) {
        (self.health, self.failed_checks) = (Health::default(), 0);
        self.breaker.forget(at.now);
        self.models.forget(at.now);
        self.quarantine.clear();
        self.doubts.clear();
        self.cause = None;
        self.crowding.forget();
        self.forget_server(at.now);
        self.grant(at, wakes);
    }

    /// Takes no new jobs; waiting jobs and retries are still served.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes new jobs again.
    pub fn resume(&mut self) {
        self.draining = false;
    }

    /// Takes one retry from the budget; each `true` is given back by [`Gate::give_back_retry`].
    pub fn take_retry(&mut self, now: Instant) -> bool {
        let allowed = self.budget.take(self.load(), now);
        self.counters.retried += u64::from(allowed);
        allowed
    }

    /// A retry ended, with any outcome.
    pub fn give_back_retry(&mut self) {
        self.budget.give_back();
    }

    /// The limits now in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The job is admitted: counts it as a request, and claims the probes that it is.
    fn count_entry(&mut self, arrival: &Arrival, probe: Probe, lane: Lane, now: Instant) {
        if !arrival.again {
            self.budget.count_request(now);
        }
        if probe.provider {
            self.breaker.claim_probe();
        }
        if let Some(model) = self.models.get_mut(lane).filter(|_| probe.model) {
            model.breaker.claim_probe();
        }
    }

    /// A probe that never ran: the next arrival probes.
    fn release_probes(&mut self, waiting: Waiter<W>, lane: Lane) -> Waiter<W> {
        if waiting.probe.provider {
            self.breaker.release_probe();
        }
        if let Some(model) = self.models.get_mut(lane).filter(|_| waiting.probe.model) {
            model.breaker.release_probe();
        }
        waiting
    }

    fn load(&self) -> u64 {
        u64::from(self.in_flight) + self.line.len() as u64
    }
}

#[cfg(test)]
mod tests;
