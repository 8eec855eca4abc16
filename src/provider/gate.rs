//! The admission of one provider: who runs, who waits, who is turned away.
//!
//! Owns the slots, the waiting line, breaker and cooldown of the provider and each of its models, and the retry budget. It is a
//! pure state machine: the present time and random numbers are arguments ([`Moment`]), waiters are woken by whoever called (each
//! function appends to a list of [`Wake`]s), and nothing is logged. [`super::slot`] puts a lock and a clock around it.
//!
//! What always holds: no more than the limit is started; every [`Permit`] comes back once, by [`Gate::end`]; whoever waits is
//! told exactly once, by a wake or by its own [`Gate::expire`] or [`Gate::cancel`]; nothing is started after its deadline.
//!
//! What one would get wrong: some changes come from time alone (a cooldown ends, slots return after a pause). The gate has no
//! timer. Whoever waits sleeps no longer than [`Gate::next_wake`] says and then calls [`Gate::wake`]; one waiter doing so is
//! enough for all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::breaker::{Breaker, BreakerPolicy, Door};
use super::budget::RetryBudget;
use super::concurrency::{Concurrency, SlotLimit};
use super::estimate::HoldTime;
use super::line::{Entry, Key, Lane, Line, Priority, Share};
use super::models::Models;
use super::refusal::{DRAINING, Refusal, RefusalReason, UNMEASURED};
use super::retry::RetryPolicy;
use counters::Counters;

mod counters;
pub mod snapshot;
mod verdict;

/// What the operator allows; may change at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many attempts run at once.
    pub max_concurrency: Concurrency,
    /// How many jobs wait at most; 0: none. Default 64.
    pub max_queue: u32,
    /// How long a job waits at most. Default 30 s.
    pub max_queue_wait: Duration,
}

/// The present time, and random numbers from 0 to 1.
pub struct Moment<'a> {
    /// The present time.
    pub now: Instant,
    /// A random number each time it is called.
    pub unit: &'a mut dyn FnMut() -> f64,
}

/// A job at the door.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Whose it is.
    pub share: Share,
    /// The model it would run on.
    pub model: Arc<str>,
    /// When its answer is worth nothing any more.
    pub deadline: Instant,
    /// Whether it ran before and comes again. A retry stands at the head of its caller's queue and is never turned away because the
    /// line is full or the provider is being emptied: it was let in before.
    pub again: bool,
    /// Whether another provider could answer it. If so it does not wait for a cooldown longer than 3 s.
    pub elsewhere: bool,
}

/// What became of an arrival.
#[derive(Debug)]
pub enum Decision {
    /// Start it now.
    Run(Permit),
    /// It waits; its waker will be in a later [`Wake`].
    Wait {
        /// Names it until then.
        key: Key,
        /// When it stops waiting; it must call [`Gate::expire`] by itself then.
        until: Instant,
    },
    /// It is turned away.
    Refuse(Refusal),
}

/// The right to run one attempt. Must be given back by [`Gate::end`].
#[derive(Debug)]
pub struct Permit {
    lane: Lane,
    priority: Priority,
    probe: Probe,
    started: Instant,
}

/// A waiter to be told something.
#[derive(Debug)]
pub enum Wake<W> {
    /// Its turn has come.
    Grant(W, Permit),
    /// It waits no longer.
    Refuse(W, Refusal),
}

/// How an attempt ended, as far as breaker, cooldown and limit are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a complete answer.
    Success,
    /// The provider failed.
    HardFailure {
        /// Whether no model of it could have answered (no connection), or only this one failed.
        whole_provider: bool,
        /// Whether it failed because it has too much to do.
        congested: bool,
    },
    /// The provider does not accept our credentials.
    AuthFailed,
    /// The provider asks to be left alone, for this long if it said so.
    RateLimited {
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// For a reason that says nothing about the provider: the client's fault, or the client left.
    Neutral,
    /// Before it began: the permit was never used.
    Unused,
}

/// The admission of one provider. `W` is whatever wakes a waiter.
#[derive(Debug)]
pub struct Gate<W> {
    limits: Limits,
    retry: RetryPolicy,
    slots: SlotLimit,
    breaker: Breaker,
    models: Models,
    line: Line<Waiting<W>>,
    hold: HoldTime,
    budget: RetryBudget,
    in_flight: u32,
    batch_in_flight: u32,
    draining: bool,
    counters: Counters,
}

/// A job with another candidate waits no longer than this for a cooldown.
const SHORT_COOLDOWN: Duration = Duration::from_secs(3);

