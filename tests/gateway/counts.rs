//! Tokens that were in a provider's prompt cache: read from every kind of provider, whole and in
//! streams, and told in every client's API.
//!
//! What a reader would get wrong: a request in the provider's own API is carried, so that the client
//! reads the provider's bytes; the access line shows what the gateway has read of them.

use std::time::Duration;

use llm_gateway::policy::Trust;
use llm_gateway::sim::{Counts, SimSettings};
use serde_json::{Value, json};

use crate::client::{post_json, post_json_with, stream};
use crate::harness::{Config, Key, Provider, spawn_gateway};
use crate::simulator::Simulator;
use crate::upstream::{Call, Script, Upstream};

/// Where each API has the count.
const CHAT: &str = "/usage/prompt_tokens_details/cached_tokens";
const RESPONSES: &str = "/usage/input_tokens_details/cached_tokens";
const ANTHROPIC: &str = "/usage/cache_read_input_tokens";
const OLLAMA: &str = "/prompt_eval_cached_count";
const GEMINI: &str = "/usageMetadata/cachedContentTokenCount";

/// A question in every API: the path, that of a stream, the body, and where the count is.
fn questions() -> [(&'static str, &'static str, Value, &'static str); 8] {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let chat = json!({ "model": "m", "max_tokens": 9, "messages": messages });
    let prompt = json!({ "model": "m", "prompt": "hi" });
    let contents = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
    let whole = "/v1beta/models/m:generateContent";
    let events = "/v1beta/models/m:streamGenerateContent?alt=sse";
    [
        ("/v1/chat", "/v1/chat", chat.clone(), CHAT),
        ("/v1/chat/completions", "/v1/chat/completions", chat.clone(), CHAT),
        ("/v1/completions", "/v1/completions", prompt.clone(), CHAT),
        ("/v1/responses", "/v1/responses", json!({ "model": "m", "input": "hi" }), RESPONSES),
        ("/v1/messages", "/v1/messages", chat.clone(), ANTHROPIC),
        ("/api/chat", "/api/chat", chat, OLLAMA),
        ("/api/generate", "/api/generate", prompt, OLLAMA),
        (whole, events, contents, GEMINI),
    ]
}

/// A document, or the events of a stream.
fn said(call: &Call, document: &Value, events: &[Value]) -> Script {
    let is_stream = call.path.contains("streamGenerateContent") || call.json()["stream"] == true;
    if !is_stream {
        return Script::json(200, document);
    }
    let event = |event: &Value| format!("data: {event}\n\n");
    Script::status(200)
        .header("content-type", "text/event-stream")
        .chunked()
        .pieces(events.iter().map(event))
}

/// An Ollama from 0.34 on.
fn ollama(call: &Call) -> Script {
    let (message, is_chat) =
        (json!({ "role": "assistant", "content": "hi" }), call.path == "/api/chat");
    let mut line = json!({ "done": true, "done_reason": "stop", "prompt_eval_count": 100,
        "prompt_eval_cached_count": 90, "eval_count": 2 });
    if is_chat {
        line["message"] = message;
    } else {
        line["response"] = json!("hi");
    }
    Script::status(200)
        .header("content-type", "application/x-ndjson")
        .chunked()
        .piece(format!("{line}\n"))
}

/// A server of OpenAI's chats whose last chunk and whose document have these fields.
fn openai(counts: Value) -> impl Fn(&Call) -> Script + Send + Sync + 'static {
    move |call| {
        let is_chat = call.path.ends_with("/chat/completions");
        let choice = |said: &str, finish: Value| match (is_chat, said) {
            (true, said) => {
                json!([{ "index": 0, said: { "content": "hi" }, "finish_reason": finish }])
            }
            (false, _) => json!([{ "index": 0, "text": "hi", "finish_reason": finish }]),
        };
        let with_counts = |mut value: Value| {
            let fields = value.as_object_mut().unwrap();
            fields.extend(counts.as_object().unwrap().clone());
            value
        };
        let document = with_counts(json!({ "choices": choice("message", json!("stop")) }));
        let first = json!({ "choices": choice("delta", Value::Null) });
        let ends = json!({ "choices": choice("delta", json!("stop")) });
        let last = with_counts(json!({ "choices": [] }));
        said(call, &document, &[first, ends, last])
    }
}

