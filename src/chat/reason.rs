//! Why a gate or a limit refuses a request: one word of a closed set, the same in answers, metrics, logs and snapshots.

/// The reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The line has no place.
    QueueFull,
    /// Its turn would come too late.
    PredictedWait,
    /// Its caller holds half of the line, and others wait.
    OverShare,
    /// Its place went to somebody else.
    PushedOut,
    /// It waited as long as the operator allows.
    WaitedTooLong,
    /// Its deadline passed in the line.
    DeadlinePassed,
    /// The provider or the model kept failing.
    BreakerOpen,
    /// The provider asked to be left alone.
    CoolingDown,
    /// The provider refuses the gateway's credentials.
    AuthFailed,
    /// The request made the model fail again and again.
    Quarantined,
    /// The operator empties the provider.
    Draining,
    /// The key has used its requests.
    Requests,
    /// The key has used its tokens of the minute.
    TokensPerMinute,
    /// The key has used its tokens of the day.
    TokensPerDay,
    /// The key has as many requests under way as it may.
    Concurrency,
    /// The request needs more tokens than its key ever has.
    TooLarge,
    /// Too many invalid keys came from the address.
    Failures,
}

impl Reason {
    /// The word.
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
            Self::Requests => "requests",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::TokensPerDay => "tokens_per_day",
            Self::Concurrency => "concurrency",
            Self::TooLarge => "too_large",
            Self::Failures => "failures",
        }
    }
}