/// What the gate remembers of a waiting job.
#[derive(Debug)]
struct Waiting<W> {
    waker: W,
    deadline: Instant,
    probe: Probe,
}

/// Which breakers wait for this job's result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Probe {
    provider: bool,
    model: bool,
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
            breaker: Breaker::new(breaker, now),
            models: Models::new(breaker, now),
            line: Line::new(),
            hold: HoldTime::default(),
            budget: RetryBudget::new(now),
            in_flight: 0,
            batch_in_flight: 0,
            draining: false,
            counters: Counters::default(),
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
        // What time alone has opened goes to those who wait already.
        self.grant(at, wakes);
        let lane = {
            let line = &self.line;
            self.models.lane(&arrival.model, now, |lane| line.waiting_in(lane) > 0)
        };
        let probe = match self.knock(&arrival, lane, now) {
            Ok(probe) => probe,
            Err(reason) => return self.refuse_arrival(reason, at),
        };
        if self.may_start(lane, arrival.share.priority, now) {
            self.count_entry(&arrival, probe, lane, now);
            return Decision::Run(self.start(lane, arrival.share.priority, probe, now));
        }
        if let Err(reason) = self.make_room(&arrival, lane, at, wakes) {
            return self.refuse_arrival(reason, at);
        }
        self.count_entry(&arrival, probe, lane, now);
        self.counters.waited += 1;
        let until = self.patience(&arrival, now);
        let load = Waiting { waker: waker(), deadline: arrival.deadline, probe };
        let (share, movable) = (arrival.share, arrival.elsewhere);
        let entry = Entry { share, lane, since: now, until, movable, load };
        Decision::Wait { key: self.line.insert(entry, arrival.again), until }
    }

    /// An attempt has ended: its slot goes to the next in line, and its result to breaker, cooldown and limit.
    pub fn end(
        &mut self,
        permit: Permit,
        ended: Ended,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) {
        let running = self.in_flight;
        self.in_flight = self.in_flight.saturating_sub(1);
        if permit.priority == Priority::Batch {
            self.batch_in_flight = self.batch_in_flight.saturating_sub(1);
        }
        if let Some(model) = self.models.get_mut(permit.lane) {
            model.in_flight = model.in_flight.saturating_sub(1);
        }
        self.judge(&permit, ended, running, at, wakes);
        self.grant(at, wakes);
    }

    /// A waiting job is no longer wanted. Returns its waker, or `None` when it does not wait any more: then it was or will be woken.
    pub fn cancel(&mut self, key: Key, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) -> Option<W> {
        let entry = self.line.remove(key)?;
        let lane = entry.lane;
        let waiting = self.unprobe(entry.load, lane);
        // Its place may have been the one that the next arrival of its kind needs; nobody else can start because of it.
        self.grant(at, wakes);
        Some(waiting.waker)
    }

    /// A waiting job's own timer has run out. Returns why it is refused, or `None` when it does not wait any more (then it was or
    /// will be woken) or may still wait.
    pub fn expire(&mut self, key: Key, at: &mut Moment<'_>) -> Option<Refusal> {
        let reason = self.line.get(key).and_then(|entry| overdue(entry, at.now))?;
        let entry = self.line.remove(key)?;
        let (lane, share) = (entry.lane, entry.share);
        self.unprobe(entry.load, lane);
        let expected = self.newcomer_wait(&share, lane, false, at.now);
        Some(self.refusal((reason, expected), at))
    }

    /// When time alone may let somebody start; `None` when nobody waits for that.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let limit = self.slots.get();
        let usable = self.breaker.usable(limit, now);
        let whole = if self.line.is_empty() || self.in_flight < usable {
            None
        } else {
            self.breaker.next_step(limit, now)
        };
        let models = self.line.lanes().filter_map(|lane| self.models.get(lane));
        models.filter_map(|model| model.next_step(limit, now)).chain(whole).min()
    }

    /// Lets those start that time alone has made room for.
    pub fn wake(&mut self, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) {
        self.grant(at, wakes);
    }

    /// Takes other limits at once. Raising starts those who wait; lowering lets what runs end. Jobs that wait keep the patience
    /// they came with, and a line longer than its new limit takes no newcomers until it is shorter.
    pub fn change(&mut self, limits: Limits, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) {
        self.limits = limits;
        self.slots.change(limits.max_concurrency);
        self.grant(at, wakes);
    }

    /// Takes other policies; what breakers and cooldowns have begun runs its course.
    pub fn change_policies(&mut self, breaker: BreakerPolicy, retry: RetryPolicy) {
        self.breaker.change(breaker);
        self.models.change(breaker);
        self.retry = retry;
    }

    /// Takes no new jobs; those that wait or come again are still served.
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

    /// A retry ended, whatever came of it.
    pub fn give_back_retry(&mut self) {
        self.budget.give_back();
    }

    /// The limits now in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// How long a newcomer for this model would wait here: for choosing among equals. Zero when it could start at once; a provider
    /// that is closed to it counts with the time until it opens.
    pub fn expected_wait(&self, model: &str, now: Instant) -> Duration {
        let limit = self.slots.get();
        let shut = |breaker: &Breaker| match breaker.door(now) {
            Door::Free | Door::Probe => Duration::ZERO,
            Door::Shut { left, .. } => left.max(self.hold.average().unwrap_or(UNMEASURED)),
        };
        let known = self.models.find(model);
        let model = known
            .map_or(Duration::ZERO, |model| shut(&model.breaker).max(model.cooldown.left(now)));
        let queue = if self.line.is_empty() && self.in_flight < self.breaker.usable(limit, now) {
            Duration::ZERO
        } else {
            self.wait(self.line.len() as u64, now)
        };
        shut(&self.breaker).max(model) + queue
    }

    /// How many are served before this waiting job, at most, and how long that takes; `None` when it does not wait any more.
    ///
    /// Linear in the caller's own queue: for heartbeats, not for decisions.
    pub fn place(&self, key: Key, now: Instant) -> Option<(u64, Duration)> {
        let lane = self.line.get(key)?.lane;
        let ahead = self.line.ahead_of(key)?;
        Some((ahead, self.cooldown_left(lane, now) + self.wait(ahead, now)))
    }

    /// Whether the door is open for this job, and which breakers it would probe.
    fn knock(&self, arrival: &Arrival, lane: Lane, now: Instant) -> Result<Probe, Reason> {
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
        let patience = self.patience(arrival, now).saturating_duration_since(now);
        if cooldown > patience || (arrival.elsewhere && cooldown > SHORT_COOLDOWN) {
            return Err((RefusalReason::CoolingDown, cooldown));
        }
        Ok(probe)
    }

    /// Whether this job is the breaker's probe. While one runs the others are refused, not kept waiting: a probe may take as long
    /// as loading a model, and they may be answered elsewhere meanwhile.
    fn is_probe(&self, breaker: &Breaker, now: Instant) -> Result<bool, Reason> {
        match breaker.door(now) {
            Door::Free => Ok(false),
            Door::Probe => Ok(true),
            Door::Shut { left, auth } => {
                let reason =
                    if auth { RefusalReason::AuthFailed } else { RefusalReason::BreakerOpen };
                let probing = self.hold.average().unwrap_or(UNMEASURED);
                Err((reason, if left.is_zero() { probing } else { left }))
            }
        }
    }

    /// Whether this job may wait; if the line is full, somebody else may have to go for it.
    fn make_room(
        &mut self,
        arrival: &Arrival,
        lane: Lane,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) -> Result<(), Reason> {
        let expected = self.newcomer_wait(&arrival.share, lane, arrival.again, at.now);
        let patience = self.patience(arrival, at.now).saturating_duration_since(at.now);
        if self.hold.is_trusted() && expected > patience {
            return Err((RefusalReason::PredictedWait, expected));
        }
        if arrival.again {
            return Ok(());
        }
        let (waiting, most) = (self.line.len() as u64, u64::from(self.limits.max_queue));
        let own = self.line.waiting_of(&arrival.share);
        if waiting > own && own >= most.div_ceil(2) {
            return Err((RefusalReason::OverShare, expected));
        }
        if waiting < most {
            return Ok(());
        }
        // A line that is too long because its limit was lowered must first become shorter.
        let victim = self.line.giving_way_to(&arrival.share).filter(|_| waiting == most);
        let victim = victim.ok_or((RefusalReason::QueueFull, expected))?;
        self.evict(victim, (RefusalReason::PushedOut, expected), at, wakes);
        Ok(())
    }

    /// Starts waiting jobs while there are slots for them, and drops those whose time has passed.
    fn grant(&mut self, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) {
        let now = at.now;
        let limit = self.slots.get();
        while self.in_flight < self.breaker.usable(limit, now) {
            let models = &self.models;
            let open = |lane| models.get(lane).is_some_and(|model| model.is_open(limit, now));
            let Some(key) = self.line.next(open, self.batch_may_start(now)) else { return };
            if let Some(reason) = self.line.get(key).and_then(|entry| overdue(entry, now)) {
                let expected = self.wait(self.line.len() as u64, now);
                self.evict(key, (reason, expected), at, wakes);
            } else if let Some(entry) = self.line.serve(key) {
                let Waiting { waker, probe, .. } = entry.load;
                let permit = self.start(entry.lane, entry.share.priority, probe, now);
                wakes.push(Wake::Grant(waker, permit));
            }
        }
    }

    fn start(&mut self, lane: Lane, priority: Priority, probe: Probe, now: Instant) -> Permit {
        self.in_flight += 1;
        if priority == Priority::Batch {
            self.batch_in_flight += 1;
        }
        if let Some(model) = self.models.get_mut(lane) {
            model.in_flight += 1;
        }
        self.counters.granted += 1;
        Permit { lane, priority, probe, started: now }
    }

    fn may_start(&self, lane: Lane, priority: Priority, now: Instant) -> bool {
        let limit = self.slots.get();
        let allowed = match priority {
            Priority::Interactive => true,
            Priority::Batch => self.batch_may_start(now),
        };
        let open = self.models.get(lane).is_some_and(|model| model.is_open(limit, now));
        allowed && open && self.in_flight < self.breaker.usable(limit, now)
    }

    /// Batch callers use at most 80 % of the slots, and at least one.
    fn batch_may_start(&self, now: Instant) -> bool {
        let usable = u64::from(self.breaker.usable(self.slots.get(), now));
        u64::from(self.batch_in_flight) < (usable * 4 / 5).max(1)
    }

    /// The job is in: it counts as a request, and as the probe it may be.
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
    fn unprobe(&mut self, waiting: Waiting<W>, lane: Lane) -> Waiting<W> {
        if waiting.probe.provider {
            self.breaker.release_probe();
        }
        if let Some(model) = self.models.get_mut(lane).filter(|_| waiting.probe.model) {
            model.breaker.release_probe();
        }
        waiting
    }

    fn evict(&mut self, key: Key, reason: Reason, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) {
        let Some(entry) = self.line.remove(key) else { return };
        let waiting = self.unprobe(entry.load, entry.lane);
        let refusal = self.refusal(reason, at);
        wakes.push(Wake::Refuse(waiting.waker, refusal));
    }

    fn refuse_arrival(&mut self, reason: Reason, at: &mut Moment<'_>) -> Decision {
        Decision::Refuse(self.refusal(reason, at))
    }

    fn refusal(&mut self, (reason, expected): Reason, at: &mut Moment<'_>) -> Refusal {
        *self.counters.refused.entry(reason).or_default() += 1;
        Refusal::new(reason, expected, (at.unit)())
    }

    /// Until when this job would wait.
    fn patience(&self, arrival: &Arrival, now: Instant) -> Instant {
        let longest = now.checked_add(self.limits.max_queue_wait);
        longest.map_or(arrival.deadline, |longest| longest.min(arrival.deadline))
    }

    /// The predicted wait of a newcomer; a guess while nothing has been measured.
    fn newcomer_wait(&self, share: &Share, lane: Lane, again: bool, now: Instant) -> Duration {
        let ahead = self.line.ahead_of_newcomer(share, again);
        self.cooldown_left(lane, now) + self.wait(ahead, now)
    }

    fn wait(&self, ahead: u64, now: Instant) -> Duration {
        let usable = self.breaker.usable(self.slots.get(), now);
        self.hold.wait(ahead, usable).unwrap_or(UNMEASURED)
    }

    fn cooldown_left(&self, lane: Lane, now: Instant) -> Duration {
        self.models.get(lane).map_or(Duration::ZERO, |model| model.cooldown.left(now))
    }

    fn load(&self) -> u64 {
        u64::from(self.in_flight) + self.line.len() as u64
    }
}

impl Permit {
    /// When the attempt was allowed to begin.
    pub fn started(&self) -> Instant {
        self.started
    }
}

/// Why a waiting job must not be started any more, if so.
fn overdue<W>(entry: &Entry<Waiting<W>>, now: Instant) -> Option<RefusalReason> {
    if entry.load.deadline <= now {
        Some(RefusalReason::DeadlinePassed)
    } else if entry.until <= now {
        Some(RefusalReason::WaitedTooLong)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
