//! A gate shared by all worker threads: [`Slot`] and [`Ticket`] return what they hold when they are
//! dropped.
//!
//! Owns the one lock around a [`Gate`], the clock and the random numbers. The lock is held for one
//! decision, never across an await and never while a waiter is woken. The trap: a slot can be
//! granted to a waiter that disconnects at that very moment. The slot then comes back through the
//! waiter's channel and is given to the next in line, in a loop and not by recursion, however many
//! have disconnected.
//!
//! Time-driven changes (a cooldown ends, slots return after a pause) need a timer. One of the
//! waiters, the *keeper*, has it: when the gate knows of such an instant one waiter is notified,
//! sleeps until then, and hands the duty on when it leaves the line. Nothing outside has to drive
//! the gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

pub use loading::Loading;
pub use ticket::Ticket;

use super::backoff::RetryPolicy;
use super::breaker::BreakerPolicy;
use super::gate::Gate;
use super::gate::health_checks::{Check, Health};
use super::gate::shared_limit::{Demand, SharedLimit};
use super::gate::snapshot::Snapshot;
use super::refusal::Refusal;
use super::types::{Arrival, Decision, Ended, Limits, Moment, Permit, Transition, Wake};

mod loading;
mod remembering;
mod ticket;

/// The admission of one provider for the whole process.
#[derive(Debug)]
pub struct SharedGate {
    inner: Mutex<Inner>,
    /// Makes one waiter the keeper.
    keeper_wanted: Notify,
    /// Notified when a job waits only because this gateway's lease is small.
    short: Arc<Notify>,
    /// Notified when other gateways must hear at once what happens to loads.
    news: Arc<Notify>,
    /// Notified when a load is to be carried out.
    ordered: Arc<Notify>,
    /// Notified when waiting jobs wait for longer or shorter than they were told.
    patience: Notify,
    /// As [`Gate::has_quarantine`], readable without the lock.
    has_quarantine: AtomicBool,
}

/// What became of an arrival.
#[derive(Debug)]
pub enum Admission {
    /// The job starts now.
    Run(Slot),
    /// The job waits in line.
    Wait(Ticket),
    /// The job is refused.
    Refuse(Refusal),
}

/// The right to run one attempt.
///
/// Dropping it frees the slot, once, and starts the next in line; so does a panic. Dropped without
/// [`Slot::ended`] it counts as [`Ended::Neutral`].
#[derive(Debug)]
pub struct Slot {
    gate: Arc<SharedGate>,
    permit: Option<Permit>,
    ended: Ended,
}

/// The right to make one retry, from its backoff to its end; given back on drop.
#[derive(Debug)]
pub struct RetryPermit {
    gate: Arc<SharedGate>,
}

type Answer = Result<Slot, Refusal>;
type Waker = oneshot::Sender<Answer>;

#[derive(Debug)]
struct Inner {
    gate: Gate<Waker>,
    /// When the keeper looks at the gate next, or a waiter that was asked to become the keeper
    /// will.
    kept: Option<Instant>,
}

impl SharedGate {
    /// An idle gate.
    pub fn new(limits: Limits, breaker: BreakerPolicy, retry: RetryPolicy) -> Arc<Self> {
        let gate = Gate::new(limits, breaker, retry, now());
        Arc::new(Self {
            inner: Mutex::new(Inner { gate, kept: None }),
            keeper_wanted: Notify::new(),
            short: Arc::default(),
            news: Arc::default(),
            ordered: Arc::default(),
            patience: Notify::new(),
            has_quarantine: AtomicBool::new(false),
        })
    }

    /// Decides about a job.
    pub fn admit(self: &Arc<Self>, arrival: Arrival) -> Admission {
        let since = now();
        let mut answer = None;
        let decision = self.step(|inner, at, wakes| {
            let waker = || {
                let (waker, receiver) = oneshot::channel();
                answer = Some(receiver);
                waker
            };
            inner.gate.admit(arrival, at, waker, wakes)
        });
        match decision {
            Decision::Run(permit) => Admission::Run(Slot {
                gate: Arc::clone(self),
                permit: Some(permit),
                ended: Ended::Neutral,
            }),
            Decision::Wait { key, until } => {
                let gate = Arc::clone(self);
                Admission::Wait(Ticket { gate, key, since, until, answer, keeps: None })
            }
            Decision::Refuse(refusal) => Admission::Refuse(refusal),
        }
    }

