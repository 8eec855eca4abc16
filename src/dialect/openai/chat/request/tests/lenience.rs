//! Requests of clients of other servers with this API, and unknown fields and values.

use serde_json::{Value, json};

use super::minimal;
use crate::chat::{Api, ChatRequest, Format, Part, Role, ToolChoice};
use crate::dialect::OpenAiChat;
use crate::dialect::openai::tests::decode;

fn with(fields: Value) -> ChatRequest {
    let mut body = minimal();
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    decode(&OpenAiChat, &body)
}

fn functions() -> Value {
    json!([{"type": "function", "function": {"name": "add"}}, {"type": "function", "function": {"name": "now"}}])
}

#[test]
fn no_limit_has_several_spellings() {
    for limit in [json!(-1), json!(-1.0), json!(-2), Value::Null] {
        let request = with(json!({"max_tokens": limit, "max_completion_tokens": limit}));
        assert_eq!(request.sampling.max_tokens, None, "{limit}");
    }
    assert_eq!(
        with(json!({"max_tokens": -1, "max_completion_tokens": 7})).sampling.max_tokens,
        Some(7)
    );
}

#[test]
fn bounds_are_left_to_the_provider() {
    let stops: Vec<String> = (0..12).map(|number| format!("<{number}>")).collect();
    let request =
        with(json!({"stop": stops, "temperature": 3.5, "top_p": 1.5, "presence_penalty": -9,
        "frequency_penalty": 9, "n": 1000, "logprobs": true, "top_logprobs": 100}));
    assert_eq!(request.sampling.stop, stops);
    assert_eq!(request.sampling.temperature, Some(3.5));
    assert_eq!((request.n, request.logprobs), (Some(1000), Some(100)));
}

#[test]
fn content_may_be_empty_beside_calls_and_in_results() {
    let call = json!([{"id": "a", "type": "function", "function": {"name": "f", "arguments": {}}}]);
    for nothing in [json!([]), Value::Null, json!("")] {
        let request = with(json!({"messages": [
            {"role": "user", "content": nothing},
            {"role": "assistant", "content": nothing, "tool_calls": call, "function_call": null},
            {"role": "tool", "tool_call_id": "a", "content": nothing},
        ]}));
        assert_eq!(request.messages.len(), 3);
        assert_eq!(request.messages[1].joined_text(), "", "{nothing}");
    }
}

#[test]
fn a_choice_of_tools_has_many_spellings() {
    for (choice, meant) in [
        (json!({"type": "auto"}), ToolChoice::Auto),
        (json!("auto"), ToolChoice::Auto),
        (Value::Null, ToolChoice::Auto),
        (json!({"type": "none"}), ToolChoice::None),
        (json!({"type": "required"}), ToolChoice::Required),
        (json!({"type": "any"}), ToolChoice::Required),
        (json!("any"), ToolChoice::Required),
        (json!("now"), ToolChoice::Named("now".into())),
        (json!({"type": "function", "name": "now"}), ToolChoice::Named("now".into())),
        (json!({"type": "tool", "name": "now"}), ToolChoice::Named("now".into())),
        (json!({"function": {"name": "now"}}), ToolChoice::Named("now".into())),
    ] {
        let request = with(json!({"tools": functions(), "tool_choice": choice}));
        assert_eq!(request.tool_choice, meant, "{choice}");
    }
}

#[test]
fn hosted_tools_are_dropped_and_named() {
    let mut tools = functions();
    let tools = tools.as_array_mut().unwrap();
    tools.push(json!({"type": "web_search", "filters": {}}));
    tools.push(json!({"type": "mcp", "server_url": "https://example.org"}));
    tools.push(json!({"type": "function", "name": "flat", "parameters": {"type": "object"}}));
    tools.push(json!({"type": "custom", "custom": {"name": "patch", "description": "Patches."}}));
    let request = with(json!({"tools": tools}));
    let names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["add", "now", "flat", "patch"]);
    assert_eq!(request.tools[3].parameters.as_ref().unwrap()["required"], json!(["input"]));
    assert_eq!(request.dropped, ["web_search", "mcp"]);
}

#[test]
fn a_schema_is_found_at_any_place() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    for format in [
        json!({"type": "json_object", "schema": schema}),
        json!({"type": "json_schema", "schema": schema}),
        json!({"type": "json_schema", "json_schema": {"schema": schema, "strict": null}}),
        json!({"type": "json_schema", "json_schema": schema}),
        json!({"type": "json_object", "json_schema": {"schema": schema}}),
    ] {
        let request = with(json!({"response_format": format}));
        let Format::Schema { schema: found, .. } = request.format else { panic!("{format}") };
        assert_eq!(found, schema, "{format}");
    }
    assert_eq!(with(json!({"response_format": {"type": "json_object"}})).format, Format::Json);
    assert_eq!(
        with(json!({"response_format": {"type": "json_object", "schema": null}})).format,
        Format::Json
    );
}

#[test]
fn parts_are_kept_unchanged_or_as_text_or_are_named() {
    let sound = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}});
    let request = with(json!({"messages": [{"role": "critic", "content": [
        sound, "bare", {"type": "thing", "text": "told"}, {"type": "odd", "data": 1}, {"text": "kindless"},
    ]}]}));
    let message = &request.messages[0];
    assert_eq!(message.role, Role::User);
    let Part::Foreign(part) = &message.content[0] else { panic!("{message:?}") };
    assert_eq!((part.api, &part.value, part.is_decisive), (Api::OpenAi, &sound, true));
    assert_eq!(message.joined_text(), "bare\ntold\nkindless");
    assert_eq!(request.dropped, ["critic", "thing", "odd"]);
}

#[test]
fn reasoning_comes_back_under_any_name() {
    let details = json!([{"type": "reasoning.text", "text": "hm", "signature": "s"}, {"type": "reasoning.encrypted", "data": "x"}]);
    for fields in [
        json!({"reasoning_content": "hm"}),
        json!({"reasoning": "hm"}),
        json!({"reasoning_content": "hm", "reasoning": "hm"}),
        json!({"reasoning_details": details}),
    ] {
        let mut message = json!({"role": "assistant", "content": "so"});
        message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let content = with(json!({"messages": [message]})).messages.remove(0).content;
        assert_eq!(content[0], Part::Reasoning { text: "hm".into(), signature: None });
        let Part::Foreign(own) = &content[1] else { panic!("{content:?}") };
        assert_eq!(own.value, fields);
    }
}

#[test]
fn unknown_fields_of_a_message_are_named() {
    let request = with(json!({"messages": [
        {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}], "weight": 1},
        {"role": "assistant", "content": "b", "prefix": true, "annotations": [], "refusal": null},
    ]}));
    assert_eq!(request.dropped, ["weight", "prefix"]);
    assert_eq!(request.messages[0].content[1], Part::CacheMark(json!({"type": "ephemeral"})));
}
