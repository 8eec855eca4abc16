//! `health = { … }`: how a provider's health is checked, without any prompt.
//!
//! Owns the fields and their defaults; ranges are checked when the configuration is loaded.
//!
//! The trap: `interval` is for a provider that works, and is off by default; `recovery` is for one
//! whose breaker is open, and is on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `health = { … }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthSettings {
    /// How often a provider is checked while it works. Default 0: never, its answers to requests
    /// say enough.
    #[serde(with = "crate::units::duration")]
    pub interval: Duration,
    /// How often it is checked while its breaker, or that of one of its models, is open, so that it
    /// is used again soon after it recovers. Default 10 s; 0: never, only the breaker's open time
    /// counts.
    #[serde(with = "crate::units::duration")]
    pub recovery: Duration,
    /// How long an answer may take, connecting included. Default 5 s, more than 0.
    #[serde(with = "crate::units::duration")]
    pub timeout: Duration,
    /// Failures in a row, without any answer to a request between them, that open its breaker, 1 to
    /// 1000. Default 3, HAProxy's `fall`.
    pub failures: u32,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            interval: Duration::ZERO,
            recovery: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            failures: 3,
        }
    }
}
