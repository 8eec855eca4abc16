//! Events of the link to Redis.
//!
//! It owns the metrics of Redis, which exist only if Redis is configured, so that a gateway without
//! it does not seem to have lost it. A lost and a restored connection are logged once each;
//! operations are only counted.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge};

use super::metrics;

/// The metrics, each named after its field, with the prefix `llm_gateway_redis_`.
static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    up: metrics::number("redis_up", "Whether Redis answers: 1 or 0."),
    operations: metrics::counter(
        "redis_operations_total",
        "Redis operations by outcome.",
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
    /// It was answered.
    Ok,
    /// It was not answered in time.
    Timeout,
    /// Redis or the connection had an error.
    Error,
    /// It was not tried, because Redis is unavailable.
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
    /// The outcome.
    pub outcome: RedisOutcome,
}

impl RedisOperated {
    /// Counts it.
    pub fn emit(self) {
        METRICS.operations.with_label_values(&[self.outcome.as_str()]).inc();
    }
}

/// Redis answers, for the first time or again.
#[derive(Debug)]
pub struct RedisConnected<'a> {
    /// Its address, password masked.
    pub url: &'a str,
    /// How long it was unavailable; `None` at the start.
    pub away: Option<Duration>,
}

impl RedisConnected<'_> {
    /// Sets the gauge and writes the line.
    pub fn emit(self) {
        METRICS.up.set(1);
        let away_ms =
            self.away.map_or(0, |away| u64::try_from(away.as_millis()).unwrap_or(u64::MAX));
        log::info!(target: "redis", url = self.url, away_ms = away_ms; "the redis answers");
    }
}

/// Redis does not answer any more, or did not at the start.
#[derive(Debug)]
pub struct RedisDisconnected<'a> {
    /// Its address, password masked.
    pub url: &'a str,
    /// The error.
    pub cause: &'a str,
}

impl RedisDisconnected<'_> {
    /// Sets the gauge and writes the line.
    pub fn emit(self) {
        METRICS.up.set(0);
        log::warn!(
            target: "redis",
            url = self.url,
            cause = self.cause;
            "the redis is not available: until it is, each gateway enforces its own part of the limits"
        );
    }
}