    /// A slot that is none of the limit's, for what runs no model: it says nothing to the gate.
    pub fn beside(self: &Arc<Self>) -> Slot {
        Slot { gate: Arc::clone(self), permit: None, ended: Ended::Neutral }
    }

    /// Takes a retry from the budget, or returns `None` when it is used up: then the original
    /// failure is the answer. A request's `previous` permit is given back first, so that its first
    /// retry does not block its second.
    pub fn retry(self: &Arc<Self>, previous: Option<RetryPermit>) -> Option<RetryPermit> {
        drop(previous);
        let taken = self.inner.lock().gate.take_retry(now());
        taken.then(|| RetryPermit { gate: Arc::clone(self) })
    }

    /// Takes other limits at once; see [`Gate::change`].
    pub fn change(self: &Arc<Self>, limits: Limits) {
        self.step(|inner, at, wakes| inner.gate.change(limits, at, wakes));
    }

    /// Takes another lease on a limit that several gateways share; see [`Gate::change_lease`].
    pub fn change_lease(self: &Arc<Self>, shared: Option<SharedLimit>) {
        self.step(|inner, at, wakes| inner.gate.change_lease(shared, at, wakes));
    }

    /// How many slots are wanted; see [`Gate::take_demand`].
    pub fn take_demand(&self) -> Demand {
        self.inner.lock().gate.take_demand()
    }

    /// Whether a job waits only because the lease is small.
    pub fn is_short(&self) -> bool {
        self.inner.lock().gate.is_short()
    }

    /// Notified when a job begins to wait only because the lease is small.
    pub fn short(&self) -> Arc<Notify> {
        Arc::clone(&self.short)
    }

    /// Takes other policies; see [`Gate::change_policies`].
    pub fn change_policies(&self, breaker: BreakerPolicy, retry: RetryPolicy) {
        self.inner.lock().gate.change_policies(breaker, retry);
    }

    /// Forgets every failure and pause; see [`Gate::forget_failures`].
    pub fn forget_failures(self: &Arc<Self>) {
        self.step(|inner, at, wakes| inner.gate.forget_failures(at, wakes));
    }

    /// Records a health check; see [`Gate::checked`].
    pub fn checked(
        self: &Arc<Self>,
        check: Check,
        most: u32,
        cause: Option<Arc<str>>,
    ) -> Option<Health> {
        self.step(|inner, at, wakes| inner.gate.checked(check, most, cause, at, wakes))
    }

    /// Whether arrivals need a digest of their request; see [`Gate::has_quarantine`].
    pub fn has_quarantine(&self) -> bool {
        self.has_quarantine.load(Ordering::Relaxed)
    }

    /// Whether the breaker of the provider or of one of its models is open.
    pub fn is_left_alone(&self) -> bool {
        self.inner.lock().gate.is_left_alone(now())
    }

    /// The limits now in force.
    pub fn limits(&self) -> Limits {
        self.inner.lock().gate.limits()
    }

    /// Takes no new jobs; waiting jobs and retries are still served.
    pub fn drain(&self) {
        self.inner.lock().gate.drain();
    }

    /// Takes new jobs again.
    pub fn resume(&self) {
        self.inner.lock().gate.resume();
    }

    /// The gate's present state.
    pub fn snapshot(&self) -> Snapshot {
        self.inner.lock().gate.snapshot(now())
    }

