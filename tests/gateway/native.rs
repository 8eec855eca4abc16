//! The native dialect on the wire: requests, answers, and what the provider receives.

mod edges;
mod headers;
mod refusals;
mod routing;

use serde_json::{Value, json};

use crate::client::{Answer, chat, post_json, stream, streamed_chat};
use crate::harness::{Config, Gateway, Key, Provider, spawn_gateway};
use crate::upstream::{Upstream, ollama};

const PATHS: [&str; 2] = ["/v1/chat", "/api/v1/chat"];

async fn gateway_for(upstream: &Upstream) -> Gateway {
    gateway_with(upstream, Config::new()).await
}

/// A gateway with this configuration, in front of one Ollama.
async fn gateway_with(upstream: &Upstream, config: Config) -> Gateway {
    spawn_gateway(config.provider(Provider::ollama(upstream))).await
}

/// Checks the status and the code of an error, and returns its `detail`.
fn check_error(answer: &Answer, status: u16, code: &str) -> Value {
    let mut body = answer.json();
    assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)), "{body}");
    assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{body}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    body["detail"].take()
}

fn is_uuid_v4(id: &Value) -> bool {
    let id: uuid::Uuid = id.as_str().unwrap().parse().unwrap();
    id.get_version_num() == 4
}

#[tokio::test]
async fn a_whole_answer_has_exactly_the_promised_fields() {
    let upstream = Upstream::ollama();
    let gateway = gateway_for(&upstream).await;
    for path in PATHS {
        let answer = post_json(&gateway.url(path), &chat("hi")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let mut body = answer.json();
        assert!(is_uuid_v4(&body["id"].take()));
        let expected = json!({
            "id": null, "provider": "ollama", "model": "llama3.1", "content": "Hello!",
            "finish_reason": "stop",
            "usage": { "prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13 },
        });
        assert_eq!(body, expected);
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn a_stream_is_pieces_then_the_end_then_done() {
    let upstream = Upstream::ollama();
    let gateway = gateway_for(&upstream).await;
    for path in PATHS {
        let streamed = stream(&gateway.url(path), &streamed_chat("hi")).await;
        assert_eq!(streamed.status, 200);
        let content_type = streamed.header("content-type").unwrap().to_owned();
        assert!(content_type.starts_with("text/event-stream"), "{content_type}");
        assert_eq!(streamed.header("cache-control"), Some("no-cache"));
        let pieces = streamed.rest().await;
        assert!(pieces.ended_properly);
        let events = pieces.events();
        assert!(events.iter().all(|(name, _)| name.is_empty()), "{events:?}");
        let (done, pieces) = events.split_last().unwrap();
        assert_eq!(done.1, "[DONE]");
        let parse = |(_, data): &(String, String)| serde_json::from_str(data).unwrap();
        let pieces: Vec<Value> = pieces.iter().map(parse).collect();
        let id = &pieces[0]["id"];
        assert!(is_uuid_v4(id));
        let piece = |delta: &str| json!({ "id": id, "provider": "ollama", "model": "llama3.1", "delta": delta });
        let usage = json!({ "prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13 });
        let end = json!({ "id": id, "provider": "ollama", "model": "llama3.1",
            "finish_reason": "stop", "usage": usage });
        assert_eq!(pieces, [piece("Hel"), piece("lo"), piece("!"), end]);
    }
    gateway.end(2).await;
}

#[tokio::test]
async fn pieces_come_as_they_are_made() {
    let gate = crate::upstream::Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |_| {
        ollama::opened(&["Hel"]).hold(&held).piece(ollama::line("lo")).piece(ollama::done(2))
    });
    let gateway = gateway_for(&upstream).await;
    let mut streamed = stream(&gateway.url("/v1/chat"), &streamed_chat("hi")).await;
    // The provider cannot continue before this piece has arrived.
    streamed.until("\"delta\":\"Hel\"").await;
    gate.open();
    assert!(streamed.rest().await.text().contains("\"delta\":\"lo\""));
    gateway.end(1).await;
}

#[tokio::test]
async fn an_answer_cut_by_its_limit_says_length_and_missing_counts_are_0() {
    let upstream = Upstream::spawn(|_| {
        let last = json!({ "message": { "role": "assistant", "content": "Hel" }, "done": true,
            "done_reason": "length" });
        crate::upstream::Script::json(200, &last)
    });
    let gateway = gateway_for(&upstream).await;
    let body = post_json(&gateway.url("/v1/chat"), &chat("hi")).await.json();
    let nothing = json!({ "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0 });
    assert_eq!((&body["content"], &body["finish_reason"]), (&json!("Hel"), &json!("length")));
    assert_eq!(body["usage"], nothing);
    gateway.end(1).await;
}

#[tokio::test]
async fn the_provider_is_sent_the_chat_and_nothing_of_the_clients_credentials() {
    let upstream = Upstream::ollama();
    let key = Key::new("team").key("sk-planted");
    let gateway = gateway_with(&upstream, Config::new().key(key)).await;
    let messages = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": "hello" },
        { "role": "tool", "content": "42" },
    ]);
    let body = json!({ "messages": messages, "model": "mistral", "max_tokens": 7,
        "temperature": 0.25, "stream": false });
    let headers = [
        ("authorization", "Bearer sk-planted"),
        ("x-api-key", "sk-planted"),
        ("cookie", "session=sk-planted"),
        ("x-request-id", "req-1"),
    ];
    let answer = crate::client::post_json_with(&gateway.url("/v1/chat"), &headers, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let call = &upstream.calls_so_far()[0];
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/api/chat"));
    assert_eq!(call.header("content-type"), Some("application/json"));
    assert_eq!(call.header("x-request-id"), Some("req-1"));
    assert_eq!(call.header("host"), Some(upstream.address().to_string().as_str()));
    assert!(!call.head.contains("planted"), "{}", call.head);
    assert_eq!(call.header("accept-encoding"), Some("identity"));
    let sent = call.json();
    assert_eq!(sent["model"], "mistral");
    assert_eq!(sent["stream"], true);
    assert_eq!(sent["options"], json!({ "num_predict": 7, "temperature": 0.25 }));
    let roles: Vec<_> = sent["messages"].as_array().unwrap().iter().map(|m| &m["role"]).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool"]);
    assert_eq!(sent["messages"][0]["content"], "Be brief.");
    assert_eq!(sent["messages"][3]["content"], "42");
    assert!(!gateway.log_lines().iter().any(|line| line.contains("planted")));
    gateway.end(1).await;
}

#[tokio::test]
async fn fields_that_the_client_omits_are_left_to_the_provider() {
    let upstream = Upstream::ollama();
    let gateway = gateway_for(&upstream).await;
    let body = json!({ "messages": [{ "role": "user", "content": "hi" }], "model": null,
        "model_hint": null, "max_tokens": null, "temperature": null, "stream": null });
    for body in [chat("hi"), body] {
        let answer = post_json(&gateway.url("/v1/chat"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for call in upstream.calls_so_far() {
        let sent = call.json();
        assert_eq!(sent["model"], "llama3.1");
        assert!(sent.get("options").is_none_or(|options| options == &json!({})), "{sent}");
    }
    gateway.end(2).await;
}
