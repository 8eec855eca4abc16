//! The section `[cache]`: whether answers are used again, for how long, and for whom; and `[responses]`, what callers of
//! `/v1/responses` may go on with.
//!
//! Owns the fields, their units and their defaults; what they mean together is checked when the configuration is
//! loaded. Refuses unknown fields.
//!
//! The one thing to know: without a `ttl` nothing is kept, and identical requests in flight still share one call.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[cache]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// How long an answer is used again. Default 0: answers are not kept.
    #[serde(with = "crate::units::duration")]
    pub ttl: Duration,
    /// The most that the answers kept in memory may take, in bytes. Default 64 MiB: several thousand long answers.
    #[serde(with = "crate::units::size")]
    pub max_size: u64,
    /// The largest answer that is kept, and the most of an answer in flight that is held for those who join late, in
    /// bytes; more than 0. In flight a token takes about a hundred. Default 2 MiB.
    #[serde(with = "crate::units::size")]
    pub max_answer: u64,
    /// Whether identical requests in flight share one call. Default true.
    pub coalesce: bool,
    /// Whether callers share answers with each other. Default false: each caller has answers of its own.
    pub shared: bool,
    /// Whether requests count whose answer would differ each time. Default false: only embeddings, chats with
    /// `temperature` 0, and whoever asks for it with `x-gateway-cache: allow`.
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
    /// How long a caller may go on with a response by its id. Default 1 h; 0: none is kept.
    #[serde(with = "crate::units::duration")]
    pub ttl: Duration,
    /// The most that the responses kept in memory may take, in bytes. Default 32 MiB.
    #[serde(with = "crate::units::size")]
    pub max_size: u64,
}

impl Default for ResponsesSettings {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(3600), max_size: 32 << 20 }
    }
}
