//! The loads of models: each counts once, by its cause.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::metrics;

static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    loads: metrics::counter(
        "model_loads_total",
        "Models loaded by servers whose loads are scheduled, by who caused it.",
        &["provider", "model", "by"],
    ),
    loaded: metrics::gauge_with(
        "model_loaded",
        "Models that servers were last seen to have loaded.",
        &["provider", "model"],
    ),
    seconds: metrics::histogram(
        "model_load_seconds",
        "How long the loads took that the gateway ordered.",
    ),
});

struct Metrics {
    loads: IntCounterVec,
    loaded: IntGaugeVec,
    seconds: HistogramVec,
}

/// The cause of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadedBy<'a> {
    /// The gateway ordered it, and it took so long.
    Gateway {
        /// Its name, for the log line.
        name: &'a str,
        /// From the order to the model being loaded.
        took: Duration,
    },
    /// An Ollama loaded it for a call by the gateway or by another client.
    Ollama,
    /// Another server did.
    Server,
}

/// A server said what it has loaded.
#[derive(Debug)]
pub struct ModelsLoaded<'a> {
    /// At this provider.
    pub provider: &'a str,
    /// How many models of each label; 0 for those that are loaded no more.
    pub counts: &'a BTreeMap<&'a str, i64>,
}

impl ModelsLoaded<'_> {
    /// Moves the gauge.
    pub fn emit(self) {
        for (model, count) in self.counts {
            METRICS.loaded.with_label_values(&[self.provider, model]).set(*count);
        }
    }
}

/// A model was loaded.
#[derive(Debug)]
pub struct ModelLoaded<'a> {
    /// At this provider.
    pub provider: &'a str,
    /// Its name, where that may be a label.
    pub model: &'a str,
    /// Its cause.
    pub by: LoadedBy<'a>,
}

impl ModelLoaded<'_> {
    /// Counts it, and tells of the gateway's own.
    pub fn emit(self) {
        let Self { provider, model, by } = self;
        let word = match by {
            LoadedBy::Gateway { name, took } => {
                METRICS.seconds.with_label_values(&[provider]).observe(took.as_secs_f64());
                let load_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                log::info!(target: "loads", provider = provider, model = name, load_ms = load_ms; "model loaded");
                "gateway"
            }
            LoadedBy::Ollama => "ollama",
            LoadedBy::Server => "server",
        };
        METRICS.loads.with_label_values(&[provider, model, word]).inc();
    }
}
