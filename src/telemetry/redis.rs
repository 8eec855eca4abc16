//! What happens between the gateway and its Redis.
//!
//! It owns the metrics of it, which exist only where there is a Redis, so that a gateway without one does not seem to
//! have lost it. Losing it is told once, and so is finding it again; operations are only counted.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge};

use super::metrics;

/// The metrics, each by its field's name with `llm_gateway_redis_` before it.
static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    up: metrics::number("redis_up", "Whether the Redis answers: 1 or 0."),
    operations: metrics::counter(
        "redis_operations_total",
        "Operations at the Redis by how they ended.",
        &["outcome"],
    ),
});

struct Metrics {
    up: IntGauge,
    operations: IntCounterVec,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisOutcome {
    /// With an answer.
    Ok,
    /// Without one in time.
    Timeout,
    /// With an error of the Redis, or of the connection.
    Error,
    /// It was not tried, because the Redis is not available.
    Skipped,
    /// It was not tried, because too many others were under way.
    Full,
}

impl RedisOutcome {
    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Error => "error",
            Self::Skipped => "skipped",
            Self::Full => "full",
        }
    }
}

/// An operation ended.
#[derive(Debug)]
pub struct RedisOperated {
    /// How.
    pub outcome: RedisOutcome,
}

impl RedisOperated {
    /// Counts it.
    pub fn emit(self) {
        METRICS.operations.with_label_values(&[self.outcome.as_str()]).inc();
    }
}

/// The Redis answers, for the first time or again.
#[derive(Debug)]
pub struct RedisFound<'a> {
    /// Its address, password masked.
    pub url: &'a str,
    /// How long it was away; `None` at the start.
    pub away: Option<Duration>,
}

impl RedisFound<'_> {
    /// Moves the gauge and writes the line.
    pub fn emit(self) {
        METRICS.up.set(1);
        let away_ms =
            self.away.map_or(0, |away| u64::try_from(away.as_millis()).unwrap_or(u64::MAX));
        log::info!(target: "redis", url = self.url, away_ms = away_ms; "the redis answers");
    }
}

/// The Redis does not answer any more, or did not at the start.
#[derive(Debug)]
pub struct RedisLost<'a> {
    /// Its address, password masked.
    pub url: &'a str,
    /// What went wrong.
    pub cause: &'a str,
}

impl RedisLost<'_> {
    /// Moves the gauge and writes the line.
    pub fn emit(self) {
        METRICS.up.set(0);
        log::warn!(
            target: "redis",
            url = self.url,
            cause = self.cause;
            "the redis is not available: until it is back each gateway keeps to its own part of the limits"
        );
    }
}
