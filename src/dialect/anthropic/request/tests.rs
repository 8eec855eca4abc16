//! What Anthropic clients ask, field by field, and what is refused.

use serde_json::json;

use super::*;
use crate::chat::{
    ErrorKind, GatewayError, Image, ImageSource, Message, Part, Role, ToolCall, ToolResult,
};
use crate::dialect::testing::chat;
use crate::dialect::{Anthropic, Dialect};
use proptest::prelude::*;

fn body(changes: Value) -> Value {
    let mut body = json!({
        "model": "claude-test-1", "max_tokens": 2048, "messages": [{"role": "user", "content": "hi"}],
    });
    let Value::Object(changes) = changes else { panic!("an object") };
    body.as_object_mut().unwrap().extend(changes);
    body
}

fn read(changes: Value) -> ChatRequest {
    chat(Anthropic.decode(body(changes).to_string().as_bytes()).unwrap())
}

fn refused(changes: Value) -> GatewayError {
    let error = Anthropic.decode(body(changes).to_string().as_bytes()).unwrap_err();
    assert_eq!(Anthropic.error(&error, "r-1").status, 400);
    error
}

#[test]
fn a_full_request_is_read() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "string"}}});
    let request = read(json!({
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["END", ""], "stream": true,
        "tools": [{"name": "add", "description": "adds", "input_schema": schema, "strict": true}],
        "tool_choice": {"type": "tool", "name": "add", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        "metadata": {"user_id": "u"}, "service_tier": "auto", "container": null,
    }));
    assert_eq!(request.model.as_deref(), Some("claude-test-1"));
    let mark = Part::CacheMark(json!({"type": "ephemeral"}));
    assert_eq!(request.messages[0].content, [Part::Text("Be brief.".into()), mark]);
    assert_eq!(request.messages[1], Message::text(Role::User, "hi"));
    assert_eq!(request.sampling.max_tokens, Some(2048));
    assert_eq!(request.sampling.temperature, Some(0.5));
    assert_eq!(request.sampling.top_k, Some(5));
    assert_eq!(request.sampling.stop, ["END"]);
    assert!(request.stream);
    assert_eq!(request.tools[0].parameters, Some(schema.clone()));
    assert_eq!(request.tools[0].strict, Some(true));
    assert_eq!(request.tool_choice, ToolChoice::Named("add".into()));
    assert_eq!(request.parallel_tool_calls, Some(false));
    assert_eq!(request.effort, Some(Effort::Budget(1024)));
    assert!(matches!(&request.format, Format::Schema { schema: read, .. } if *read == schema));
    let extra = request.extra.unwrap();
    assert_eq!(extra.api, Api::Anthropic);
    assert_eq!(
        Value::Object(extra.fields),
        json!({"metadata": {"user_id": "u"}, "service_tier": "auto"})
    );
}

#[test]
fn marks_for_the_prompt_cache_stay_behind_what_they_mark() {
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    let used = json!({"type": "tool_use", "id": "1", "name": "f", "input": {}});
    let answered = json!({"type": "tool_result", "tool_use_id": "1", "cache_control": mark});
    let asked = json!({"type": "text", "text": "and?", "cache_control": null});
    let request = read(json!({
        "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": mark}],
        "messages": [
            {"role": "assistant", "content": [used]},
            {"role": "user", "content": [answered, asked]},
        ],
    }));
    assert_eq!(request.tools[0].cache_mark.as_ref(), Some(&mark));
    let [_, results, question] = &request.messages[..] else { panic!("{:?}", request.messages) };
    assert!(
        matches!(&results.content[..], [Part::ToolResult(_), Part::CacheMark(kept)] if *kept == mark)
    );
    assert_eq!(question.content, [Part::Text("and?".into())]);
}

#[test]
fn how_much_to_think_is_read_from_both_places() {
    let effort = |thinking: Value, effort: Value| {
        read(json!({"thinking": thinking, "output_config": {"effort": effort}})).effort
    };
    let adaptive = json!({"type": "adaptive"});
    assert_eq!(effort(Value::Null, Value::Null), None);
    assert_eq!(effort(Value::Null, json!("medium")), Some(Effort::Medium));
    assert_eq!(effort(adaptive.clone(), Value::Null), Some(Effort::On));
    assert_eq!(effort(adaptive, json!("xhigh")), Some(Effort::Max));
    assert_eq!(effort(json!({"type": "disabled"}), json!("high")), Some(Effort::None));
}

#[test]
fn choices_have_names_here() {
    let choice = |kind: &str| read(json!({"tool_choice": {"type": kind}})).tool_choice;
    assert_eq!(choice("auto"), ToolChoice::Auto);
    assert_eq!(choice("any"), ToolChoice::Required);
    assert_eq!(choice("none"), ToolChoice::None);
    assert_eq!(read(json!({})).parallel_tool_calls, None);
}

