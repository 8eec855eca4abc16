//! Readings of the configuration: at the start, and while the gateway runs.
//!
//! The one thing to know: the gauges describe the last reading. A refused one has no other effect,
//! so operators who do not read the log learn of it here.

use std::sync::LazyLock;
use std::time::SystemTime;

use prometheus::IntGauge;

use super::journal::{FailureKind, JOURNAL};
use super::metrics;

static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    successful: metrics::number(
        "config_last_reload_successful",
        "Whether the configuration that was last read is in force: 1, or 0 if it is refused.",
    ),
    timestamp: metrics::number(
        "config_last_reload_timestamp_seconds",
        "When the configuration was last read, successfully or not.",
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
    /// What differs from it, each in words.
    pub changed: &'a [String],
    /// Keys that changed in the file but are overridden by an environment variable, and that
    /// variable.
    pub overridden: &'a [(String, String)],
    /// Keys that changed and take effect at the next start.
    pub next_start: &'a [&'static str],
}

impl ConfigRead<'_> {
    /// Sets the gauges and writes the lines.
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
            let changed = changed(self.changed);
            log::info!(target: "llm_gateway", "the configuration was read again: {changed}");
        }
    }
}

/// The configuration was read and is refused; the previous one stays.
#[derive(Debug)]
pub struct ConfigRefused<'a> {
    /// The problems, one per line; at least one.
    pub problems: &'a [String],
    /// Whether the same content was refused before.
    pub is_known: bool,
}

impl ConfigRefused<'_> {
    /// Sets the gauges, and writes the line unless the problems are known.
    pub fn emit(self) {
        note(self.problems);
        if self.is_known {
            log::info!(target: "llm_gateway", "the configuration still has the problems that were logged before");
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

/// What has changed, in a line of bounded length.
fn changed(changes: &[String]) -> String {
    const MOST: usize = 20;
    if changes.is_empty() {
        return "nothing has changed".to_owned();
    }
    let told: Vec<&str> = changes.iter().take(MOST).map(String::as_str).collect();
    let more = changes.len().saturating_sub(MOST);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", told.join(", "))
}

fn note(problems: &[String]) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    METRICS.successful.set(i64::from(problems.is_empty()));
    METRICS.timestamp.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    JOURNAL.configured(problems);
}
