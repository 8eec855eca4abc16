//! What was decided about callers' limits. Names of keys are no labels: there may be many, and they come and go.

use super::metrics::{METRICS, NO_PROVIDER};

/// What a limit said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitDecision {
    /// A caller with limits may go on.
    Allowed,
    /// Its requests are used up.
    Requests,
    /// Too many of its requests are under way.
    Concurrency,
    /// Its tokens of the minute are used up.
    TokensPerMinute,
    /// Its tokens of the day are used up.
    TokensPerDay,
    /// The request needs more tokens than its key ever has.
    TooLarge,
    /// Too many invalid keys came from the client's address.
    Failures,
}

impl LimitDecision {
    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Requests => "requests",
            Self::Concurrency => "concurrency",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::TokensPerDay => "tokens_per_day",
            Self::TooLarge => "too_large",
            Self::Failures => "failures",
        }
    }
}

/// A limit was asked.
#[derive(Debug)]
pub struct Limited {
    /// What it said.
    pub decision: LimitDecision,
}

impl Limited {
    /// Counts the decision, a refusal also among all refusals.
    pub fn emit(self) {
        let word = self.decision.as_str();
        METRICS.rate_limit.with_label_values(&[word]).inc();
        if self.decision != LimitDecision::Allowed {
            METRICS.refusals.with_label_values(&[NO_PROVIDER, word]).inc();
        }
    }
}
