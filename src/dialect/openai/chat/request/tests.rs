//! Chat completion requests: every field, every rejection by name, wrong values at any place.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chat::{
    Api, Effort, Foreign, Format, Image, ImageSource, Message, Part, Role, Tool, ToolCall,
    ToolChoice, ToolResult,
};
use crate::dialect::openai::tests::{altered, any_value, decode, refuses};
use crate::dialect::{Dialect, OpenAiChat};

fn minimal() -> Value {
    json!({"model": "gpt-test-1-0001", "messages": [{"role": "user", "content": "hi"}]})
}

fn full() -> Value {
    json!({
        "model": "m", "stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false},
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "name": "ann", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            ]},
            {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"a\":1}"}},
                {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": ""}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "1"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]},
        ],
        "tools": [
            {"type": "function", "function": {
                "name": "add", "description": "adds", "parameters": {"type": "object"}, "strict": true,
            }},
            {"type": "function", "function": {"name": "now"}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "add"}}, "parallel_tool_calls": false,
        "max_tokens": 5, "max_completion_tokens": 7.0, "temperature": 0.5, "top_p": 0.9, "seed": -3,
        "presence_penalty": 1, "frequency_penalty": -1, "stop": ["a", "", "b"], "n": 2,
        "logprobs": true, "top_logprobs": 3, "logit_bias": {"50256": -100}, "reasoning_effort": "minimal",
        "response_format": {
            "type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": true},
        },
        "user": "u", "metadata": {"k": "v"}, "store": true, "verbosity": null, "new_field": 1, "model_hint": "local",
    })
}

#[test]
fn settings_are_read_and_the_rest_is_kept_for_the_same_api() {
    let request = decode(&OpenAiChat, &full());
    assert_eq!(request.model.as_deref(), Some("m"));
    assert_eq!(request.hint.as_deref(), Some("local"));
    assert!(request.stream && request.shape.stream_usage);
    let sampling = &request.sampling;
    assert_eq!((sampling.max_tokens, sampling.seed), (Some(7), Some(-3)));
    assert_eq!((sampling.temperature, sampling.top_p), (Some(0.5), Some(0.9)));
    assert_eq!((sampling.presence_penalty, sampling.frequency_penalty), (Some(1.0), Some(-1.0)));
    assert_eq!(sampling.stop, ["a", "b"]);
    assert_eq!((request.n, request.logprobs), (Some(2), Some(3)));
    assert_eq!(request.effort, Some(Effort::Low));
    assert_eq!(request.parallel_tool_calls, Some(false));
    assert_eq!(request.tool_choice, ToolChoice::Named("add".into()));
    let tool = |name: &str, description, parameters, strict| Tool {
        name: name.to_owned(),
        description,
        parameters,
        strict,
        ..Tool::default()
    };
    let add = tool("add", Some("adds".into()), Some(json!({"type": "object"})), Some(true));
    assert_eq!(request.tools, [add, tool("now", None, None, None)]);
    assert_eq!(
        request.format,
        Format::Schema {
            name: Some("s".into()),
            description: None,
            schema: json!({"type": "object"}),
            strict: Some(true),
        }
    );
    let mut extra: Vec<_> = request.extra.unwrap().fields.keys().cloned().collect();
    extra.sort();
    assert_eq!(extra, ["logit_bias", "metadata", "new_field", "store", "user"]);
}

#[test]
fn messages_keep_their_parts_in_order() {
    let messages = decode(&OpenAiChat, &full()).messages;
    assert_eq!(messages[0], Message::text(Role::System, "Be brief."));
    let inline =
        ImageSource::Inline { media_type: "image/png".into(), base64: "iVBORw0KGgo=".into() };
    let address = ImageSource::Url("https://example.org/a.png".into());
    let looked = vec![
        Part::Text("look".into()),
        Part::Image(Image { source: inline, detail: Some("low".into()) }),
        Part::Image(Image { source: address, detail: None }),
    ];
    assert_eq!(messages[1].content, looked);
    assert_eq!(messages[1].name.as_deref(), Some("ann"));
    let call = |id: &str, name: &str, arguments: &str| {
        let (name, arguments) = (name.to_owned(), arguments.to_owned());
        Part::ToolCall(ToolCall { id: Some(id.to_owned()), name, arguments })
    };
    let thought = Part::Reasoning { text: "hm".into(), signature: None };
    let own = Part::Foreign(Foreign {
        api: Api::OpenAi,
        kind: "reasoning".into(),
        text: None,
        is_decisive: false,
        value: json!({"reasoning_content": "hm"}),
    });
    let calls = [thought, own, call("call_1", "add", "{\"a\":1}"), call("call_2", "now", "{}")];
    assert_eq!(messages[2].content, calls);
    let result = |id: &str, text: &str| {
        vec![Part::ToolResult(ToolResult {
            call_id: Some(id.to_owned()),
            name: None,
            content: vec![Part::Text(text.to_owned())],
            is_error: false,
        })]
    };
    assert_eq!(messages[3].content, result("call_1", "1"));
    assert_eq!(messages[4].content, result("call_2", "noon"));
    assert_eq!(messages[4].role, Role::Tool);
}

