//! OpenTelemetry: spans and the GenAI metrics, sent by OTLP if the configuration names a collector.
//!
//! It owns the exporters and their names, which follow the semantic conventions for generative AI
//! (these are in development, so all names are here and in `call`). It exports no content: no
//! attribute has a prompt, an answer, a tool or a key.
//!
//! The one thing to know: workers only fill bounded queues. The SDK's own threads send; what
//! exceeds their rate is dropped, and requests never wait for a collector.

mod call;
mod client;
pub mod settings;
mod trace;

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::metrics::{Histogram, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use client::Client;
use settings::OtelSettings;

pub use call::{CallSpan, Calling};
pub use trace::{RequestSpan, Trace};

/// The longest time for exporting the last spans and metrics when the gateway stops.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// Buckets in seconds: those of the conventions, extended to the longest call.
const SECONDS: [f64; 17] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84,
    327.68, 655.36,
];
/// Buckets in tokens: those of the conventions.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// Creates spans and records metrics, if there is a collector.
struct Recorder {
    tracer: SdkTracer,
    duration: Histogram<f64>,
    first_chunk: Histogram<f64>,
    tokens: Histogram<u64>,
}

/// The exporters of the process, which are stopped at its end.
#[derive(Debug)]
pub struct Exporters {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

/// Starts exporting for the process; `None` without an endpoint. A second call changes nothing and
/// returns `None`.
///
/// # Errors
///
/// If an exporter cannot be built from the settings, which were checked.
pub fn start(settings: &OtelSettings) -> Result<Option<Exporters>, ExporterBuildError> {
    if settings.endpoint.is_empty() || RECORDER.get().is_some() {
        return Ok(None);
    }
    let resource = Resource::builder()
        .with_service_name(settings.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let base = settings.endpoint.trim_end_matches('/');
    let spans = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{base}/v1/traces"))
        .with_headers(settings.headers())
        .build()?;
    let traces = SdkTracerProvider::builder()
        .with_batch_exporter(spans)
        // By the trace's id alone: callers must not decide what is sampled.
        .with_sampler(Sampler::TraceIdRatioBased(settings.sample_ratio))
        .with_resource(resource.clone())
        .build();
    let metrics = MetricExporter::builder()
        .with_http()
        .with_http_client(Client::new())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{base}/v1/metrics"))
        .with_headers(settings.headers())
        .build()?;
    let reader = PeriodicReader::builder(metrics).with_interval(settings.metrics_interval).build();
    let metrics = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
    let exporters = Exporters { traces, metrics };
    // Fails only if two threads start it at the same time.
    drop(RECORDER.set(exporters.recorder()));
    Ok(Some(exporters))
}

impl Exporters {
    /// Exports the rest, for a few seconds at most, and stops.
    pub fn stop(self) {
        if let Err(error) = self.traces.shutdown_with_timeout(LAST_EXPORT) {
            log::warn!(target: "otel", "the last spans may be lost: {error}");
        }
        if let Err(error) = self.metrics.shutdown_with_timeout(LAST_EXPORT) {
            log::warn!(target: "otel", "the last metrics may be lost: {error}");
        }
    }

    fn recorder(&self) -> Recorder {
        let scope = || {
            InstrumentationScope::builder("llm-gateway")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build()
        };
        let meter = self.metrics.meter_with_scope(scope());
        let seconds = |name: &'static str, what: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(SECONDS.to_vec()).build()
        };
        Recorder {
            tracer: self.traces.tracer_with_scope(scope()),
            duration: seconds("gen_ai.client.operation.duration", "Calls to providers."),
            first_chunk: seconds(
                "gen_ai.client.operation.time_to_first_chunk",
                "From a call's start to the first piece of its answer.",
            ),
            tokens: meter
                .u64_histogram("gen_ai.client.token.usage")
                .with_unit("{token}")
                .with_description("Tokens of calls to providers, as counted by the providers.")
                .with_boundaries(TOKENS.to_vec())
                .build(),
        }
    }
}
