//! Why a job was turned away, and when it may come back.
//!
//! Owns the closed list of reasons and the bounds of `Retry-After`. Which kind of error a reason becomes is
//! the provider's to say (`provider/refusal_error.rs`).

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// A job was turned away, at the door or out of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// What happened earlier that it stands on, in words for every caller.
    pub cause: Option<Arc<str>>,
    /// How long the reason is expected to last.
    pub expected: Duration,
    /// When it makes sense to come back: 1 to 60 s, spread by ± 20 % so that the refused do not return together.
    pub retry_after: Duration,
}

/// Why a job was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// The line is full.
    QueueFull,
    /// Its turn would come after its deadline, or after the longest wait allowed.
    PredictedWait,
    /// Others wait, and its caller already holds half of the line.
    OverShare,
    /// It was its caller's newest in the longest queue when somebody else came to a full line, or batch work in a full line.
    PushedOut,
    /// It waited as long as the operator allows, and its turn had not come.
    WaitedTooLong,
    /// Its deadline passed.
    DeadlinePassed,
    /// The provider or the model keeps failing.
    BreakerOpen,
    /// The provider asked to be left alone for longer than the job can wait.
    CoolingDown,
    /// The provider does not accept our credentials.
    AuthFailed,
    /// The same request made the model fail again and again.
    Quarantined,
    /// The provider is being emptied.
    Draining,
}

/// What the reason is based on when nothing has been measured yet.
pub(super) const UNMEASURED: Duration = Duration::from_secs(2);
/// When to come back to a provider that is being emptied.
pub(super) const DRAINING: Duration = Duration::from_secs(10);

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

impl Refusal {
    /// A refusal that expects the reason to be gone after `expected`; `unit` (0 to 1) spreads it by ± 20 %.
    pub fn new(reason: RefusalReason, expected: Duration, unit: f64) -> Self {
        let bounded = expected.clamp(SHORTEST, LONGEST);
        let spread = bounded.mul_f64(0.8 + 0.4 * unit.clamp(0.0, 1.0));
        Self { reason, cause: None, expected, retry_after: spread.clamp(SHORTEST, LONGEST) }
    }
}

impl RefusalReason {
    /// The reason in one word, as snapshots have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::PredictedWait => "predicted_wait",
            Self::OverShare => "over_share",
            Self::PushedOut => "pushed_out",
            Self::WaitedTooLong => "waited_too_long",
            Self::DeadlinePassed => "deadline_passed",
            Self::BreakerOpen => "breaker_open",
            Self::CoolingDown => "cooling_down",
            Self::AuthFailed => "auth_failed",
            Self::Quarantined => "quarantined",
            Self::Draining => "draining",
        }
    }

    /// The label of the metric that counts decisions at the door.
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
