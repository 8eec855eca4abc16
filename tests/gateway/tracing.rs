//! Traces and GenAI metrics: the trace context that is passed on, and what a collector receives.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::json;

use crate::client::{chat, post_json_with};
use crate::harness::{Config, Otel, Provider, spawn_gateway};
use crate::upstream::{Call, Script, Upstream};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const PROMPT: &str = "planted-prompt";

/// A collector of OTLP over HTTP, which accepts everything.
fn collector() -> Upstream {
    Upstream::spawn_whole(|_| Script::json(200, &json!({})))
}

fn exported(collector: &Upstream, path: &str) -> Vec<Call> {
    collector.calls_so_far().into_iter().filter(|call| call.path == path).collect()
}

fn spans(collector: &Upstream) -> Vec<Span> {
    let exports = exported(collector, "/v1/traces");
    let decoded =
        exports.iter().map(|call| ExportTraceServiceRequest::decode(&*call.body).unwrap());
    let resources = decoded.flat_map(|export| export.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn without_a_collector_a_trace_goes_through_unchanged_and_none_is_begun() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let headers = [("traceparent", PARENT), ("tracestate", "vendor=1")];
    let url = gateway.url("/v1/chat");
    assert_eq!(post_json_with(&url, &headers, &chat("hi")).await.status, 200);
    assert_eq!(post_json_with(&url, &[], &chat("hi")).await.status, 200);
    let malformed = [("traceparent", "00-nonsense-01"), ("tracestate", "vendor=1")];
    assert_eq!(post_json_with(&url, &malformed, &chat("hi")).await.status, 200);
    let calls = upstream.calls_so_far();
    assert_eq!(calls[0].header("traceparent"), Some(PARENT));
    assert_eq!(calls[0].header("tracestate"), Some("vendor=1"));
    for call in &calls[1..] {
        assert_eq!((call.header("traceparent"), call.header("tracestate")), (None, None));
    }
    gateway.end(3).await;
}

#[tokio::test]
async fn a_collector_gets_requests_calls_and_tokens_and_no_content() {
    let (upstream, collector) = (Upstream::ollama(), collector());
    let otel = Otel::default()
        .endpoint(collector.url())
        .headers("x-collector-key=sesame")
        .service_name("front");
    let config = Config::new().provider(Provider::ollama(&upstream)).otel(otel);
    let gateway = spawn_gateway(config).await;
    let url = gateway.url("/v1/chat");
    let headers = [("traceparent", PARENT), ("x-request-id", "traced-1")];
    assert_eq!(post_json_with(&url, &headers, &chat(PROMPT)).await.status, 200);
    let told = upstream.calls_so_far()[0].header("traceparent").unwrap().to_owned();
    gateway.end(1).await;

    let spans = spans(&collector);
    assert_eq!(spans.len(), 2, "{spans:?}");
    let of_kind = |kind: SpanKind| spans.iter().find(|span| span.kind == kind as i32).unwrap();
    let (request, call) = (of_kind(SpanKind::Server), of_kind(SpanKind::Client));
    assert_eq!(hex(&request.trace_id), TRACE);
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    assert_eq!(request.name, "POST /v1/chat");
    assert_eq!(attribute(&request.attributes, "http.response.status_code"), "200");
    assert_eq!(attribute(&request.attributes, "llm_gateway.request_id"), "traced-1");
    assert_eq!(call.parent_span_id, request.span_id);
    assert_eq!(told, format!("00-{TRACE}-{}-01", hex(&call.span_id)));
    assert_eq!(call.name, "chat llama3.1");
    for (key, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "ollama"),
        ("gen_ai.request.model", "llama3.1"),
        ("server.address", "127.0.0.1"),
        ("server.port", &upstream.address().port().to_string()),
    ] {
        assert_eq!(attribute(&call.attributes, key), value, "{key}");
    }

    let metrics = exported(&collector, "/v1/metrics");
    let decoded =
        metrics.iter().map(|call| ExportMetricsServiceRequest::decode(&*call.body).unwrap());
    let scopes =
        decoded.flat_map(|export| export.resource_metrics).flat_map(|one| one.scope_metrics);
    let names: Vec<String> =
        scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name).collect();
    for name in ["gen_ai.client.operation.duration", "gen_ai.client.token.usage"] {
        assert!(names.iter().any(|known| known == name), "{name} among {names:?}");
    }
    for export in collector.calls_so_far() {
        assert_eq!(export.header("x-collector-key"), Some("sesame"));
        let text = String::from_utf8_lossy(&export.body);
        assert!(text.contains("front"), "{text}");
        assert!(!text.contains(PROMPT), "{text}");
    }
}

#[tokio::test]
async fn a_collector_that_does_not_answer_costs_no_request_anything() {
    let upstream = Upstream::ollama();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::ollama(&upstream))
            .otel(Otel::default().endpoint(format!("http://{address}"))),
    )
    .await;
    for _ in 0..20 {
        let answer = post_json_with(&gateway.url("/v1/chat"), &[], &chat("hi")).await;
        assert_eq!(answer.status, 200);
    }
    gateway.end(20).await;
}
