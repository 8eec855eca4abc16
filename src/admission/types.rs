//! The words in which one talks to a gate: what arrives, what is decided, how an attempt ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::concurrency::Concurrency;
use super::evidence::Fault;
use super::line::{Key, Lane, Share};
use super::refusal::Refusal;
use crate::policy::Priority;

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
    /// How much of its patience is used up: the time in line before a try that was not begun.
    pub waited: Duration,
    /// A digest of the caller and of what it asks, where [`Gate::has_quarantine`](super::gate::Gate::has_quarantine) asks for it.
    pub request: Option<u64>,
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
        /// When it stops waiting; it must call [`Gate::expire`](super::gate::Gate::expire) by itself then.
        until: Instant,
    },
    /// It is turned away.
    Refuse(Refusal),
}

/// The right to run one attempt. Must be given back by [`Gate::end`](super::gate::Gate::end).
#[derive(Debug)]
pub struct Permit {
    pub(super) lane: Lane,
    pub(super) caller: Arc<str>,
    pub(super) priority: Priority,
    pub(super) probe: Probe,
    /// Whether it asks for those who wait whether the model begins to work.
    pub(super) asks: bool,
    pub(super) started: Instant,
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
    /// Nobody could have been answered: there was no connection.
    Unreachable,
    /// The model failed, by way of this request.
    Failed {
        /// Which request, and what it heard.
        fault: Fault,
        /// Whether it failed because it has too much to do.
        congested: bool,
        /// Whether it died or fell silent under the request, which costs everybody when it happens again.
        crashed: bool,
    },
    /// The provider does not accept our credentials.
    AuthFailed,
    /// The provider refused what may be our credentials, the request or the model.
    AuthDoubted,
    /// Nothing was begun: a model still loads, or the provider's own queue is full. The request comes again.
    NotBegun,
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

/// What an attempt did to the breaker of its provider or model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transition {
    /// Nothing.
    #[default]
    None,
    /// It was one failure too many: nobody is let through for a while.
    Opened,
    /// It was the last proof that was wanted: everybody is let through again.
    Closed,
    /// Nothing: the failure was the request's own fault.
    Blameless,
    /// Nothing, but its request is in quarantine from now on.
    Quarantined,
}

/// Which breakers wait for this job's result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) provider: bool,
    pub(super) model: bool,
}

impl Arrival {
    /// A job that comes for the first time.
    pub fn new(share: Share, model: Arc<str>, deadline: Instant) -> Self {
        let (again, elsewhere, waited, request) = (false, false, Duration::ZERO, None);
        Self { share, model, deadline, again, elsewhere, waited, request }
    }
}

impl Permit {
    /// Whether others wait for the attempt's first sign: a breaker, or those for whom it asks.
    pub fn is_awaited(&self) -> bool {
        self.asks || self.probe != Probe::default()
    }
}
