//! The circuit breaker: stops asking a provider, or one of its models, that keeps failing.
//!
//! Owns the state of one provider or model: closed, open, half-open. It does not judge which
//! failures are hard (`retry.rs` does) or who caused them (`evidence.rs` does). Rate limits (429)
//! never reach it: they start a cooldown.
//!
//! ```text
//!            `failures` in a row, or under half of ≥ 20 in a minute succeed
//!   Closed ───────────────────────────────────────────────────────────────► Open (time, doubling)
//!     ▲                                                                     │  ▲
//!     │ two probes in a row succeed; slots come back over 10 s              │  │ the probe fails
//!     └───────────────────────────── HalfOpen ◄─── its time has passed ─────┘  │
//!                                        └──────────────────────────────────────┘
//! ```
//!
//! The trap: attempts that began before it opened still end afterwards. While it is not closed only
//! the probe's result counts; the others say nothing about the provider's present state.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::backoff::{LONGEST_PAUSE, spread};
use super::evidence::Leniency;
use super::ramp::Ramp;
use super::sliding_window::SlidingWindow;

/// When to open, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerPolicy {
    /// Hard failures in a row that open it; 0 counts as 1. Default 5.
    pub failures: u32,
    /// How long it stays open the first time. Default 5 s.
    pub open: Duration,
    /// The longest it stays open, after doubling; more than an hour counts as an hour. Default 120
    /// s.
    pub max_open: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 5, open: Duration::from_secs(5), max_open: Duration::from_secs(120) }
    }
}

/// Whether the breaker lets an attempt through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Permission {
    /// The attempt may start.
    Granted,
    /// The attempt may start as the only probe; see [`Breaker::claim_probe`].
    Probe,
    /// The attempt is refused.
    Denied {
        /// How long until a probe is allowed; zero while one is running.
        left: Duration,
        /// Whether it is open because the provider refuses our credentials.
        auth: bool,
    },
}

/// The breaker's state by name, as metrics and the console show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Attempts are let through.
    Closed,
    /// One probe at a time.
    HalfOpen,
    /// Nothing is let through.
    Open,
    /// Nothing is let through, because the provider refuses our credentials.
    AuthFailed,
}

/// The breaker of one provider or of one model there.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
    /// Hard failures in a row.
    streak: u32,
    successes: SlidingWindow,
    failures: SlidingWindow,
    /// How often it has opened without a full recovery in between.
    opened: u32,
}

