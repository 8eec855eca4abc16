//! The result of the cache for a request.

use super::metrics::METRICS;

/// What the cache found for a request whose answer may be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// A cached answer.
    Hit,
    /// Nothing, although answers are cached.
    Miss,
    /// An identical call in flight.
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

    /// Counts it: once for each request that uses the cache.
    pub fn emit(self) {
        METRICS.cache.with_label_values(&[self.as_str()]).inc();
    }
}
