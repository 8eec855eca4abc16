//! Requests of Ollama clients: each field, and each rejection.

use serde_json::json;

use super::*;
use crate::dialect::testing;
use crate::dialect::{Dialect, Ollama};
use proptest::prelude::*;

fn chat(body: &Value) -> ChatRequest {
    testing::chat(Ollama::Chat.decode(body.to_string().as_bytes()).unwrap())
}

fn refusal(route: Ollama, body: &str) -> String {
    let error = route.decode(body.as_bytes()).unwrap_err();
    let written = route.error(&error, "r-1");
    assert_eq!(written.status, 400, "{body}");
    let body: Value = serde_json::from_slice(&written.body).unwrap();
    body["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_full_request_is_read() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "string"}}});
    let request = chat(&json!({
        "model": "llama3.1",
        "messages": [
            {"role": "System", "content": "Be brief."},
            {"role": "user", "content": "look", "images": ["iVBORw0KGgo="]},
            {"role": "assistant", "thinking": "hm", "content": ""},
        ],
        "tools": [{"type": "function", "function": {"name": "add", "description": "adds", "parameters": schema}}],
        "format": schema, "think": "high", "keep_alive": "5m", "logprobs": true, "top_logprobs": 3,
        "options": {"num_predict": 64, "temperature": 0.1, "seed": 7, "stop": ["", "END"], "num_ctx": 4096.0, "top_k": null},
    }));
    assert_eq!(request.model.as_deref(), Some("llama3.1"));
    assert!(request.stream, "streaming is the default");
    assert_eq!(request.messages[0], Message::text(Role::System, "Be brief."));
    let Part::Image(image) = &request.messages[1].content[1] else { panic!("an image") };
    let inline =
        ImageSource::Inline { media_type: "image/png".into(), base64: "iVBORw0KGgo=".into() };
    assert_eq!(image.source, inline);
    let thought = Part::Reasoning { text: "hm".into(), signature: None };
    assert_eq!(request.messages[2].content, [thought]);
    assert_eq!(request.tools[0].name, "add");
    assert_eq!(request.tools[0].parameters, Some(schema.clone()));
    assert!(matches!(&request.format, Format::Schema { schema: read, .. } if *read == schema));
    assert_eq!(request.effort, Some(Effort::High));
    assert_eq!(request.logprobs, Some(3));
    assert_eq!(request.sampling.max_tokens, Some(64));
    assert_eq!(request.sampling.stop, ["END"]);
    assert_eq!(request.sampling.top_k, None);
    let extra = request.extra.unwrap();
    assert_eq!(extra.api, Api::Ollama);
    assert_eq!(
        Value::Object(extra.fields),
        json!({"keep_alive": "5m", "options": {"num_ctx": 4096.0}})
    );
}

#[test]
fn values_for_no_limit_are_absent() {
    for unlimited in [json!(-1), json!(-2), Value::Null] {
        let options = json!({"num_predict": unlimited, "seed": -1, "num_keep": null});
        let request = chat(&json!({"model": "m", "messages": [], "options": options}));
        assert_eq!(request.sampling, Sampling::default());
        assert_eq!(request.extra, None);
    }
}

#[test]
fn an_empty_prompt_loads_the_model_and_is_never_streamed() {
    let request = chat(&json!({"model": "m", "stream": true, "keep_alive": 0}));
    assert!(!request.stream && request.messages.is_empty());
    let request = testing::chat(
        Ollama::Generate.decode(br#"{"model":"m","prompt":"","system":"s"}"#).unwrap(),
    );
    assert!(!request.stream && request.messages.is_empty());
}

#[test]
fn results_without_ids_belong_to_the_calls_before_them() {
    let made = |name: &str| json!({"function": {"name": name, "arguments": {"b": 1, "a": 2}}});
    let request = chat(&json!({"model": "m", "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [made("add"), made("sub"), made("add")]},
        {"role": "tool", "content": "1", "tool_name": "sub"},
        {"role": "tool", "content": "2"},
        {"role": "tool", "content": "3", "tool_name": "add"},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "tool_calls": [{"id": "own", "function": {"name": "mul"}}]},
        {"role": "tool", "content": "5", "tool_call_id": "own"},
    ]}));
    let linked: Vec<(Option<&str>, Option<&str>)> = request
        .messages
        .iter()
        .filter_map(|message| match &message.content[0] {
            Part::ToolResult(ToolResult { call_id, name, .. }) => {
                Some((call_id.as_deref(), name.as_deref()))
            }
            Part::Text(_)
            | Part::Image(_)
            | Part::Reasoning { .. }
            | Part::ToolCall(_)
            | Part::CacheMark(_)
            | Part::Document(_)
            | Part::Foreign(_) => None,
        })
        .collect();
    assert_eq!(
        linked,
        [
            (Some("c00001001"), Some("sub")),
            (Some("c00001000"), Some("add")),
            (Some("c00001002"), Some("add")),
            (None, None),
            (Some("own"), Some("mul")),
        ]
    );
    let first = ToolCall {
        id: Some("c00001000".into()),
        name: "add".into(),
        arguments: "{\"b\":1,\"a\":2}".into(),
    };
    assert_eq!(request.messages[1].content[0], Part::ToolCall(first));
}

