//! Answers that are passed on unchanged, piece by piece.

use super::of_kind;
use crate::client::{post_bytes, stream_bytes};
use crate::harness::{Config, Gateway, Provider, Route, Target, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Gate, Script, Upstream, openai};

/// The path of a client, its request, the provider's kind, and the pieces of an answer with many
/// unknown fields.
const STREAMS: [(&str, &str, &str, &[&str]); 8] = [
    (
        "openai",
        "/v1/chat/completions",
        r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
        &[
            ": hello\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}],\"new\":1.0e2}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
            "event: brand.new\nid: 7\ndata: {\"something\": [\"else\"]}\n\n",
            "data:{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"other\"}},{\"index\":0,\"delta\":{\"audio\":{\"data\":\"AA\"}}}]}\r\n\r\n",
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"x\":12345678901234567890123}}\n\n",
            "data: [DONE]\n\n",
        ],
    ),
    (
        "openai",
        "/v1/completions",
        r#"{"model":"m","prompt":"a","stream":true,"stream_options":{"include_usage":true}}"#,
        &[
            "data: {\"choices\":[{\"text\":\"a\",\"new\":1}]}\n\n",
            "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ],
    ),
    (
        "responses",
        "/v1/responses",
        r#"{"model":"m","input":[{"type":"new_item"}],"tools":[{"type":"namespace"}],"stream":true}"#,
        &[
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\nevent: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\",\"obfuscation\":\"x\"}\n\n",
            "event: response.tomorrow\ndata: {\"type\":\"response.tomorrow\",\"x\":1.0}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"output\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
        ],
    ),
    (
        "anthropic",
        "/v1/messages",
        r#"{"model":"m","max_tokens":9,"messages":[],"stream":true}"#,
        &[
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":3}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"w\",\"input\":{}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"a\"}}\n\n",
            "event: tomorrow\ndata: {\"type\":\"tomorrow\", \"n\": 1.50}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"new\":1},\"usage\":{\"output_tokens\":1}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ],
    ),
    (
        "ollama",
        "/api/chat",
        r#"{"model":"m","messages":[{"role":"new","content":"a"}]}"#,
        &[
            "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"a\"},\"done\":false,\"x\":1.0}\n",
            "{\"news\": true}\n",
            "{\"model\":\"m\",\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":1,\"prompt_eval_duration\":500000000}\n",
        ],
    ),
    (
        "ollama",
        "/api/generate",
        r#"{"model":"m","prompt":"a","raw":true}"#,
        &[
            "{\"model\":\"m\",\"response\":\"a\",\"done\":false}\n",
            "{\"model\":\"m\",\"response\":\"\",\"done\":true,\"context\":[1,2],\"eval_count\":1}\n",
        ],
    ),
    (
        "gemini",
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        r#"{"contents":[{"role":"new","parts":[{"tomorrow":1.0}]}],"generationConfig":{"candidateCount":2}}"#,
        &[
            "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"a\"}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 3},\"modelVersion\": \"m\"}\r\n\r\n",
            "data: {\"candidates\": [{\"content\": {\"parts\": [{\"hologram\": 1.50}],\"role\": \"model\"},\"index\": 1}]}\r\n\r\n",
            "data: {\"tomorrow\": {\"x\": 1e2}}\r\n\r\n",
            "data: {\"candidates\": [{\"finishReason\": \"STOP\",\"groundingMetadata\": {}},{\"index\": 1,\"finishReason\": \"MAX_TOKENS\"}],\"usageMetadata\": {\"promptTokenCount\": 3,\"candidatesTokenCount\": 1,\"x\": 12345678901234567890123}}\r\n\r\n",
        ],
    ),
    (
        "gemini",
        "/v1beta/models/m:streamGenerateContent",
        r#"{"contents":[{"role":"new","parts":[{"tomorrow":1.0}]}]}"#,
        &[
            "[{\n  \"candidates\": [\n    {\n      \"content\": {\n        \"parts\": [ { \"text\": \"a]}\\\"\" } ]\n      }\n    }\n  ]\n}",
            "\r\n,\r\n{\n  \"tomorrow\": [[1.50]]\n}",
            "\r\n,\r\n{\"candidates\": [{\"content\": {\"role\": \"model\"},\"finishReason\": \"STOP\"}],\"usageMetadata\": {\"promptTokenCount\": 3}}\r\n]\r\n",
        ],
    ),
];

async fn gateway_for(kind: &str, upstream: &Upstream) -> Gateway {
    spawn_gateway(of_kind(kind, upstream)).await
}

#[tokio::test]
async fn every_piece_of_a_stream_is_at_the_client_before_the_next_one_is_sent() {
    for (kind, path, body, pieces) in STREAMS {
        let gates: Vec<Gate> = pieces.iter().map(|_| Gate::closed()).collect();
        let held = gates.clone();
        let upstream = Upstream::spawn(move |_| {
            let script = Script::status(200).header("content-type", "text/event-stream").chunked();
            pieces
                .iter()
                .zip(&held)
                .fold(script, |script, (piece, gate)| script.hold(gate).piece(*piece))
        });
        let gateway = gateway_for(kind, &upstream).await;
        let (url, first) = (gateway.url(path), gates[0].clone());
        first.open();
        let mut streamed = stream_bytes(&url, &[], body).await;
        assert_eq!(streamed.status, 200, "{path}");
        let mut got = Vec::new();
        let mut due = 0;
        for (piece, gate) in pieces.iter().zip(&gates) {
            gate.open();
            due += piece.len();
            while got.len() < due {
                let more = streamed.piece().await.unwrap();
                got.extend_from_slice(&more.unwrap_or_else(|| panic!("{path} ends early")));
            }
        }
        assert_eq!(String::from_utf8(got).unwrap(), pieces.concat(), "{path}");
        assert_eq!(streamed.piece().await.unwrap(), None, "{path}");
        assert_eq!(upstream.calls_so_far().pop().unwrap().body, body, "{path}");
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn the_count_of_tokens_is_asked_for_and_its_piece_is_the_gateways_alone() {
    let upstream = Upstream::spawn(|_| openai::answer(&["a", "b"]));
    let gateway = gateway_for("openai", &upstream).await;
    let body = r#"{"model":"gpt-scripted","messages":[],"stream":true}"#;
    let url = gateway.url("/v1/chat/completions");
    let text = stream_bytes(&url, &[], body).await.rest().await.text();
    assert!(!text.contains("prompt_tokens") && text.ends_with("data: [DONE]\n\n"), "{text}");
    let asked = r#"{"model":"gpt-scripted","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
    assert_eq!(upstream.calls_so_far()[0].body, asked);
    let text = stream_bytes(&url, &[], asked).await.rest().await.text();
    assert!(text.contains("\"prompt_tokens\":10"), "{text}");
    gateway.settled().await;
    let tokens = gateway.metrics().await;
    assert_eq!(tokens.sum("llm_gateway_tokens_total", &[("kind", "completion")]), 4.0);
    gateway.end(2).await;
}

#[tokio::test]
async fn an_alias_is_put_back_in_every_piece() {
    let upstream = Upstream::spawn(|_| openai::answer(&["a", "b"]));
    let gateway = spawn_gateway(
        Config::new()
            .provider(Provider::openai("own", &upstream))
            .route(Route::new("alias", [Target::new("own", "real")])),
    )
    .await;
    let body = r#"{"model":"alias","messages":[],"stream":true}"#;
    let url = gateway.url("/v1/chat/completions");
    let text = stream_bytes(&url, &[], body).await.rest().await.text();
    assert!(!text.contains("gpt-scripted"), "{text}");
    assert_eq!(text.matches("\"model\":\"alias\"").count(), 3, "{text}");
    assert_eq!(upstream.calls_so_far()[0].json()["model"], "real");
    gateway.end(1).await;
}

#[tokio::test]
async fn an_answer_of_another_shape_than_was_asked_for_is_translated() {
    let upstream = Upstream::spawn(|call| match call.json()["stream"].as_bool() {
        Some(true) => openai::whole(&["a", "b"]),
        _ => openai::answer(&["a", "b"]),
    });
    let gateway = gateway_for("openai", &upstream).await;
    let url = gateway.url("/v1/chat/completions");
    let whole = r#"{"model":"m","messages":[]}"#;
    let answer = post_bytes(&url, &[], whole).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "ab", "{}", answer.text());
    let streamed = r#"{"model":"m","messages":[],"stream":true}"#;
    let text = stream_bytes(&url, &[], streamed).await.rest().await.text();
    assert!(text.contains("\"content\":\"ab\"") && text.ends_with("[DONE]\n\n"), "{text}");
    gateway.end(2).await;
}

#[tokio::test]
async fn simultaneous_requests_of_the_same_bytes_share_one_carried_answer() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |_| openai::whole(&["a"]).head_hold(&held));
    let gateway = gateway_for("openai", &upstream).await;
    let url = gateway.url("/v1/chat/completions");
    let asked = r#"{"model":"m","messages":[],"temperature":0,"new":1}"#;
    let spaced = asked.replace(',', " ,\n");
    let other = asked.replace("\"new\":1", "\"new\":2");
    let all = async {
        tokio::join!(
            post_bytes(&url, &[], asked),
            post_bytes(&url, &[], &spaced),
            post_bytes(&url, &[], &other)
        )
    };
    let opened = async {
        upstream.busy(2).await;
        let shared = async || {
            let metrics = gateway.metrics().await;
            let shared = metrics.sum("llm_gateway_cache_total", &[("result", "shared")]);
            (shared == 1.0).then_some(())
        };
        eventually(|| "one joins the other".to_owned(), shared).await;
        gate.open();
    };
    let ((first, second, third), ()) = tokio::join!(all, opened);
    assert_eq!(first.body, second.body);
    assert_eq!(third.status, 200);
    assert_eq!(upstream.calls_so_far().len(), 2);
    gateway.end(3).await;
}
