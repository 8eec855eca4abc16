//! The Prometheus metrics, registered once for the process.
//!
//! The one thing to know: gauges about providers are set from their snapshots at each scrape; all
//! other metrics change with their events.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, TextEncoder, exponential_buckets,
};

use super::facts::ActorKind;

/// The buckets in seconds: model calls take from tens of milliseconds to ten minutes.
const SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0,
];

/// The process's metrics.
pub(super) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The metrics, each named after its field, with the prefix `llm_gateway_`.
pub(super) struct Metrics {
    pub(super) requests: IntCounterVec,
    pub(super) request_duration: HistogramVec,
    pub(super) first_token: HistogramVec,
    pub(super) queue_wait: HistogramVec,
    pub(super) overhead: Histogram,
    pub(super) in_flight: IntGaugeVec,
    pub(super) queued: IntGaugeVec,
    pub(super) max_concurrency: IntGaugeVec,
    pub(super) breaker_state: IntGaugeVec,
    pub(super) healthy: IntGaugeVec,
    pub(super) health_checks: IntCounterVec,
    pub(super) breaker_shifts: IntCounterVec,
    pub(super) mailbox_depth: IntGaugeVec,
    pub(super) quarantined: IntGaugeVec,
    pub(super) admissions: IntCounterVec,
    pub(super) refusals: IntCounterVec,
    pub(super) attempts: IntCounterVec,
    pub(super) retries: IntCounterVec,
    pub(super) fallbacks: IntCounterVec,
    pub(super) restarts: IntCounterVec,
    pub(super) tokens: IntCounterVec,
    pub(super) prompt_tokens: IntCounterVec,
    pub(super) cache: IntCounterVec,
    pub(super) cancel: Histogram,
    pub(super) rate_limit: IntCounterVec,
}

/// The label if no provider was involved.
pub(super) const NO_PROVIDER: &str = "none";

impl Metrics {
    #[expect(clippy::too_many_lines, reason = "a list, one metric after the other")]
    fn new() -> Self {
        let build = gauge_with("build_info", "The running version.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            requests: counter(
                "requests_total",
                "Requests by outcome.",
                &["dialect", "provider", "outcome"],
            ),
            request_duration: histogram(
                "request_duration_seconds",
                "From a request's arrival to the end of its answer.",
            ),
            first_token: histogram(
                "time_to_first_token_seconds",
                "From a request's arrival to the first piece of its answer.",
            ),
            queue_wait: histogram(
                "queue_wait_seconds",
                "Time requests spent in a provider's line.",
            ),
            overhead: single(
                "overhead_seconds",
                "The gateway's own time: total minus queueing and upstream.",
                overhead_buckets(),
            ),
            in_flight: gauge("in_flight", "Calls running at a provider."),
            queued: gauge("queued", "Requests waiting in a provider's line."),
            max_concurrency: gauge("max_concurrency", "Calls a provider may run at once."),
            breaker_state: gauge(
                "breaker_state",
                "The provider or its worst model: 0 closed, 1 half-open, 2 open, 3 not authorised.",
            ),
            healthy: gauge(
                "healthy",
                "Whether a provider passes its health checks; absent while that is unknown.",
            ),
            health_checks: counter(
                "health_checks_total",
                "Health checks of a provider by result.",
                &["provider", "outcome"],
            ),
            breaker_shifts: counter(
                "breaker_shifts_total",
                "How often the breaker of the provider or of one of its models opened or closed.",
                &["provider", "to"],
            ),
            mailbox_depth: gauge(
                "mailbox_depth",
                "Messages waiting in the provider actors' mailboxes.",
            ),
            quarantined: gauge(
                "quarantined",
                "Requests in quarantine because they made a model fail repeatedly.",
            ),
            admissions: counter(
                "admissions_total",
                "Decisions at a provider's gate.",
                &["provider", "decision"],
            ),
            refusals: counter(
                "refusals_total",
                "Requests turned away by reason, at a provider's gate or (provider none) before.",
                &["provider", "reason"],
            ),
            attempts: counter(
                "upstream_attempts_total",
                "Calls to a provider by outcome.",
                &["provider", "outcome"],
            ),
            retries: counter(
                "retries_total",
                "Retries at the same provider.",
                &["provider", "reason"],
            ),
            fallbacks: counter(
                "fallbacks_total",
                "Requests moved to another provider.",
                &["provider", "reason"],
            ),
            restarts: restarts(),
            tokens: counter(
                "tokens_total",
                "Tokens as counted by the provider.",
                &["provider", "model", "kind"],
            ),
            prompt_tokens: counter(
                "prompt_tokens_total",
                "Tokens of prompts, by whether they came from the provider's prompt cache.",
                &["provider", "model", "cached"],
            ),
            cache: counter("cache_total", "Requests that used the cache, by result.", &["result"]),
            cancel: single(
                "cancel_seconds",
                "From a client's disconnect to the end of its upstream call.",
                SECONDS.to_vec(),
            ),
            rate_limit: counter(
                "rate_limit_total",
                "Decisions of keys' limits, once for each request with limits.",
                &["decision"],
            ),
        }
    }
}

