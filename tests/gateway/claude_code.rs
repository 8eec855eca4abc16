//! A session of Claude Code in several rounds, at its own vendor and at a local model.

use serde_json::{Value, json};

use crate::client::{Streamed, stream_with};
use crate::harness::{Gateway, Provider, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, anthropic, ollama};

const BETA: &str =
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27";

const PDF: &str = "JVBERi0xLjcK";

/// What Claude Code sends with every call. The first line of the system texts is another one each
/// time.
fn request(round: usize, messages: &[Value]) -> Value {
    let read = json!({ "name": "Read", "description": "Reads a file",
        "input_schema": { "type": "object", "properties": { "path": { "type": "string" } } } });
    json!({
        "model": "some", "stream": true, "max_tokens": 32_000,
        "system": [
            { "type": "text", "text": format!(
                "x-anthropic-billing-header: cc_version=2.1.36; cc_entrypoint=cli; cch={round}a690;") },
            { "type": "text", "text": "You are Claude Code.", "cache_control": { "type": "ephemeral" } },
        ],
        "tools": [read, { "type": "web_search_20250305", "name": "web_search", "max_uses": 8 }],
        "thinking": { "type": "adaptive", "display": "omitted" },
        "output_config": { "effort": "high" },
        "context_management": { "edits": [{ "type": "clear_thinking_20251015", "keep": "all" }] },
        "metadata": { "user_id": "user_1" },
        "messages": messages,
    })
}

/// The conversation as it grows: a question, a file that was read, a search, and a late system
/// text.
fn rounds() -> [Vec<Value>; 3] {
    let first = vec![json!({ "role": "user", "content": [
        { "type": "text", "text": "<system-reminder>Today</system-reminder>" },
        { "type": "text", "text": "Summarise a.pdf", "cache_control": { "type": "ephemeral" } }] })];
    let mut second = first.clone();
    second.extend([
        json!({ "role": "assistant", "content": [
            { "type": "thinking", "thinking": "", "signature": "c2ln" },
            { "type": "tool_use", "id": "toolu_01", "name": "Read", "input": { "path": "a.pdf" } }] }),
        json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_01",
            "content": [{ "type": "document", "source":
                { "type": "base64", "media_type": "application/pdf", "data": PDF } }] }] }),
        json!({ "role": "system", "content": [{ "type": "text", "text": "late words" }] }),
    ]);
    let mut third = second.clone();
    third.extend([
        json!({ "role": "assistant", "content": [
            { "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search",
              "input": { "query": "tides" } },
            { "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
                { "type": "web_search_result", "url": "https://example.org", "title": "Tides",
                  "encrypted_content": "x" }] },
            { "type": "text", "text": "It is about tides." }] }),
        json!({ "role": "user", "content": "Thanks, and in short?" }),
    ]);
    [first, second, third]
}

async fn send(gateway: &Gateway, body: &Value) -> Streamed {
    let headers = [("anthropic-version", "2023-06-01"), ("anthropic-beta", BETA)];
    stream_with(&gateway.url("/v1/messages?beta=true"), &headers, body).await
}

#[tokio::test]
async fn at_its_own_vendor_every_round_arrives_as_it_was_sent() {
    let upstream = Upstream::spawn(|_| anthropic::answer(&["It is ", "about tides."]));
    let gateway = spawn_gateway(Provider::new("claude", "anthropic", upstream.url())).await;
    for (round, messages) in rounds().iter().enumerate() {
        let body = request(round, messages);
        let answer = send(&gateway, &body).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-gateway-dropped"), None);
        let answered = answer.rest().await;
        assert_eq!(answered.events().last().unwrap().0, "message_stop");
        let call = upstream.calls_so_far().pop().unwrap();
        assert_eq!(call.path, "/v1/messages?beta=true");
        assert_eq!(call.header("anthropic-beta"), Some(BETA));
        assert_eq!(call.body, body.to_string().as_bytes());
    }
    gateway.end(3).await;
}

/// The local model thinks. Everything that no Ollama knows would be 400 here.
fn local(call: &Call) -> Script {
    let body = call.json();
    let known =
        ["model", "messages", "tools", "options", "stream", "think", "keep_alive", "format"];
    if let Some(odd) = body.as_object().unwrap().keys().find(|key| !known.contains(&key.as_str())) {
        return ollama::error(400, &format!("unknown field {odd}"));
    }
    ollama::reply(call)
}

#[tokio::test]
async fn what_changes_with_every_call_is_translated_where_the_operator_wants_it() {
    let upstream = Upstream::spawn(local);
    for drops in [true, false] {
        let gateway = spawn_gateway(Provider::ollama(&upstream).drop_volatile(drops)).await;
        let answer = send(&gateway, &request(7, &rounds()[0])).await;
        let dropped = answer.header("x-gateway-dropped").unwrap_or_default().to_owned();
        assert_eq!(dropped.contains("x-anthropic-billing-header"), drops, "{dropped}");
        assert_eq!(answer.rest().await.events().last().unwrap().0, "message_stop");
        let system = upstream.calls_so_far().pop().unwrap().json()["messages"][0].clone();
        let text = system["content"].as_str().unwrap();
        assert_eq!(text.contains("cch=7a690"), !drops, "{text}");
        assert!(text.ends_with("You are Claude Code."), "{text}");
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn at_a_local_model_the_session_continues_and_omitted_fields_are_named() {
    let upstream = Upstream::spawn(local);
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    let mut sent: Vec<Vec<Value>> = Vec::new();
    for (round, messages) in rounds().iter().enumerate() {
        let answer = send(&gateway, &request(round, messages)).await;
        assert_eq!(answer.status, 200);
        let dropped = answer.header("x-gateway-dropped").unwrap_or_default().to_owned();
        for name in ["web_search", "context_management", "x-anthropic-billing-header"] {
            assert!(dropped.contains(name), "{name}: {dropped}");
        }
        // The PDF becomes a note as soon as it is there, and no sooner.
        assert_eq!(dropped.contains("document"), round > 0, "{dropped}");
        assert_eq!(answer.rest().await.events().last().unwrap().0, "message_stop");
        let body = upstream.calls_so_far().pop().unwrap().json();
        let tools: Vec<&str> = body["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["function"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(tools, ["Read"]);
        sent.push(body["messages"].as_array().unwrap().clone());
    }
    let texts: Vec<&str> =
        sent[2].iter().map(|message| message["content"].as_str().unwrap_or_default()).collect();
    assert_eq!(texts[0], "You are Claude Code.", "without the line that is never the same");
    let all = texts.join("\n");
    for words in ["that this model cannot read", "late words", "Tides", "It is about tides."] {
        assert!(all.contains(words), "{words}: {all}");
    }
    assert_eq!(sent[2].iter().filter(|message| message["role"] == "system").count(), 1);
    // Earlier turns stay unchanged, or the server would read all of them again.
    for (earlier, later) in [(0, 1), (1, 2)] {
        assert_eq!(sent[later][..sent[earlier].len()], sent[earlier], "round {later}");
    }
    gateway.end(3).await;
}
