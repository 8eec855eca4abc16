//! The reading of OpenAI's bodies and the writing of its chunks.

use super::*;
use crate::sim::prompt_cache::Reading;
use crate::sim::told::{Counts, Times};

fn told(counts: Counts) -> Told {
    let reading = Reading { tokens: 3, cached: 2, ..Reading::default() };
    Told { counts, times: Times { reading, ..Times::default() } }
}

fn read(body: Value) -> Result<(Ask, Openai), Refusal> {
    Openai::read(&body, 7)
}

#[test]
fn a_body_is_read_as_ollama_reads_it() {
    let (ask, openai) = read(json!({"model": "mistral", "max_tokens": 9, "stop": "\n",
        "max_completion_tokens": 3, "stream_options": {"include_usage": true},
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "string"}}},
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]}]}))
    .expect("accepted");
    assert_eq!((ask.num_predict, ask.stop.as_slice()), (Some(9), &["\n".to_owned()][..]));
    assert_eq!(ask.messages.len(), 2, "each part is a separate message");
    assert_eq!(ask.format, Format::Schema(json!({"type": "string"})));
    assert!(!ask.stream && openai.include_usage);
    assert_eq!(openai.id, "chatcmpl-7");
}

#[test]
fn invalid_bodies_are_refused_with_400() {
    let content = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let by_address = json!([{"type": "image_url", "image_url": "https://example.com/a.png"}]);
    let one = || json!([{"role": "user", "content": "a"}]);
    for odd in [
        json!([]),
        json!({"model": "m"}),
        content(json!(3)),
        content(json!([3])),
        content(by_address),
        json!({"messages": one(), "reasoning_effort": "much"}),
        json!({"messages": one(), "stream": "yes"}),
    ] {
        assert_eq!(read(odd.clone()).expect_err("refused").status, 400, "{odd}");
    }
}

#[test]
fn a_tool_call_finishes_with_tool_calls_and_arguments_are_a_string() {
    let call =
        ToolCall { id: "call_1".into(), index: 0, name: "f".into(), arguments: json!({"a": 1}) };
    let pieces = vec![Piece::Call(call)];
    let answer = Answer { pieces, reason: DoneReason::Stop };
    let whole = Openai::default().whole("m", &answer, &told(Counts::OlderOllama));
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"], "{\"a\":1}");
    assert_eq!(whole["usage"]["prompt_tokens"], 3);
    assert!(whole["usage"].get("prompt_tokens_details").is_none());
    assert!(whole.get("timings").is_none());
}

#[test]
fn a_stream_ends_with_the_finish_the_requested_usage_and_done() {
    let answer = Answer::silent(DoneReason::Length);
    let last = |include_usage| {
        let openai = Openai { include_usage, ..Openai::default() };
        let bytes = openai.last("m", &answer, &told(Counts::Ollama));
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    };
    let events: Vec<String> = last(true).split_terminator("\n\n").map(str::to_owned).collect();
    assert_eq!(events.len(), 3);
    assert!(events[0].contains("\"finish_reason\":\"length\""), "{}", events[0]);
    assert!(events[1].contains("\"choices\":[]") && events[1].contains("\"usage\""));
    assert_eq!(events[2], "data: [DONE]");
    assert!(events[1].contains("\"prompt_tokens_details\":{\"cached_tokens\":2}"), "{}", events[1]);
    assert!(!last(false).contains("usage"));
}

#[test]
fn a_llama_server_tells_its_timings_in_the_last_chunk_and_does_not_count_remembered_as_read() {
    let (answer, told) = (Answer::silent(DoneReason::Stop), told(Counts::LlamaServer));
    let timings =
        |value: &Value| (value["timings"]["prompt_n"].clone(), value["timings"]["cache_n"].clone());
    let whole = Openai::default().whole("m", &answer, &told);
    assert_eq!(timings(&whole), (json!(1), json!(2)));
    assert_eq!(whole["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
    for include_usage in [false, true] {
        let openai = Openai { include_usage, ..Openai::default() };
        let bytes = openai.last("m", &answer, &told);
        let text = std::str::from_utf8(&bytes).expect("UTF-8");
        let chunks = text.split("\n\n").filter_map(|event| event.strip_prefix("data: {"));
        let last = chunks.last().expect("a chunk");
        let last: Value = serde_json::from_str(&format!("{{{last}")).expect("JSON");
        assert_eq!(timings(&last), (json!(1), json!(2)));
        assert_eq!(last.get("usage").is_some(), include_usage);
    }
}

#[test]
fn calls_and_reasoning_that_are_sent_back_are_seen_as_ollamas_own_api_says_them() {
    let (ask, _) = read(json!({"model": "m", "messages": [
        {"role": "assistant", "content": null, "reasoning": "so", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]},
        {"role": "user", "content": []},
    ]}))
    .expect("accepted");
    let native = Ask::chat(&json!({"model": "m", "messages": [
        {"role": "assistant", "content": "", "thinking": "so", "tool_calls": [
            {"function": {"name": "f", "arguments": {"a": 1}}}]},
    ]}))
    .expect("accepted");
    assert_eq!(ask.messages, native.messages);
}