fn anthropic(call: &Call) -> Script {
    let content = json!([{ "type": "text", "text": "hi" }]);
    let usage = json!({ "input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 2 });
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": content, "stop_reason": "end_turn", "usage": usage });
    let mut begun = message.clone();
    (begun["content"], begun["stop_reason"]) = (json!([]), Value::Null);
    let text = json!({ "type": "text", "text": "" });
    let delta = json!({ "type": "text_delta", "text": "hi" });
    let events = [
        json!({ "type": "message_start", "message": begun }),
        json!({ "type": "content_block_start", "index": 0, "content_block": text }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" },
            "usage": { "output_tokens": 2 } }),
        json!({ "type": "message_stop" }),
    ];
    said(call, &message, &events)
}

fn gemini(call: &Call) -> Script {
    let content = json!({ "role": "model", "parts": [{ "text": "hi" }] });
    let candidates = json!([{ "index": 0, "content": content, "finishReason": "STOP" }]);
    let counts = json!({ "promptTokenCount": 100, "candidatesTokenCount": 2,
        "cachedContentTokenCount": 90, "totalTokenCount": 102 });
    let document = json!({ "candidates": candidates, "usageMetadata": counts });
    said(call, &document, std::slice::from_ref(&document))
}

/// OpenAI's own service, which speaks its Responses too.
fn openai_itself(call: &Call) -> Script {
    if !call.path.ends_with("/responses") {
        return openai(chat_usage(json!({ "prompt_tokens_details": { "cached_tokens": 90 } })))(
            call,
        );
    }
    let content = json!([{ "type": "output_text", "text": "hi" }]);
    let output = json!([{ "type": "message", "role": "assistant", "content": content }]);
    let usage = json!({ "input_tokens": 100, "output_tokens": 2, "total_tokens": 102,
        "input_tokens_details": { "cached_tokens": 90 } });
    let response = json!({ "id": "resp_1", "object": "response", "status": "completed",
        "model": "m", "output": output, "usage": usage });
    let events = [
        json!({ "type": "response.output_text.delta", "delta": "hi" }),
        json!({ "type": "response.completed", "response": response }),
    ];
    said(call, &response, &events)
}

/// OpenAI's counts of a chat, with these fields beside them.
fn chat_usage(more: Value) -> Value {
    let mut usage = json!({ "prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102 });
    usage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "usage": usage })
}

/// The count in the last object of a stream that has one.
fn counted(text: &str, place: &str) -> Option<Value> {
    let objects = text.lines().filter_map(|line| {
        serde_json::from_str::<Value>(line.strip_prefix("data: ").unwrap_or(line)).ok()
    });
    let mut found = objects.filter_map(|object| {
        let within = ["", "/response", "/message"].map(|within| format!("{within}{place}"));
        within.iter().find_map(|place| object.pointer(place)).cloned()
    });
    found.next_back()
}

/// Asks in every API, whole and streamed, and checks what is told and what was read. Of `carried`
/// the client reads the provider's own bytes.
async fn is_told_everywhere(kind: &str, upstream: Upstream, carried: &[&str]) {
    let provider = Provider::new("p", kind, upstream.url());
    let gateway = spawn_gateway(provider).await;
    let mut sent = 0;
    for (path, streamed, body, place) in questions() {
        let mut body = body;
        for is_streamed in [false, true] {
            if !path.contains("v1beta") {
                body["stream"] = is_streamed.into();
            }
            if is_streamed && place == CHAT {
                body["stream_options"] = json!({ "include_usage": true });
            }
            let told = if is_streamed {
                let text = stream(&gateway.url(streamed), &body).await.rest().await.text();
                counted(&text, place)
            } else {
                let answer = post_json(&gateway.url(path), &body).await;
                assert_eq!(answer.status, 200, "{kind} {path}: {}", answer.text());
                answer.json().pointer(place).cloned()
            };
            if !carried.contains(&path) {
                assert_eq!(told, Some(json!(90)), "{kind} {path} {is_streamed}");
            }
            sent += 1;
        }
    }
    gateway.settled().await;
    let lines = gateway.access_lines();
    assert_eq!(lines.len(), sent);
    for line in lines {
        let read = line.fields.get("cached_tokens").map(String::as_str);
        assert_eq!(read, Some("90"), "{kind}: {:?}", line.fields);
    }
    gateway.end(sent).await;
}

#[tokio::test]
async fn ollamas_counts_are_told_in_every_api() {
    is_told_everywhere("ollama", Upstream::spawn(ollama), &[]).await;
}

#[tokio::test]
async fn anthropics_counts_are_told_in_every_api() {
    is_told_everywhere("anthropic", Upstream::spawn(anthropic), &[]).await;
}

#[tokio::test]
async fn geminis_counts_are_told_in_every_api() {
    is_told_everywhere("gemini", Upstream::spawn(gemini), &[]).await;
}

#[tokio::test]
async fn openais_counts_are_told_in_every_api() {
    is_told_everywhere("openai", Upstream::spawn(openai_itself), &[]).await;
}

#[tokio::test]
async fn deepseeks_counts_are_told_in_every_api() {
    let usage = json!({ "prompt_cache_hit_tokens": 90, "prompt_cache_miss_tokens": 10 });
    let upstream = Upstream::spawn(openai(chat_usage(usage)));
    is_told_everywhere("openai", upstream, &["/v1/chat/completions", "/v1/completions"]).await;
}

#[tokio::test]
async fn the_timings_of_llama_server_are_told_in_every_api() {
    let mut counts = chat_usage(json!({}));
    counts["timings"] = json!({ "cache_n": 90, "prompt_n": 10, "prompt_ms": 5.5,
        "predicted_n": 2, "predicted_ms": 1.5 });
    let upstream = Upstream::spawn(openai(counts));
    is_told_everywhere("openai", upstream, &["/v1/chat/completions", "/v1/completions"]).await;
}

#[tokio::test]
async fn llama_servers_own_clock_tells_how_fast_it_reads() {
    // Nothing of a whole answer comes before its end: only the server can tell.
    let simulator = Simulator::start(SimSettings {
        first_token: Duration::from_millis(1),
        tokens_per_second: 200.0,
        prompt_cache: Some(65_536),
        counts: Counts::LlamaServer,
        read: 20_000.0,
        models: vec!["m".to_owned()],
        ..SimSettings::default()
    });
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let provider = Provider::new("p", "openai", format!("{}/v1", simulator.url))
            .trust(Trust::Local)
            .slots(1);
        let gateway = spawn_gateway(Config::new().provider(provider).key(Key::new("a"))).await;
        let mut messages = Vec::new();
        for turn in 0..3 {
            let words = format!("{path} {turn} ").repeat(1_000);
            messages.push(json!({ "role": "user", "content": words }));
            let body = json!({ "model": "m", "max_tokens": 20, "messages": messages });
            let headers = [("x-api-key", "sk-a")];
            let answer = post_json_with(&gateway.url(path), &headers, &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            messages.push(json!({ "role": "assistant", "content": "so" }));
        }
        let remembered = &gateway.providers().await["providers"][0]["models"][0]["remembered"];
        let rate = remembered["read_rate"].as_u64().unwrap();
        // By the client's clock, which includes the writing, it would be less than half.
        assert!((12_000..=20_500).contains(&rate), "{path}: {remembered}");
        assert!(remembered["reused"].as_f64().unwrap() > 0.2, "{path}: {remembered}");
        gateway.end(3).await;
    }
}
