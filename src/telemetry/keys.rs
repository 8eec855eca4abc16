//! The metrics of keys, and of the line that they wait in.
//!
//! They are set from the snapshots at each scrape. The one thing to know: names of keys are labels
//! here and nowhere else, and no more than [`MOST`] of them, those with the most requests: an
//! operator's keys are few, but nothing else says so.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use super::journal::JOURNAL;
use super::metrics;

/// How many keys have metrics.
const MOST: usize = 200;

static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    in_flight: metrics::gauge_with("key_in_flight", "Requests of a key under way.", &["key"]),
    queued: metrics::gauge_with("key_queued", "Requests of a key in lines.", &["key"]),
    requests: metrics::counter(
        "key_requests_total",
        "Requests of a key that ended: all of them, and those answered, refused, failed or left.",
        &["key", "ended"],
    ),
    predicted_wait: metrics::seconds(
        "predicted_wait_seconds",
        "How long a newcomer at the very end of a provider's line would wait.",
        &["provider"],
    ),
});

struct Metrics {
    in_flight: IntGaugeVec,
    queued: IntGaugeVec,
    requests: IntCounterVec,
    predicted_wait: GaugeVec,
}

/// How long a newcomer would wait at a provider, at a scrape.
#[derive(Debug)]
pub struct WaitPredicted<'a> {
    /// The provider.
    pub provider: &'a str,
    /// How long.
    pub wait: Duration,
}

impl WaitPredicted<'_> {
    /// Sets the gauge.
    pub fn emit(self) {
        METRICS.predicted_wait.with_label_values(&[self.provider]).set(self.wait.as_secs_f64());
    }
}

/// Who waits, at a scrape; what else is known of keys is taken from the journal.
#[derive(Debug)]
pub struct KeysState {
    /// How many requests of each key wait, at all providers together.
    pub queued: BTreeMap<Arc<str>, u64>,
}

impl KeysState {
    /// Sets the gauges and counters.
    pub fn emit(self) {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut callers = JOURNAL.callers();
        callers.sort_by_key(|(_, usage)| std::cmp::Reverse(usage.requests));
        callers.truncate(MOST);
        // Keys that are no more, or not among the most any longer.
        METRICS.in_flight.reset();
        METRICS.queued.reset();
        for (key, usage) in callers {
            METRICS.in_flight.with_label_values(&[&key]).set(count(usage.in_flight));
            let queued = self.queued.get(&key).copied().unwrap_or_default();
            METRICS.queued.with_label_values(&[&key]).set(count(queued));
            for (ended, total) in [
                ("any", usage.requests),
                ("answered", usage.ok),
                ("refused", usage.refused),
                ("failed", usage.failed),
                ("left", usage.left),
            ] {
                let counter = METRICS.requests.with_label_values(&[&key, ended]);
                counter.inc_by(total.saturating_sub(counter.get()));
            }
        }
    }
}
