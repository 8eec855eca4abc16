//! What the cache did for a request.

use super::metrics::METRICS;

/// What a request found that may be answered by what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// An answer that was kept.
    Hit,
    /// Nothing, although answers are kept.
    Miss,
    /// A call in flight that asks the same.
    Shared,
}

impl CacheResult {
    /// The label, and the value of `x-gateway-cache`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Shared => "shared",
        }
    }

    /// Counts it: once for each request in which the cache took part.
    pub fn emit(self) {
        METRICS.cache.with_label_values(&[self.as_str()]).inc();
    }
}