#[test]
fn a_tool_loop_becomes_messages_of_calls_and_results() {
    let png = "iVBORw0KGgo=";
    let source = json!({"type": "base64", "media_type": "image/jpeg", "data": png});
    let request = read(json!({"messages": [
        {"role": "user", "content": [
            {"type": "text", "text": ""},
            {"type": "image", "source": {"type": "url", "url": "https://example.org/x.png"}},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "redacted_thinking", "data": "secret"},
            {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"b": 1, "a": 2}},
        ]},
        {"role": "user", "content": [
            {"type": "text", "text": "and now?"},
            {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": [
                {"type": "text", "text": "42"}, {"type": "image", "source": source},
            ]},
            {"type": "tool_result", "tool_use_id": "toolu_2"},
        ]},
    ]}));
    let url = ImageSource::Url("https://example.org/x.png".into());
    let image = |source| Part::Image(Image { source, detail: None });
    assert_eq!(request.messages[0].content, [image(url)]);
    let call = ToolCall {
        id: Some("toolu_1".into()),
        name: "add".into(),
        arguments: "{\"b\":1,\"a\":2}".into(),
    };
    assert_eq!(
        request.messages[1].content,
        [Part::Reasoning { text: "hm".into(), signature: None }, Part::ToolCall(call)]
    );
    assert_eq!(request.messages[2].role, Role::Tool);
    // The bytes say PNG, whatever was declared.
    let inline = ImageSource::Inline { media_type: "image/png".into(), base64: png.into() };
    let result = ToolResult {
        call_id: Some("toolu_1".into()),
        name: Some("add".into()),
        content: vec![Part::Text("42".into()), image(inline)],
        is_error: true,
    };
    assert_eq!(request.messages[2].content[0], Part::ToolResult(result));
    assert_eq!(request.messages[2].content.len(), 2);
    assert_eq!(request.messages[3], Message::text(Role::User, "and now?"));
}

fn each_is_refused(table: &[(Value, &str, &str)]) {
    for (changes, path, rule) in table {
        let error = refused(changes.clone());
        assert_eq!(error.kind, ErrorKind::SchemaMismatch, "{changes}");
        let found: Vec<(String, &str)> =
            error.problems.iter().map(|problem| (problem.path.join("."), problem.rule)).collect();
        assert_eq!(found, [((*path).to_owned(), *rule)], "{changes}");
        assert!(error.message.starts_with(&format!("{path}: ")), "{}", error.message);
    }
}

#[test]
fn every_refusal_names_its_field() {
    each_is_refused(&[
        (json!({"model": null}), "model", "none_not_allowed"),
        (json!({"model": ""}), "model", "too_short"),
        (json!({"max_tokens": null}), "max_tokens", "missing"),
        (json!({"max_tokens": -1}), "max_tokens", "greater_than_equal"),
        (json!({"temperature": 1.5}), "temperature", "less_than_equal"),
        (json!({"stop_sequences": [1]}), "stop_sequences.0", "string_type"),
        (
            json!({"tools": [{"type": "web_search_20250305", "name": "w"}]}),
            "tools.0.type",
            "unsupported",
        ),
        (json!({"tools": [{"name": "w"}]}), "tools.0.input_schema", "missing"),
        (json!({"tool_choice": {}}), "tool_choice.type", "missing"),
        (json!({"tool_choice": {"type": ""}}), "tool_choice.type", "literal_error"),
        (json!({"tool_choice": {"type": "some"}}), "tool_choice.type", "literal_error"),
        (json!({"tool_choice": {"type": "tool"}}), "tool_choice.name", "missing"),
        (json!({"thinking": {"type": "deep"}}), "thinking.type", "literal_error"),
        (json!({"thinking": {"type": "enabled"}}), "thinking.budget_tokens", "missing"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1023}}),
            "thinking.budget_tokens",
            "greater_than_equal",
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 2048}}),
            "thinking.budget_tokens",
            "less_than",
        ),
        (json!({"output_config": {"effort": "some"}}), "output_config.effort", "literal_error"),
        (
            json!({"output_config": {"format": {"type": "xml", "schema": {}}}}),
            "output_config.format.type",
            "literal_error",
        ),
    ]);
}

#[test]
fn every_refusal_names_its_block() {
    let said = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
    let picture = |source: Value| said(json!({"type": "image", "source": source}));
    let base64 =
        |kind: &str, text: &str| json!({"type": "base64", "media_type": kind, "data": text});
    let file = json!({"type": "file", "file_id": "f"});
    each_is_refused(&[
        (json!({"messages": []}), "messages", "too_short"),
        (json!({"messages": [{"content": "hi"}]}), "messages.0.role", "missing"),
        (json!({"messages": [{"role": ""}]}), "messages.0.role", "literal_error"),
        (json!({"messages": [{"role": "robot"}]}), "messages.0.role", "literal_error"),
        (json!({"messages": [{"role": "user"}]}), "messages.0.content", "missing"),
        (
            json!({"messages": [{"role": "user", "content": 1}]}),
            "messages.0.content",
            "string_type",
        ),
        (said(json!({"type": "document"})), "messages.0.content.0.type", "unsupported"),
        (said(json!({"type": "tool_use"})), "messages.0.content.0.type", "unsupported"),
        (said(json!({"type": "text"})), "messages.0.content.0.text", "missing"),
        (picture(file), "messages.0.content.0.source.type", "unsupported"),
        (picture(base64("image/png", "%")), "messages.0.content.0.source.data", "base64"),
        (
            picture(base64("image/tiff", "AAAA")),
            "messages.0.content.0.source.media_type",
            "literal_error",
        ),
        (json!({"system": [{"type": "image"}]}), "system.0.type", "unsupported"),
    ]);
}

#[test]
fn what_is_no_object_is_malformed() {
    for body in ["", "[]", "{\"model\":", "{\"model\":\"a\",\"model\":\"b\"}"] {
        let error = Anthropic.decode(body.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Anthropic.decode(&body);
    }
}
