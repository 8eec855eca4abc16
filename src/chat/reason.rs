//! Why a gate or a limit refuses a request: one word of a closed set, the same in answers, metrics,
//! logs and snapshots.

use serde::{Serialize, Serializer};

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A provider's gate refused it.
    Gate(RefusalReason),
    /// The key has used its requests.
    Requests,
    /// The key has used its tokens of the minute.
    TokensPerMinute,
    /// The key has used its tokens of the day.
    TokensPerDay,
    /// The key already has as many requests under way as it may.
    Concurrency,
    /// The request needs more tokens than its key's limit.
    TooLarge,
    /// Too many invalid keys came from the address.
    Failures,
}

impl Reason {
    /// The reason in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gate(reason) => reason.as_str(),
            Self::Requests => "requests",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::TokensPerDay => "tokens_per_day",
            Self::Concurrency => "concurrency",
            Self::TooLarge => "too_large",
            Self::Failures => "failures",
        }
    }
}

/// Why a provider's gate refused a job, at the admission check or while it waited in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl RefusalReason {
    /// The reason in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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
}

impl Serialize for RefusalReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