#[test]
fn a_prompt_becomes_a_conversation() {
    let body = json!({
        "model": "m", "prompt": "look", "system": "Be brief.", "images": ["/9j/"], "raw": false, "context": [],
        "suffix": "there", "stream": false, "think": true, "format": "json",
    });
    let request = testing::chat(Ollama::Generate.decode(body.to_string().as_bytes()).unwrap());
    assert_eq!(request.suffix.as_deref(), Some("there"));
    assert_eq!(request.messages[0], Message::text(Role::System, "Be brief."));
    assert_eq!(request.messages[1].content.len(), 2);
    assert_eq!((request.stream, request.format), (false, Format::Json));
    assert_eq!(request.effort, Some(Effort::On));
    assert_eq!(request.extra, None);
}

#[test]
fn every_refusal_says_what_would_be_right() {
    let table = [
        ("", "missing request body"),
        (" \n", "missing request body"),
        ("{\"model\":", "the body is not valid JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "model is required"),
        (r#"{"model":""}"#, "model is required"),
        (r#"{"model":1}"#, "model: "),
        (r#"{"model":"m","messages":[{"content":"a"}]}"#, "messages.0.role: Field required"),
        (r#"{"model":"m","messages":[{"role":"user","content":[]}]}"#, "messages.0.content: "),
        (
            r#"{"model":"m","messages":[{"role":"user","images":["data:x"]}]}"#,
            "messages.0.images.0: Input should be base64",
        ),
        (
            r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"[]"}}]}]}"#,
            "messages.0.tool_calls.0.function.arguments: ",
        ),
        (r#"{"model":"m","tools":[{"type":"web","function":{}}]}"#, "tools.0.function.name: "),
        (r#"{"model":"m","tools":[{"type":"function"}]}"#, "tools.0.function: Field required"),
        (r#"{"model":"m","options":{"temperature":"hot"}}"#, "options.temperature: "),
        (r#"{"model":"m","options":{"stop":[1]}}"#, "options.stop.0: "),
        (r#"{"model":"m","format":"xml"}"#, "invalid format"),
        (r#"{"model":"m","think":"deeply"}"#, "invalid think value"),
        (r#"{"model":"m","top_logprobs":21}"#, "top_logprobs must be between 0 and 20"),
    ];
    for (body, words) in table {
        let said = refusal(Ollama::Chat, body);
        assert!(said.contains(words), "{body}: {said}");
    }
    for (key, value) in [("raw", "true"), ("template", "\"t\""), ("context", "[1]")] {
        let body = format!("{{\"model\":\"m\",\"prompt\":\"p\",\"{key}\":{value}}}");
        let said = refusal(Ollama::Generate, &body);
        assert!(said.starts_with(&format!("{key}: ")), "{said}");
    }
}

#[test]
fn unknown_fields_are_kept_or_named_and_never_rejected() {
    let request = chat(&json!({"model": "m", "messages": [
        {"role": "control", "content": "thinking"},
        {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{\"a\":1}"}}]},
    ], "tools": [{"type": "web_search"}, {"type": "function", "function": {"name": "f"}}]}));
    let Part::Foreign(role) = &request.messages[0].content[0] else { panic!("a role") };
    assert_eq!((role.api, &role.value), (Api::Ollama, &json!({"role": "control"})));
    let Part::ToolCall(call) = &request.messages[1].content[0] else { panic!("a call") };
    assert_eq!(call.arguments, "{\"a\":1}");
    assert_eq!((request.tools.len(), request.dropped), (1, vec!["web_search".to_owned()]));
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Ollama::Chat.decode(&body);
        let _ = Ollama::Generate.decode(&body);
    }
}
