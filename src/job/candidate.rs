//! Who may answer a job.

use std::sync::Arc;

/// A model at a provider that may answer a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The configured name of the provider.
    pub provider: Arc<str>,
    /// The model's name there.
    pub model: Arc<str>,
    /// How many tokens it takes, where the route that leads to it says so.
    pub context: Option<u64>,
    /// What it is of the route that leads to it; `None` without one.
    pub part: Option<RoutePart>,
}

/// What a candidate is of its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoutePart {
    /// One of those that are to answer.
    Target,
    /// One that answers when they do not.
    Fallback,
}

impl Candidate {
    /// Whether it is declared to take no more tokens than `other`, which nobody knows unless both are declared.
    #[must_use]
    pub fn is_no_larger_than(&self, other: &Self) -> bool {
        matches!((self.context, other.context), (Some(own), Some(others)) if own <= others)
    }
}
