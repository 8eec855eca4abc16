//! What was decided about callers' limits. Names of keys are no labels: there may be many, and they come and go.

use super::metrics::{METRICS, NO_PROVIDER};
use crate::chat::Reason;

/// What a limit said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitDecision {
    /// A caller with limits may go on.
    Allowed,
    /// It may not.
    Refused(Reason),
}

impl LimitDecision {
    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused(reason) => reason.as_str(),
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
