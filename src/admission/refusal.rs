//! Why a job was refused, and when the client may retry.
//!
//! Owns the bounds of `Retry-After` and the metric's label of each reason. The provider decides
//! which kind of error a reason becomes (`provider/refusal_error.rs`).

use std::sync::Arc;
use std::time::Duration;

use super::backoff;
use crate::chat::{RefusalReason, Waiting};

/// A job was refused, at the admission check or while it waited in line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// Where the job stands, or would stand, if that is in front of the load of its model.
    pub waiting: Option<Waiting>,
    /// The earlier failure behind it, worded for every caller.
    pub cause: Option<Arc<str>>,
    /// How long the reason is expected to last.
    pub expected: Duration,
    /// When a retry makes sense: 1 to 60 s, spread so that refused clients do not retry together: by
    /// ± 20 %, or by + 20 % where a retry before `expected` would be refused again.
    pub retry_after: Duration,
}

/// The assumed hold time while nothing has been measured yet.
pub(super) const UNMEASURED: Duration = Duration::from_secs(2);
/// When to retry at a provider that is being drained.
pub(super) const DRAINING: Duration = Duration::from_secs(10);

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const SPREAD: f64 = 0.2;

impl Refusal {
    /// A refusal that expects the reason to be gone after `expected`; `unit` (0 to 1) spreads it.
    pub fn new(reason: RefusalReason, expected: Duration, unit: f64) -> Self {
        let bounded = expected.clamp(SHORTEST, LONGEST);
        let spread = if ends_at_a_known_time(reason) {
            bounded.mul_f64(1.0 + SPREAD * unit)
        } else {
            backoff::spread(bounded, unit)
        };
        let retry_after = spread.clamp(SHORTEST, LONGEST);
        Self { reason, waiting: None, cause: None, expected, retry_after }
    }

    /// The label of the metric that counts decisions of the admission check.
    pub fn decision(&self) -> &'static str {
        match self.reason {
            RefusalReason::QueueFull | RefusalReason::OverShare | RefusalReason::PushedOut => {
                "queue_full"
            }
            RefusalReason::PredictedWait
            | RefusalReason::WaitedTooLong
            | RefusalReason::DeadlinePassed => "predicted_wait",
            RefusalReason::BreakerOpen | RefusalReason::CoolingDown | RefusalReason::AuthFailed => {
                "breaker"
            }
            RefusalReason::Quarantined => "quarantine",
            RefusalReason::Draining => "draining",
        }
    }
}

/// Whether the gate knows when the reason will be gone, and predicts nothing.
fn ends_at_a_known_time(reason: RefusalReason) -> bool {
    match reason {
        RefusalReason::BreakerOpen
        | RefusalReason::CoolingDown
        | RefusalReason::AuthFailed
        | RefusalReason::Quarantined => true,
        RefusalReason::QueueFull
        | RefusalReason::PredictedWait
        | RefusalReason::OverShare
        | RefusalReason::PushedOut
        | RefusalReason::WaitedTooLong
        | RefusalReason::DeadlinePassed
        | RefusalReason::Draining => false,
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

    #[test]
    fn nobody_is_sent_back_before_a_pause_ends() {
        for (unit, seconds) in [(0.0, 10.0), (0.5, 11.0), (1.0, 12.0)] {
            let ten = Duration::from_secs(10);
            let refusal = Refusal::new(RefusalReason::BreakerOpen, ten, unit);
            let told = refusal.retry_after.as_secs_f64();
            assert!((told - seconds).abs() < 1e-6, "{unit}: {told}");
        }
    }
}
