//! The span and the metrics of one call to a provider, named as the conventions for generative AI have it.

use std::time::{Duration, Instant, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer};
use opentelemetry_sdk::trace::Span;

use super::{RECORDER, Recorder, Trace};
use crate::chat::{Sampling, Usage};
use crate::telemetry::AttemptOutcome;

/// What a call asks for, from the conventions' list where that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// An answer to a conversation.
    Chat,
    /// Vectors.
    Embeddings,
    /// What is known of a model.
    Show,
    /// The length of a conversation.
    CountTokens,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Show => "show_model",
            Self::CountTokens => "count_tokens",
        }
    }
}

/// A call about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Calling<'a> {
    /// What is asked.
    pub operation: Operation,
    /// The conventions' name of the kind of provider.
    pub system: &'static str,
    /// The provider's configured name.
    pub provider: &'a str,
    /// The model's name there.
    pub model: &'a str,
    /// The model's name for metrics: a configured one, else `other`.
    pub model_label: &'a str,
    /// The provider's host.
    pub address: &'a str,
    /// The provider's port.
    pub port: u16,
    /// Which call for this request it is, from 1.
    pub attempt: u32,
    /// The sampling fields, for a conversation.
    pub sampling: Option<&'a Sampling>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub struct CallEnded {
    /// What became of it.
    pub outcome: AttemptOutcome,
    /// From its start to the first piece of its answer.
    pub first: Option<Duration>,
    /// What the provider counted.
    pub usage: Usage,
}

/// A call on its way. Dropped without an end, it was cut off with its client; its span ends there.
#[derive(Debug)]
pub struct CallSpan {
    /// `None` without a collector.
    recorded: Option<Recorded>,
    /// What the provider is told of the trace.
    headers: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Recorded {
    span: Span,
    started: Instant,
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
            .span_builder(format!("{} {}", calling.operation.as_str(), calling.model))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes(calling, &labels));
        let span = recorder.tracer.build_with_context(builder, trace.context());
        let headers = Trace::below(&span).headers();
        Self { recorded: Some(Recorded { span, started: Instant::now(), labels }), headers }
    }

    /// The headers that tell the provider of the trace.
    #[must_use]
    pub fn headers(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.headers)
    }

    /// Ends the call: its span and its metrics.
    pub fn end(&mut self, ended: CallEnded) {
        if let (Some(recorded), Some(recorder)) = (self.recorded.take(), RECORDER.get()) {
            recorded.end(recorder, ended);
        }
    }
}

impl Recorded {
    fn end(mut self, recorder: &Recorder, ended: CallEnded) {
        if ended.outcome != AttemptOutcome::Ok {
            let error = KeyValue::new("error.type", ended.outcome.as_str());
            self.span.set_attribute(error.clone());
            self.span.set_status(Status::error(ended.outcome.as_str()));
            self.labels.push(error);
        }
        recorder.duration.record(self.started.elapsed().as_secs_f64(), &self.labels);
        if let Some(first) = ended.first {
            let seconds = first.as_secs_f64();
            self.span.set_attribute(KeyValue::new("gen_ai.response.time_to_first_chunk", seconds));
            recorder.first_chunk.record(seconds, &self.labels);
        }
        for (kind, key, tokens) in [
            ("input", "gen_ai.usage.input_tokens", ended.usage.prompt),
            ("output", "gen_ai.usage.output_tokens", ended.usage.completion),
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

/// What metrics tell calls apart by: configured values only, so that no caller can make series.
fn labels(calling: Calling<'_>) -> Vec<KeyValue> {
    vec![
        KeyValue::new("gen_ai.operation.name", calling.operation.as_str()),
        KeyValue::new("gen_ai.provider.name", calling.system),
        KeyValue::new("gen_ai.request.model", calling.model_label.to_owned()),
        KeyValue::new("server.address", calling.address.to_owned()),
        KeyValue::new("server.port", i64::from(calling.port)),
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
    if let Some(sampling) = calling.sampling {
        let float = |key: &'static str, value: Option<f64>| value.map(|value| KeyValue::new(key, value));
        let tokens = sampling.max_tokens.map(|most| KeyValue::new("gen_ai.request.max_tokens", i64::from(most)));
        attributes.extend(tokens);
        attributes.extend(float("gen_ai.request.temperature", sampling.temperature));
        attributes.extend(float("gen_ai.request.top_p", sampling.top_p));
    }
    attributes
}