/// All metrics in Prometheus' text format.
#[must_use]
pub fn render() -> Vec<u8> {
    // The first scrape shows every metric that has no labels.
    LazyLock::force(&METRICS);
    let mut out = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&prometheus::gather(), &mut out) {
        log::error!("the metrics cannot be written: {error}");
    }
    out
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("llm_gateway")
}

#[expect(
    clippy::expect_used,
    reason = "names and labels are constants; a wrong one fails every test"
)]
pub(super) fn counter(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(IntCounterVec::new(opts(name, help), labels).expect("a constant description"))
}

#[expect(
    clippy::expect_used,
    reason = "names and labels are constants; a wrong one fails every test"
)]
pub(super) fn number(name: &str, help: &str) -> IntGauge {
    registered(IntGauge::with_opts(opts(name, help)).expect("a constant description"))
}

fn gauge(name: &str, help: &str) -> IntGaugeVec {
    gauge_with(name, help, &["provider"])
}

#[expect(
    clippy::expect_used,
    reason = "names and labels are constants; a wrong one fails every test"
)]
pub(super) fn gauge_with(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(IntGaugeVec::new(opts(name, help), labels).expect("a constant description"))
}

#[expect(
    clippy::expect_used,
    reason = "names and labels are constants; a wrong one fails every test"
)]
pub(super) fn seconds(name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    registered(GaugeVec::new(opts(name, help), labels).expect("a constant description"))
}

#[expect(
    clippy::expect_used,
    reason = "names and labels are constants; a wrong one fails every test"
)]
pub(super) fn histogram(name: &str, help: &str) -> HistogramVec {
    let opts = HistogramOpts::from(opts(name, help)).buckets(SECONDS.to_vec());
    registered(HistogramVec::new(opts, &["provider"]).expect("a constant description"))
}

#[expect(
    clippy::expect_used,
    reason = "names and labels are constants; a wrong one fails every test"
)]
fn single(name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
    let opts = HistogramOpts::from(opts(name, help)).buckets(buckets);
    registered(Histogram::with_opts(opts).expect("a constant description"))
}

/// Registers the metric, so that [`render`] writes it.
fn registered<C: Collector + Clone + 'static>(collector: C) -> C {
    if let Err(error) = prometheus::register(Box::new(collector.clone())) {
        log::error!("a metric cannot be registered: {error}");
    }
    collector
}

/// Starts at 0 for each kind of actor, so that an alert can see the first restart as a step.
fn restarts() -> IntCounterVec {
    let restarts = counter("restarts_total", "Actors that died and were restarted.", &["actor"]);
    for actor in [ActorKind::Router, ActorKind::Provider] {
        restarts.with_label_values(&[actor.as_str()]).inc_by(0);
    }
    restarts
}

/// 20 µs to 0.65 s, doubling.
#[expect(clippy::expect_used, reason = "constant arguments; wrong ones fail every test")]
fn overhead_buckets() -> Vec<f64> {
    exponential_buckets(0.000_02, 2.0, 16).expect("constant bounds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_and_the_process_are_described() {
        let text = String::from_utf8(render()).unwrap();
        assert!(text.contains("llm_gateway_build_info{version="), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
        assert!(text.contains(r#"llm_gateway_restarts_total{actor="provider"} "#), "{text}");
    }
}
