//! Decisions of callers' limits. Names of keys are not labels: there may be many, and they change. What is told of
//! each key is in [`keys`](super::keys).

use super::metrics::METRICS;
use crate::chat::EdgeReason;

/// The decision of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitDecision {
    /// The limits of the caller allow the request.
    Allowed,
    /// A limit refuses it.
    Refused(EdgeReason),
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
    /// Counts the decision. The refused request counts among all refusals when it ends.
    pub fn emit(self) {
        METRICS.rate_limit.with_label_values(&[self.decision.as_str()]).inc();
    }
}