#[test]
fn null_is_absent_everywhere() {
    let mut body = full();
    let object = body.as_object_mut().unwrap();
    let kept = ["model", "messages"];
    for (_, value) in object.iter_mut().filter(|(key, _)| !kept.contains(&key.as_str())) {
        *value = Value::Null;
    }
    let request = decode(&OpenAiChat, &body);
    assert_eq!(request.extra, None);
    assert_eq!(request.tool_choice, ToolChoice::Auto);
    assert!(!request.stream && !request.shape.stream_usage && !request.shape.old_functions);
}

#[test]
fn allowed_tools_become_the_tools() {
    let mut body = full();
    let named = json!({"type": "function", "function": {"name": "now"}});
    body["tool_choice"] =
        json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}});
    let request = decode(&OpenAiChat, &body);
    assert_eq!(request.tool_choice, ToolChoice::Required);
    assert_eq!(request.tools.len(), 1);
    assert_eq!(request.tools[0].name, "now");
}

#[test]
fn unsupported_values_are_refused_by_name() {
    let said = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let picture = |url: &str| said(json!([{"type": "image_url", "image_url": {"url": url}}]));
    refuses(
        &OpenAiChat,
        &minimal(),
        &[
            (picture("ftp://x/y"), "messages[0].content[0].image_url", "invalid_value"),
            (
                picture("data:image/png;base64,*"),
                "messages[0].content[0].image_url",
                "invalid_value",
            ),
            (
                json!({"tool_choice": {"type": "web_search"}}),
                "tool_choice.type",
                "unsupported_value",
            ),
            (
                json!({"functions": [{"name": "f"}], "tools": [{"type": "web_search"}]}),
                "functions",
                "unsupported_parameter",
            ),
        ],
    );
}

#[test]
fn an_invalid_message_is_refused_by_name() {
    let message = |message: Value| json!({"messages": [message]});
    refuses(
        &OpenAiChat,
        &minimal(),
        &[
            (json!({"messages": []}), "messages", "invalid_value"),
            (json!({"messages": "hi"}), "messages", "invalid_type"),
            (message(json!(7)), "messages[0]", "invalid_type"),
            (message(json!({"role": "user"})), "messages[0].content", "missing_required_parameter"),
            (
                message(json!({"role": "tool", "content": "x"})),
                "messages[0].tool_call_id",
                "missing_required_parameter",
            ),
            (
                message(
                    json!({"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]}),
                ),
                "messages[0].tool_calls[0].function",
                "missing_required_parameter",
            ),
            (
                message(
                    json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 1}}]}),
                ),
                "messages[0].tool_calls[0].function.arguments",
                "invalid_type",
            ),
        ],
    );
}

#[test]
fn a_setting_out_of_bounds_is_refused_by_name() {
    refuses(
        &OpenAiChat,
        &minimal(),
        &[
            (json!({"model": null}), "model", "missing_required_parameter"),
            (json!({"model": " "}), "model", "invalid_value"),
            (json!({"top_p": "x"}), "top_p", "invalid_type"),
            (json!({"max_tokens": 0}), "max_tokens", "invalid_value"),
            (json!({"max_completion_tokens": 1.5}), "max_completion_tokens", "invalid_type"),
            (json!({"stop": 1}), "stop", "invalid_type"),
            (json!({"n": 0}), "n", "invalid_value"),
            (json!({"top_logprobs": 2}), "top_logprobs", "invalid_value"),
            (json!({"logprobs": true, "top_logprobs": 256}), "top_logprobs", "invalid_value"),
            (json!({"logit_bias": [1]}), "logit_bias", "invalid_type"),
        ],
    );
}

#[test]
fn a_contradictory_combination_is_refused_by_name() {
    refuses(
        &OpenAiChat,
        &minimal(),
        &[
            (json!({"stream_options": {"include_usage": true}}), "stream_options", "invalid_value"),
            (json!({"reasoning_effort": "huge"}), "reasoning_effort", "invalid_value"),
            (json!({"response_format": {"type": "xml"}}), "response_format.type", "invalid_value"),
            (
                json!({"response_format": {"type": "json_schema"}}),
                "response_format.json_schema",
                "missing_required_parameter",
            ),
            (
                json!({"tools": [{"type": "function", "function": {}}]}),
                "tools[0].function.name",
                "missing_required_parameter",
            ),
            (json!({"tool_choice": "required"}), "tool_choice", "invalid_value"),
            (
                json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}),
                "tool_choice",
                "invalid_value",
            ),
            (
                json!({"functions": [{"name": "f"}], "function_call": {"name": "g"}}),
                "function_call",
                "invalid_value",
            ),
        ],
    );
}

mod lenience;

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = OpenAiChat.decode(&body);
    }

    #[test]
    fn no_wrong_value_causes_a_panic(place in any::<usize>(), by in any_value()) {
        let _ = OpenAiChat.decode(altered(&full(), place, by).to_string().as_bytes());
    }
}
