//! Why a job was refused, and when the client may retry.
//!
//! Owns the closed list of reasons and the bounds of `Retry-After`. The provider decides which kind
//! of error a reason becomes (`provider/refusal_error.rs`).

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::backoff;
use crate::chat::Reason;

/// A job was refused, at the admission check or while it waited in line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// The earlier failure behind it, worded for every caller.
    pub cause: Option<Arc<str>>,
    /// How long the reason is expected to last.
    pub expected: Duration,
    /// When a retry makes sense: 1 to 60 s, spread by ± 20 % so that refused clients do not retry
    /// together.
    pub retry_after: Duration,
}

/// Why a job was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// The line is full.
    QueueFull,
    /// The predicted wait ends after its deadline, or after the longest wait allowed.
    PredictedWait,
    /// Others wait, and its caller already has half of the line.
    OverShare,
    /// It was the newest job of the longest queue when another caller's job reached a full line, or
    /// batch work in a full line.
    PushedOut,
    /// It waited as long as the operator allows without getting a slot.
    WaitedTooLong,
    /// Its deadline passed.
    DeadlinePassed,
    /// The provider or the model keeps failing.
    BreakerOpen,
    /// The provider's cooldown lasts longer than the job can wait.
    CoolingDown,
    /// The provider does not accept our credentials.
    AuthFailed,
    /// The same request has made the model fail again and again.
    Quarantined,
    /// The provider is being drained.
    Draining,
}

/// The assumed hold time while nothing has been measured yet.
pub(super) const UNMEASURED: Duration = Duration::from_secs(2);
/// When to retry at a provider that is being drained.
pub(super) const DRAINING: Duration = Duration::from_secs(10);

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

impl Refusal {
    /// A refusal that expects the reason to be gone after `expected`; `unit` (0 to 1) spreads it by
    /// ± 20 %.
    pub fn new(reason: RefusalReason, expected: Duration, unit: f64) -> Self {
        let bounded = expected.clamp(SHORTEST, LONGEST);
        let spread = backoff::spread(bounded, unit);
        Self { reason, cause: None, expected, retry_after: spread.clamp(SHORTEST, LONGEST) }
    }
}

impl RefusalReason {
    /// The reason as everybody else knows it.
    pub fn reason(self) -> Reason {
        match self {
            Self::QueueFull => Reason::QueueFull,
            Self::PredictedWait => Reason::PredictedWait,
            Self::OverShare => Reason::OverShare,
            Self::PushedOut => Reason::PushedOut,
            Self::WaitedTooLong => Reason::WaitedTooLong,
            Self::DeadlinePassed => Reason::DeadlinePassed,
            Self::BreakerOpen => Reason::BreakerOpen,
            Self::CoolingDown => Reason::CoolingDown,
            Self::AuthFailed => Reason::AuthFailed,
            Self::Quarantined => Reason::Quarantined,
            Self::Draining => Reason::Draining,
        }
    }

    /// The reason in one word.
    pub fn name(self) -> &'static str {
        self.reason().as_str()
    }

    /// The label of the metric that counts decisions of the admission check.
    pub fn decision(self) -> &'static str {
        match self {
            Self::QueueFull | Self::OverShare | Self::PushedOut => "queue_full",
            Self::PredictedWait | Self::WaitedTooLong | Self::DeadlinePassed => "predicted_wait",
            Self::BreakerOpen | Self::CoolingDown | Self::AuthFailed => "breaker",
            Self::Quarantined => "quarantine",
            Self::Draining => "draining",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_bounded_and_spread() {
        for (expected, unit, seconds) in [
            (0, 0.0, 1.0),
            (0, 1.0, 1.2),
            (10, 0.0, 8.0),
            (10, 0.5, 10.0),
            (10, 1.0, 12.0),
            (60, 1.0, 60.0),
            (60, 0.0, 48.0),
            (86_400, 0.0, 48.0),
        ] {
            let expected = Duration::from_secs(expected);
            let refusal = Refusal::new(RefusalReason::QueueFull, expected, unit);
            let spread = refusal.retry_after.as_secs_f64();
            assert!((spread - seconds).abs() < 1e-6, "{expected:?} {unit}: {spread}");
        }
    }
}
