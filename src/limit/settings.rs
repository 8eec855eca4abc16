//! The settings of a rate: `rate = { capacity = 60, refill_per_second = 1.0 }`.
//!
//! Owns two fields and their defaults. Refuses unknown ones; the ranges are checked when the
//! configuration is loaded.

use serde::{Deserialize, Serialize};

use super::Rate;

/// A burst at once, and then the refill rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateSettings {
    /// How many at once, at most 1,000,000. Default 60; 0 means no limit.
    pub capacity: u32,
    /// How many come back each second, 0.000001 to 1,000,000. Default 1.
    pub refill_per_second: f64,
}

impl RateSettings {
    /// The rate; `None` when there is no limit.
    #[must_use]
    pub fn rate(self) -> Option<Rate> {
        let Self { capacity, refill_per_second: per_second } = self;
        (capacity > 0).then(|| Rate { capacity: f64::from(capacity), per_second })
    }
}

impl Default for RateSettings {
    fn default() -> Self {
        Self { capacity: 60, refill_per_second: 1.0 }
    }
}
