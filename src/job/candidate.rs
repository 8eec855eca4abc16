//! The candidates that may answer a job.

use std::sync::Arc;

/// A model at a provider that may answer a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The configured name of the provider.
    pub provider: Arc<str>,
    /// The model's name there.
    pub model: Arc<str>,
    /// The size of its context in tokens, if its route declares one.
    pub context: Option<u64>,
    /// Its part in the route; `None` without a route.
    pub part: Option<RoutePart>,
}

/// A candidate's part in its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoutePart {
    /// A target of the route.
    Target,
    /// A fallback, for when no target answers.
    Fallback,
}

impl Candidate {
    /// Whether it is declared to take no more tokens than `other`; false unless both are declared.
    #[must_use]
    pub fn is_no_larger_than(&self, other: &Self) -> bool {
        matches!((self.context, other.context), (Some(own), Some(others)) if own <= others)
    }
}