    /// Makes one decision under the lock, then the wake-ups that follow from it.
    fn step<R>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut Inner, &mut Moment<'_>, &mut Vec<Wake<Waker>>) -> R,
    ) -> R {
        let mut wakes = Vec::new();
        let result = self.decide(decide, &mut wakes);
        self.deliver(wakes);
        result
    }

    fn decide<R>(
        &self,
        decide: impl FnOnce(&mut Inner, &mut Moment<'_>, &mut Vec<Wake<Waker>>) -> R,
        wakes: &mut Vec<Wake<Waker>>,
    ) -> R {
        let mut inner = self.inner.lock();
        let now = now();
        let result = decide(&mut inner, &mut Moment { now, unit: &mut fastrand::f64 }, wakes);
        let next = inner.gate.next_wake(now);
        let keeper_wanted = next.is_some_and(|next| inner.kept.is_none_or(|kept| next < kept));
        if keeper_wanted {
            inner.kept = next;
        }
        let (short, news) = (inner.gate.is_short(), inner.gate.has_news());
        let (ordered, patience) = (inner.gate.has_order(), inner.gate.take_patience_changed());
        self.has_quarantine.store(inner.gate.has_quarantine(), Ordering::Relaxed);
        drop(inner);
        if short {
            self.short.notify_one();
        }
        if news {
            self.news.notify_one();
        }
        if keeper_wanted {
            self.keeper_wanted.notify_one();
        }
        if ordered {
            self.ordered.notify_one();
        }
        if patience {
            self.patience.notify_waiters();
        }
        result
    }

    /// Wakes the waiters. A slot whose waiter has disconnected comes back and is given to the next,
    /// until no wake-up is left.
    fn deliver(self: &Arc<Self>, mut wakes: Vec<Wake<Waker>>) {
        while !wakes.is_empty() {
            for wake in std::mem::take(&mut wakes) {
                let (waker, answer) = match wake {
                    Wake::Grant(waker, permit) => (waker, Ok(Slot::unused(self, permit))),
                    Wake::Refuse(waker, refusal) => (waker, Err(refusal)),
                };
                if let Err(Ok(mut returned)) = waker.send(answer)
                    && let Some(permit) = returned.permit.take()
                {
                    let end = |inner: &mut Inner, at: &mut Moment<'_>, wakes: &mut Vec<_>| {
                        inner.gate.end(permit, Ended::Unused, None, at, wakes);
                    };
                    self.decide(end, &mut wakes);
                }
            }
        }
    }
}

impl Slot {
    /// Ends the attempt, frees the slot and lets the gate know how it went.
    pub fn ended(self, ended: Ended) -> Transition {
        self.ended_because(ended, None)
    }

    /// As [`Slot::ended`], with the failure in words that every caller may read.
    pub fn ended_because(mut self, ended: Ended, cause: Option<Arc<str>>) -> Transition {
        let Some(permit) = self.permit.take() else { return Transition::None };
        self.gate.step(|inner, at, wakes| inner.gate.end(permit, ended, cause, at, wakes))
    }

    /// Whether the attempt is the one that gets the failure of its model's load: then no call is
    /// made.
    pub fn load_failed(&self) -> bool {
        self.permit.as_ref().is_some_and(|permit| permit.load_failed)
    }

    /// The first event of the answer arrived: if this attempt is a breaker's probe, it succeeded;
    /// see [`Gate::answering`].
    pub fn answering(&mut self) -> Transition {
        match self.permit.as_mut().filter(|permit| permit.is_awaited()) {
            Some(permit) => {
                self.gate.step(|inner, at, wakes| inner.gate.answering(permit, at, wakes))
            }
            None => Transition::None,
        }
    }

    /// A slot on its way to its waiter; it counts as unused until it is received.
    fn unused(gate: &Arc<SharedGate>, permit: Permit) -> Self {
        Self { gate: Arc::clone(gate), permit: Some(permit), ended: Ended::Unused }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let ended = self.ended;
            // Without a result no breaker opens or closes.
            self.gate.step(|inner, at, wakes| inner.gate.end(permit, ended, None, at, wakes));
        }
    }
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.gate.inner.lock().gate.give_back_retry();
    }
}

/// The clock of tokio's timers, so that tests can pause both together. Otherwise it is the system's
/// clock.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
