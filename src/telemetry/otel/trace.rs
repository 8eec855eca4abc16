//! W3C trace context: the trace of a request, and the request's own span.
//!
//! The one thing to know: a client's trace continues to the provider whether or not spans are
//! recorded here. Without a collector its headers are passed on unchanged; with one the provider's
//! parent is the gateway's span of the call.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::Span;

use super::RECORDER;
use crate::telemetry::RequestEnded;

/// `00-<32 digits>-<16 digits>-<2 digits>`.
const TRACEPARENT: usize = 55;
/// Longer `tracestate` is dropped, as the recommendation allows.
const LONGEST_STATE: usize = 512;

/// The trace context of calls to providers.
#[derive(Debug, Clone)]
pub struct Trace(Context);

impl Trace {
    /// The trace in a request's headers; `None` if `traceparent` is invalid by the recommendation.
    #[must_use]
    pub fn read<'a>(parent: &'a str, states: impl Iterator<Item = &'a str>) -> Option<Self> {
        let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let version = parent.get(..TRACEPARENT)?;
        let whole = parent.len() == TRACEPARENT
            || (!parent.starts_with("00-") && parent.as_bytes().get(TRACEPARENT) == Some(&b'-'));
        let shaped = version.bytes().enumerate().all(|(index, byte)| match index {
            2 | 35 | 52 => byte == b'-',
            _ => plain(byte),
        });
        if !whole || !shaped {
            return None;
        }
        let state =
            Some(states.collect::<Vec<_>>().join(",")).filter(|all| all.len() <= LONGEST_STATE);
        let headers = Headers { parent, state: state.unwrap_or_default() };
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
        context.has_active_span().then_some(Self(context))
    }

    /// The headers for a call in this context.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut written = HashMap::new();
        TraceContextPropagator::new().inject_context(&self.0, &mut written);
        ["traceparent", "tracestate"]
            .into_iter()
            .filter_map(|name| {
                Some((name, written.remove(name).filter(|value| !value.is_empty())?))
            })
            .collect()
    }

    /// The context below a span.
    pub(super) fn below(span: &Span) -> Self {
        Self(Context::new().with_remote_span_context(span.span_context().clone()))
    }

    pub(super) fn context(&self) -> &Context {
        &self.0
    }
}

/// The headers of a request.
struct Headers<'a> {
    parent: &'a str,
    state: String,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.parent),
            "tracestate" => Some(&self.state),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// The span of one request, from its arrival to the last byte of its answer. Empty without a
/// collector.
#[derive(Debug, Default)]
pub struct RequestSpan(Option<Span>);

impl RequestSpan {
    /// Begins the span of `method route` in the trace `parent`. Returns it with the context for
    /// calls to providers.
    #[must_use]
    pub fn begin(
        method: &str,
        route: impl FnOnce() -> String,
        parent: Option<Trace>,
    ) -> (Self, Option<Trace>) {
        let Some(recorder) = RECORDER.get() else { return (Self(None), parent) };
        let route = route();
        let builder = recorder
            .tracer
            .span_builder(format!("{method} {route}"))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", method.to_owned()),
                KeyValue::new("http.route", route),
                KeyValue::new("url.scheme", "http"),
            ]);
        let root = Context::new();
        let parent = parent.as_ref().map_or(&root, |trace| &trace.0);
        let span = recorder.tracer.build_with_context(builder, parent);
        let trace = Trace::below(&span);
        (Self(Some(span)), Some(trace))
    }

    /// Ends the span with the outcome of the request.
    pub fn end(self, ended: &RequestEnded<'_>) {
        let Some(mut span) = self.0.filter(Span::is_recording) else { return };
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        span.set_attributes([
            KeyValue::new("http.response.status_code", i64::from(ended.status)),
            KeyValue::new("llm_gateway.request_id", ended.request_id.to_string()),
            KeyValue::new("llm_gateway.dialect", ended.dialect),
            KeyValue::new("llm_gateway.outcome", ended.outcome.as_str()),
            KeyValue::new("llm_gateway.attempts", i64::from(ended.attempts)),
            KeyValue::new("llm_gateway.queue_ms", millis(ended.timing.queued)),
        ]);
        for (key, name) in
            [("llm_gateway.caller", ended.caller), ("llm_gateway.provider", ended.provider)]
        {
            if let Some(name) = name {
                span.set_attribute(KeyValue::new(key, name.to_string()));
            }
        }
        if let Some(load) = ended.timing.load {
            span.set_attribute(KeyValue::new("llm_gateway.load_ms", millis(load)));
        }
        if let Some(first) = ended.timing.first {
            span.set_attribute(KeyValue::new("llm_gateway.first_ms", millis(first)));
        }
        if let Some(code) = ended.code {
            span.set_attribute(KeyValue::new("error.type", code));
        }
        // A client's error is not an error of the server's span, by the HTTP conventions.
        if ended.status >= 500 {
            span.set_status(Status::error(ended.code.unwrap_or("unknown")));
        }
        span.end_with_timestamp(SystemTime::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn passed_on(parent: &str, states: &[&str]) -> Option<Vec<(&'static str, String)>> {
        Trace::read(parent, states.iter().copied()).map(|trace| trace.headers())
    }

    #[test]
    fn a_trace_passes_unchanged() {
        assert_eq!(passed_on(PARENT, &[]), Some(vec![("traceparent", PARENT.to_owned())]));
        let with_state = passed_on(PARENT, &["a=1,b=2", "c=3"]).unwrap();
        assert_eq!(with_state[1], ("tracestate", "a=1,b=2,c=3".to_owned()));
    }

    #[test]
    fn a_later_version_is_passed_on_as_version_0() {
        let later = format!("cc{}-more", &PARENT[2..]);
        assert_eq!(passed_on(&later, &[]), Some(vec![("traceparent", PARENT.to_owned())]));
    }

    #[test]
    fn invalid_headers_begin_no_trace() {
        for wrong in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00 0af7651916cd43dd8448eb211c80319c b7ad6b7169203331 01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
        ] {
            assert!(Trace::read(wrong, std::iter::empty()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn long_state_is_dropped() {
        let long = format!("a={}", "x".repeat(LONGEST_STATE));
        assert_eq!(passed_on(PARENT, &[&long]), Some(vec![("traceparent", PARENT.to_owned())]));
    }
}