/// How many probes in a row must succeed.
const PROBES: u32 = 2;
/// The success rate counts only with at least this many attempts in a minute.
const RATE_SAMPLES: u64 = 20;
/// How long it takes until all slots are usable again after it closes.
const RECOVERY: Duration = Duration::from_secs(10);
/// How long refused credentials are left alone before they are tried again.
const AUTH_RETRY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { ramp: Option<Ramp> },
    Open { since: Instant, until: Instant, auth: bool },
    HalfOpen { successes: u32, probing: bool, auth: bool },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(policy: BreakerPolicy, now: Instant) -> Self {
        Self {
            policy,
            state: State::Closed { ramp: None },
            streak: 0,
            successes: SlidingWindow::new(now),
            failures: SlidingWindow::new(now),
            opened: 0,
        }
    }

    /// Uses another policy from the next failure on.
    pub fn change(&mut self, policy: BreakerPolicy) {
        self.policy = policy;
    }

    /// Resets to a new, closed breaker.
    pub fn forget(&mut self, now: Instant) {
        *self = Self::new(self.policy, now);
    }

    /// Whether an attempt may start now.
    pub fn permission(&self, now: Instant) -> Permission {
        match self.state {
            State::Closed { .. } => Permission::Granted,
            State::Open { until, auth, .. } => {
                let left = until.saturating_duration_since(now);
                if left.is_zero() { Permission::Probe } else { Permission::Denied { left, auth } }
            }
            State::HalfOpen { probing: false, .. } => Permission::Probe,
            State::HalfOpen { probing: true, auth, .. } => {
                Permission::Denied { left: Duration::ZERO, auth }
            }
        }
    }

    /// Makes the arrival that got [`Permission::Probe`] the probe. It must end with one of the
    /// functions below.
    pub fn claim_probe(&mut self) {
        self.state = match self.state {
            State::Closed { ramp } => State::Closed { ramp },
            // The open time has passed: the first arrival probes.
            State::Open { auth, .. } => State::HalfOpen { successes: 0, probing: true, auth },
            State::HalfOpen { successes, auth, .. } => {
                State::HalfOpen { successes, probing: true, auth }
            }
        };
    }

    /// The probe ended without a result (cancelled, or the client's own fault): the next arrival
    /// probes.
    pub fn release_probe(&mut self) {
        if let State::HalfOpen { probing, .. } = &mut self.state {
            *probing = false;
        }
    }

    /// An attempt succeeded. Returns whether this closed the breaker.
    pub fn succeed(&mut self, probe: bool, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => {
                self.streak = 0;
                self.successes.add(now);
                false
            }
            State::HalfOpen { successes, auth, .. } if probe => {
                let successes = successes + 1;
                if successes < PROBES {
                    // One success may be luck: the next arrival probes again.
                    self.state = State::HalfOpen { successes, probing: false, auth };
                    return false;
                }
                self.streak = 0;
                self.successes.clear();
                self.failures.clear();
                self.state = State::Closed { ramp: Some(Ramp::new(now, RECOVERY)) };
                true
            }
            // The attempt began before the breaker opened, so it says nothing about the present.
            State::HalfOpen { .. } | State::Open { .. } => false,
        }
    }

    /// An attempt failed hard. `unit` (0 to 1) spreads the open time by ± 20 %. Returns whether
    /// this opened the breaker.
    pub fn fail(&mut self, probe: bool, now: Instant, unit: f64) -> bool {
        self.fail_as(probe, 1, Leniency::default(), now, unit)
    }

    /// As [`Breaker::fail`], for an attempt that counts as `count` failures: 0 when the same
    /// request has failed before.
    pub fn fail_as(
        &mut self,
        probe: bool,
        count: u32,
        leniency: Leniency,
        now: Instant,
        unit: f64,
    ) -> bool {
        match self.state {
            State::Closed { ramp } => {
                self.streak = self.streak.saturating_add(count);
                (0..count).for_each(|_| self.failures.add(now));
                let failed = self.failures.count(now).saturating_sub(leniency.discount);
                let succeeded = self.successes.count(now);
                let mostly_failing = failed + succeeded >= RATE_SAMPLES && succeeded < failed;
                let in_a_row = self.streak >= self.policy.failures.max(1);
                if !mostly_failing && (!in_a_row || leniency.only_one_fails) {
                    return false;
                }
                self.forget_old_openings(ramp, now);
                self.open(false, now, unit)
            }
            // Still broken: opens again for twice as long.
            State::HalfOpen { auth, .. } if probe => self.open(auth, now, unit),
            State::HalfOpen { .. } | State::Open { .. } => false,
        }
    }

    /// Takes back one failure that turned out not to be the model's fault.
    pub fn retract(&mut self) {
        self.streak = self.streak.saturating_sub(1);
        self.failures.take_back();
    }

    /// The provider refuses our credentials: opens at once and retries each minute. Returns whether
    /// this opened it.
    pub fn fail_auth(&mut self, probe: bool, now: Instant, unit: f64) -> bool {
        match self.state {
            State::Closed { .. } => self.open(true, now, unit),
            State::HalfOpen { .. } if probe => self.open(true, now, unit),
            State::HalfOpen { .. } | State::Open { .. } => false,
        }
    }

    /// Health checks failed: opens a closed breaker as failures in a row would. Returns whether
    /// this opened it.
    pub fn trip(&mut self, now: Instant, unit: f64) -> bool {
        match self.state {
            State::Closed { ramp } => {
                self.forget_old_openings(ramp, now);
                self.open(false, now, unit)
            }
            // It is open already, or a probe is about to find out more than a health check can.
            State::HalfOpen { .. } | State::Open { .. } => false,
        }
    }

    /// A health check passed: once the breaker has been open for `least`, the next arrival probes,
    /// however long the pause was meant to be. The length of the next pause does not change, and
    /// refused credentials stay refused.
    pub fn hasten(&mut self, least: Duration, now: Instant) {
        if let State::Open { since, until, auth: false } = &mut self.state {
            *until = (*until).min((*since + least).max(now));
        }
    }

    /// Whether it is still open, for a reason that may pass by itself (not refused credentials).
    pub fn is_waiting(&self, now: Instant) -> bool {
        matches!(self.state, State::Open { until, auth: false, .. } if now < until)
    }

    /// How many of `limit` slots are usable now: fewer than all while recovering.
    pub fn usable(&self, limit: u32, now: Instant) -> u32 {
        self.ramp().map_or(limit, |ramp| ramp.usable(limit, now))
    }

    /// When one more slot becomes usable by itself.
    pub fn next_step(&self, limit: u32, now: Instant) -> Option<Instant> {
        self.ramp().and_then(|ramp| ramp.next_step(limit, now))
    }

    /// The state by name and how long until the next probe is allowed (zero unless it is open).
    pub fn state(&self, now: Instant) -> (BreakerState, Duration) {
        match self.state {
            State::Closed { .. } => (BreakerState::Closed, Duration::ZERO),
            State::HalfOpen { .. } => (BreakerState::HalfOpen, Duration::ZERO),
            State::Open { until, auth, .. } => {
                let left = until.saturating_duration_since(now);
                let state = match (left.is_zero(), auth) {
                    (true, _) => BreakerState::HalfOpen,
                    (false, true) => BreakerState::AuthFailed,
                    (false, false) => BreakerState::Open,
                };
                (state, left)
            }
        }
    }

    /// Whether a new breaker would behave the same.
    pub fn is_pristine(&self, now: Instant) -> bool {
        let closed = matches!(self.state, State::Closed { .. });
        let recovered = self.ramp().is_none_or(|ramp| ramp.is_over(now));
        closed && recovered && self.streak == 0 && self.failures.count(now) == 0
    }

    /// After a full recovery the pauses begin short again.
    fn forget_old_openings(&mut self, ramp: Option<Ramp>, now: Instant) {
        if ramp.is_none_or(|ramp| ramp.is_over(now)) {
            self.opened = 0;
        }
    }

    fn open(&mut self, auth: bool, now: Instant, unit: f64) -> bool {
        let time = if auth {
            AUTH_RETRY
        } else {
            let doubled = self.policy.open.saturating_mul(1 << self.opened.min(20));
            doubled.min(self.policy.max_open).min(LONGEST_PAUSE)
        };
        let time = spread(time, unit);
        if !auth {
            self.opened = self.opened.saturating_add(1);
        }
        self.streak = 0;
        self.successes.clear();
        self.failures.clear();
        self.state = State::Open { since: now, until: now + time, auth };
        true
    }

    fn ramp(&self) -> Option<Ramp> {
        match self.state {
            State::Closed { ramp } => ramp,
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
