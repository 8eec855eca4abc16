//! The types of a gate's interface: what arrives, what is decided, how an attempt ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::concurrency::Concurrency;
use super::crowding::Crowded;
use super::evidence::Fault;
use super::line::{Key, Lane, Share};
use super::refusal::Refusal;
use super::remembered::Call;
use super::warm::types::Needs;
use crate::chat::Chain;
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

/// A job at the admission check.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Whose it is.
    pub share: Share,
    /// The model it would run on.
    pub model: Arc<str>,
    /// When its answer becomes worthless.
    pub deadline: Instant,
    /// Whether it is a retry. A retry goes to the head of its caller's queue and is never refused
    /// because the line is full or the provider is being drained: it was admitted before.
    pub again: bool,
    /// Whether another candidate could answer it. If so it does not wait for a cooldown longer than
    /// 3 s.
    pub elsewhere: bool,
    /// How much of its longest wait is used up: the time in line before an attempt that the model
    /// did not begin.
    pub waited: Duration,
    /// A digest of the caller and its request, where
    /// [`Gate::has_quarantine`](super::gate::Gate::has_quarantine) wants one.
    pub request: Option<u64>,
    /// How many attempts for its model may run at once; `None`: as many as the provider's limit
    /// allows.
    pub most: Option<u32>,
    /// What it needs, from a server that loads models; `None`: nothing that could be scheduled.
    pub needs: Option<Needs>,
    /// Whether it asks for something else than an answer of the model, such as its description: the
    /// server does not load the model for it.
    pub is_about_model: bool,
    /// Its conversation, where the provider's prompt cache counts.
    pub chain: Option<Arc<Chain>>,
}

/// What became of an arrival.
#[derive(Debug)]
pub enum Decision {
    /// Start it now.
    Run(Permit),
    /// It waits; a later [`Wake`] will hold its waker.
    Wait {
        /// Its key in the line.
        key: Key,
        /// When it stops waiting; it must call [`Gate::expire`](super::gate::Gate::expire) by
        /// itself then.
        until: Instant,
    },
    /// It is refused.
    Refuse(Refusal),
}

/// The right to run one attempt. Must be given back by [`Gate::end`](super::gate::Gate::end).
#[derive(Debug)]
pub struct Permit {
    pub(super) lane: Lane,
    pub(super) caller: Arc<str>,
    pub(super) priority: Priority,
    pub(super) weight: u32,
    pub(super) probe: Probe,
    /// Where the provider's prompt cache counts.
    pub(super) call: Option<Call>,
    /// Whether the attempt finds out, for the waiting jobs, whether the model is ready.
    pub(super) asks: bool,
    /// Whether it is the attempt that gets the failure of its model's load.
    pub(super) load_failed: bool,
    pub(super) started: Instant,
}

/// A waiter to wake, with its answer.
#[derive(Debug)]
pub enum Wake<W> {
    /// Its turn has come.
    Grant(W, Permit),
    /// It is refused.
    Refuse(W, Refusal),
}

/// How an attempt ended, as far as breaker, cooldown and limit are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a complete answer.
    Success,
    /// Without a connection: no request could have been answered.
    Unreachable,
    /// With a failure of the model.
    Failed {
        /// Which request failed, and the provider's text.
        fault: Fault,
        /// Whether it failed because it has too much to do.
        congested: bool,
        /// Whether the model crashed or fell silent, which harms all callers when it happens again.
        crashed: bool,
    },
    /// The provider refused our credentials.
    AuthFailed,
    /// The provider refused our credentials, the request or the model; it is unclear which.
    AuthDoubted,
    /// The model did not begin: it still loads, or the provider's own queue is full. The request
    /// comes again.
    NotBegun,
    /// With a 429, which starts a cooldown.
    RateLimited {
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// For a reason that says nothing about the provider: the client's fault, or the client
    /// disconnected.
    Neutral,
    /// Before it began: the permit was never used.
    Unused,
}

/// What the end of an attempt did to the breaker of its provider or model, or told of the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transition {
    /// Nothing.
    #[default]
    None,
    /// It opened the breaker: no attempt is let through for a while.
    Opened,
    /// It closed the breaker: attempts are let through again.
    Closed,
    /// Nothing: the failure was the request's own fault.
    Blameless,
    /// Nothing, but its request is now in quarantine.
    Quarantined,
    /// Nothing, but it is known now that calls take turns in the server.
    Crowded(Crowded),
}

/// The breakers whose probe this job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) provider: bool,
    pub(super) model: bool,
}

impl Arrival {
    /// A job that comes for the first time.
    pub fn new(share: Share, model: Arc<str>, deadline: Instant) -> Self {
        let (again, elsewhere, waited) = (false, false, Duration::ZERO);
        let (most, request, needs, chain, is_about_model) = (None, None, None, None, false);
        Self {
            share,
            model,
            deadline,
            again,
            elsewhere,
            waited,
            request,
            most,
            needs,
            is_about_model,
            chain,
        }
    }
}

impl Permit {
    /// Whether a breaker or waiting jobs wait for the first event of the attempt's answer.
    pub fn is_awaited(&self) -> bool {
        self.asks || self.probe != Probe::default()
    }

    /// Whether the provider's prompt cache counts.
    pub fn is_remembered(&self) -> bool {
        self.call.is_some()
    }
}
