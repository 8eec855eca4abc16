//! The section `[cache]`: whether answers are reused, for how long, and for whom; and
//! `[responses]`: which responses callers of `/v1/responses` may continue.
//!
//! Owns the fields, their units and their defaults; their combination is checked when the
//! configuration is loaded. Refuses unknown fields.
//!
//! The one thing to know: without a `ttl` nothing is cached, but identical requests in flight still
//! share one call.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[cache]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// How long an answer is reused. Default 0: answers are not cached.
    #[serde(with = "crate::units::duration")]
    pub ttl: Duration,
    /// The most bytes that answers cached in memory may take. Default 64 MiB: several thousand long
    /// answers.
    #[serde(with = "crate::units::size")]
    pub max_size: u64,
    /// The largest cached answer, and the most of an answer in flight that is held for requests
    /// that join late, in bytes; more than 0. In flight a token takes about a hundred. Default 2
    /// MiB.
    #[serde(with = "crate::units::size")]
    pub max_answer: u64,
    /// Whether identical requests in flight share one call. Default true.
    pub coalesce: bool,
    /// Whether callers share answers with each other. Default false: each caller has its own
    /// answers.
    pub shared: bool,
    /// Whether answers that would differ each time are reused too. Default false: only embeddings,
    /// chats with `temperature` 0, and requests with `x-gateway-cache: allow`.
    pub nondeterministic: bool,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            ttl: Duration::ZERO,
            max_size: 64 << 20,
            max_answer: 2 << 20,
            coalesce: true,
            shared: false,
            nondeterministic: false,
        }
    }
}

/// `[responses]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResponsesSettings {
    /// How long a caller may continue a response by its id. Default 1 h; 0: none is stored.
    #[serde(with = "crate::units::duration")]
    pub ttl: Duration,
    /// The most bytes that responses in memory may take. Default 32 MiB.
    #[serde(with = "crate::units::size")]
    pub max_size: u64,
}

impl Default for ResponsesSettings {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(3600), max_size: 32 << 20 }
    }
}
