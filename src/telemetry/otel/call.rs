//! The span and the metrics of one call to a provider, named by the conventions for generative AI.

use std::time::{Duration, Instant, SystemTime};

use actix_web::http::Uri;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer};
use opentelemetry_sdk::trace::Span;

use super::{RECORDER, Recorder, Trace};
use crate::chat::{Ask, Usage};
use crate::telemetry::AttemptOutcome;

/// A call that is about to begin.
#[derive(Debug, Clone, Copy)]
pub struct Calling<'a> {
    /// The request.
    pub ask: &'a Ask,
    /// The conventions' name for the kind of provider.
    pub system: &'static str,
    /// The provider's configured name.
    pub provider: &'a str,
    /// The model's name there.
    pub model: &'a str,
    /// The model's name for metrics: a configured one, else `other`.
    pub model_label: &'a str,
    /// The provider's configured address.
    pub base_url: &'a str,
    /// The number of the call for this request, from 1.
    pub attempt: u32,
}

/// A call in progress. If it is dropped without an end, it was cancelled with its client; its span
/// ends there.
#[derive(Debug)]
pub struct CallSpan {
    /// `None` without a collector.
    recorded: Option<Recorded>,
    /// The trace headers for the provider.
    headers: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Recorded {
    span: Span,
    started: Instant,
    /// From the start to the first piece of the answer.
    first: Option<Duration>,
    labels: Vec<KeyValue>,
}

impl CallSpan {
    /// Begins a call within `trace`.
    #[must_use]
    pub fn begin(trace: Option<&Trace>, calling: Calling<'_>) -> Self {
        let Some((recorder, trace)) = RECORDER.get().zip(trace) else {
            return Self { recorded: None, headers: trace.map(Trace::headers).unwrap_or_default() };
        };
        let labels = labels(calling);
        let builder = recorder
            .tracer
            .span_builder(format!("{} {}", operation(calling.ask), calling.model))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes(calling, &labels));
        let span = recorder.tracer.build_with_context(builder, trace.context());
        let headers = Trace::below(&span).headers();
        let recorded = Recorded { span, started: Instant::now(), first: None, labels };
        Self { recorded: Some(recorded), headers }
    }

    /// The trace headers for the provider.
    #[must_use]
    pub fn headers(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.headers)
    }

    /// The first piece of the answer arrived.
    pub fn answering(&mut self) {
        if let Some(recorded) = &mut self.recorded {
            recorded.first = Some(recorded.started.elapsed());
        }
    }

    /// Ends the call: its span and its metrics. `usage` has the provider's counts.
    pub fn end(self, outcome: AttemptOutcome, usage: Usage) {
        if let (Some(recorded), Some(recorder)) = (self.recorded, RECORDER.get()) {
            recorded.end(recorder, outcome, usage);
        }
    }
}

impl Recorded {
    fn end(mut self, recorder: &Recorder, outcome: AttemptOutcome, usage: Usage) {
        if outcome != AttemptOutcome::Ok {
            let error = KeyValue::new("error.type", outcome.as_str());
            self.span.set_attribute(error.clone());
            self.span.set_status(Status::error(outcome.as_str()));
            self.labels.push(error);
        }
        recorder.duration.record(self.started.elapsed().as_secs_f64(), &self.labels);
        if let Some(first) = self.first {
            let seconds = first.as_secs_f64();
            self.span.set_attribute(KeyValue::new("gen_ai.response.time_to_first_chunk", seconds));
            recorder.first_chunk.record(seconds, &self.labels);
        }
        for (kind, key, tokens) in [
            ("input", "gen_ai.usage.input_tokens", usage.prompt),
            ("output", "gen_ai.usage.output_tokens", usage.completion),
        ] {
            let Some(tokens) = tokens else { continue };
            let count = i64::try_from(tokens).unwrap_or(i64::MAX);
            self.span.set_attribute(KeyValue::new(key, count));
            let mut labels = self.labels.clone();
            labels.push(KeyValue::new("gen_ai.token.type", kind));
            recorder.tokens.record(tokens, &labels);
        }
        self.span.end_with_timestamp(SystemTime::now());
    }
}

/// The operation's name, from the conventions' list if it is there.
fn operation(ask: &Ask) -> &'static str {
    match ask {
        Ask::Chat(_) => "chat",
        Ask::Embed(_) => "embeddings",
        Ask::Show(_) => "show_model",
        Ask::CountTokens(_) => "count_tokens",
        Ask::Raw(raw) if raw.manages() => "manage_models",
        Ask::Raw(_) => "passthrough",
    }
}

/// The labels of metrics: configured values only, so that callers cannot create series.
fn labels(calling: Calling<'_>) -> Vec<KeyValue> {
    let address = calling.base_url.parse::<Uri>().ok();
    let host = address.as_ref().and_then(Uri::host).unwrap_or_default();
    let port = address.as_ref().map_or(0, |address| {
        let usual = if address.scheme_str() == Some("https") { 443 } else { 80 };
        address.port_u16().unwrap_or(usual)
    });
    vec![
        KeyValue::new("gen_ai.operation.name", operation(calling.ask)),
        KeyValue::new("gen_ai.provider.name", calling.system),
        KeyValue::new("gen_ai.request.model", calling.model_label.to_owned()),
        KeyValue::new("server.address", host.to_owned()),
        KeyValue::new("server.port", i64::from(port)),
    ]
}

fn attributes(calling: Calling<'_>, labels: &[KeyValue]) -> Vec<KeyValue> {
    let mut attributes = labels.to_vec();
    attributes.retain(|label| label.key.as_str() != "gen_ai.request.model");
    attributes.extend([
        KeyValue::new("gen_ai.request.model", calling.model.to_owned()),
        KeyValue::new("llm_gateway.provider", calling.provider.to_owned()),
        KeyValue::new("llm_gateway.attempt", i64::from(calling.attempt)),
    ]);
    if let Ask::Chat(chat) = calling.ask {
        let sampling = &chat.sampling;
        let float =
            |key: &'static str, value: Option<f64>| value.map(|value| KeyValue::new(key, value));
        let tokens = sampling
            .max_tokens
            .map(|most| KeyValue::new("gen_ai.request.max_tokens", i64::from(most)));
        attributes.extend(tokens);
        attributes.extend(float("gen_ai.request.temperature", sampling.temperature));
        attributes.extend(float("gen_ai.request.top_p", sampling.top_p));
        attributes.push(KeyValue::new("gen_ai.request.stream", chat.stream));
    }
    attributes
}
