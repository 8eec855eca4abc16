//! Decisions of callers' limits. Names of keys are not labels: there may be many, and they change.

use super::metrics::{METRICS, NO_PROVIDER};
use crate::chat::Reason;

/// The decision of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitDecision {
    /// The limits of the caller allow the request.
    Allowed,
    /// A limit refuses it.
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

/// A limit decided about a request.
#[derive(Debug)]
pub struct Limited {
    /// The decision.
    pub decision: LimitDecision,
}

impl Limited {
    /// Counts the decision, and a refusal among all refusals too.
    pub fn emit(self) {
        let word = self.decision.as_str();
        METRICS.rate_limit.with_label_values(&[word]).inc();
        if self.decision != LimitDecision::Allowed {
            METRICS.refusals.with_label_values(&[NO_PROVIDER, word]).inc();
        }
    }
}
