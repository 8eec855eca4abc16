//! Reading the configuration: at the start, and again while the gateway runs.
//!
//! The one thing to know: the gauges are about the last reading. One that is refused changes nothing else, so that this
//! is where somebody who does not read the log hears of it.

use std::sync::LazyLock;
use std::time::SystemTime;

use prometheus::IntGauge;

use super::journal::{FailureKind, JOURNAL};
use super::metrics;

static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    successful: metrics::number(
        "config_last_reload_successful",
        "Whether the configuration as it was read last is in force: 1, or 0 when it is refused.",
    ),
    timestamp: metrics::number(
        "config_last_reload_timestamp_seconds",
        "When the configuration was read last, whatever came of it.",
    ),
});

struct Metrics {
    successful: IntGauge,
    timestamp: IntGauge,
}

/// The configuration was read and is in force.
#[derive(Debug)]
pub struct ConfigRead<'a> {
    /// Whether another was in force before.
    pub is_again: bool,
    /// Keys that have changed in the file while a variable says something else, and that variable.
    pub overridden: &'a [(String, String)],
    /// Keys that have changed and take effect with the next start.
    pub next_start: &'a [&'static str],
}

impl ConfigRead<'_> {
    /// Moves the gauges and writes the lines.
    pub fn emit(self) {
        note(&[]);
        for (key, variable) in self.overridden {
            log::warn!(
                target: "llm_gateway",
                "{key} has changed in the file, to no effect: the environment sets it by {variable}"
            );
        }
        for key in self.next_start {
            log::warn!(target: "llm_gateway", "{key} changes with the next start");
        }
        if self.is_again {
            log::info!(target: "llm_gateway", "the configuration was read again");
        }
    }
}

/// The configuration was read and is refused; the one before stays.
#[derive(Debug)]
pub struct ConfigRefused<'a> {
    /// Why, each in a line of its own; at least one.
    pub problems: &'a [String],
    /// Whether the same was told before, of the same content.
    pub is_known: bool,
}

impl ConfigRefused<'_> {
    /// Moves the gauges, and writes the line unless it is known.
    pub fn emit(self) {
        note(self.problems);
        if self.is_known {
            log::info!(target: "llm_gateway", "what was read again has the problems that were told before");
            return;
        }
        let problems = self.problems.join("\n");
        log::error!(
            target: "llm_gateway",
            "the configuration is refused and the old one stays:\n{problems}"
        );
        let first = self.problems.first().map(String::as_str).unwrap_or_default();
        JOURNAL.failed(FailureKind::Configuration, None, first);
    }
}

fn note(problems: &[String]) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    METRICS.successful.set(i64::from(problems.is_empty()));
    METRICS.timestamp.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    JOURNAL.configured(problems);
}
