//! Responses requests: items and turns, every refusal by name, wrong values at any place.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chat::{
    Effort, Format, Image, ImageSource, Message, Part, Role, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::dialect::openai::tests::{altered, any_value, decode, refuses};
use crate::dialect::{Dialect, OpenAiResponses};

fn minimal() -> Value {
    json!({"model": "m", "input": "hi"})
}

fn full() -> Value {
    json!({
        "model": "m", "stream": true, "instructions": "Be brief.", "max_output_tokens": 9, "temperature": 0.5,
        "top_p": 0.9, "top_logprobs": 2, "parallel_tool_calls": true, "max_tool_calls": 3,
        "reasoning": {"effort": "high", "summary": "auto"}, "truncation": "disabled", "store": true,
        "text": {
            "format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": true},
            "verbosity": "low",
        },
        "include": ["reasoning.encrypted_content"], "metadata": {"k": "v"}, "user": "u", "new_field": 1,
        "previous_response_id": null, "background": false, "stream_options": {"include_obfuscation": false},
        "tools": [{"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": true}],
        "tool_choice": {"type": "function", "name": "add"},
        "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"},
            ]},
            {"type": "reasoning", "id": "rs_1", "encrypted_content": "x",
             "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "adding", "annotations": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": "{}"},
            {"type": "function_call", "call_id": "call_2", "name": "add", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "1"},
            {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "2"}]},
            {"role": "developer", "content": "Go on."},
        ],
    })
}

#[test]
fn settings_are_read_and_what_chat_shares_is_kept() {
    let request = decode(&OpenAiResponses, &full());
    assert_eq!(request.sampling.max_tokens, Some(9));
    assert_eq!((request.sampling.temperature, request.sampling.top_p), (Some(0.5), Some(0.9)));
    assert_eq!(request.logprobs, Some(2));
    assert_eq!(request.effort, Some(Effort::High));
    assert_eq!(request.tool_choice, ToolChoice::Named("add".into()));
    let parameters = Some(json!({"type": "object"}));
    let add = Tool {
        name: "add".into(),
        description: None,
        parameters,
        strict: Some(true),
        ..Tool::default()
    };
    assert_eq!(request.tools, [add]);
    let schema = json!({"type": "object"});
    let name = Some("s".to_owned());
    let format = Format::Schema { name, description: None, schema, strict: Some(true) };
    assert_eq!(request.format, format);
    let mut kept: Vec<_> = request.extra.unwrap().fields.keys().cloned().collect();
    kept.sort();
    assert_eq!(kept, ["metadata", "user", "verbosity"]);
}

#[test]
fn items_of_one_turn_become_one_message() {
    let messages = decode(&OpenAiResponses, &full()).messages;
    let call = |id: &str| {
        let (name, arguments) = ("add".to_owned(), "{}".to_owned());
        Part::ToolCall(ToolCall { id: Some(id.to_owned()), name, arguments })
    };
    let result = |id: &str, text: &str| {
        let content = vec![Part::Text(text.to_owned())];
        let call_id = Some(id.to_owned());
        let result = ToolResult { call_id, name: None, content, is_error: false };
        message(Role::Tool, vec![Part::ToolResult(result)])
    };
    let image = Image {
        source: ImageSource::Url("https://example.org/a.png".into()),
        detail: Some("auto".into()),
    };
    let thought = Part::Reasoning { text: "hm".into(), signature: None };
    assert_eq!(
        messages,
        [
            Message::text(Role::System, "Be brief."),
            message(Role::User, vec![Part::Text("look".into()), Part::Image(image)]),
            message(
                Role::Assistant,
                vec![thought, Part::Text("adding".into()), call("call_1"), call("call_2")]
            ),
            result("call_1", "1"),
            result("call_2", "2"),
            Message::text(Role::System, "Go on."),
        ]
    );
}

fn message(role: Role, content: Vec<Part>) -> Message {
    Message { role, content, name: None }
}

#[test]
fn two_answers_in_a_row_stay_two() {
    let mut body = minimal();
    let said = |text: &str| json!({"role": "assistant", "content": text});
    body["input"] = json!([said("a"), said("b")]);
    assert_eq!(decode(&OpenAiResponses, &body).messages.len(), 2);
}

#[test]
fn a_text_is_a_users_message() {
    let request = decode(&OpenAiResponses, &minimal());
    assert_eq!(request.messages, [Message::text(Role::User, "hi")]);
    assert_eq!(request.extra, None);
    assert_eq!(request.logprobs, None);
    let mut body = minimal();
    body["include"] = json!(["message.output_text.logprobs"]);
    assert_eq!(decode(&OpenAiResponses, &body).logprobs, Some(0));
}

#[test]
fn what_needs_a_memory_is_refused_by_name() {
    let item = |item: Value| json!({"input": [item]});
    refuses(
        &OpenAiResponses,
        &minimal(),
        &[
            (
                json!({"previous_response_id": "resp_1"}),
                "previous_response_id",
                "unsupported_parameter",
            ),
            (json!({"conversation": "conv_1"}), "conversation", "unsupported_parameter"),
            (json!({"conversation": {"id": "conv_1"}}), "conversation", "unsupported_parameter"),
            (json!({"background": true}), "background", "unsupported_parameter"),
            (json!({"prompt": {"id": "p"}}), "prompt", "unsupported_parameter"),
            (
                item(json!({"type": "item_reference", "id": "msg_1"})),
                "input[0].type",
                "unsupported_value",
            ),
            (item(json!({"type": "web_search_call"})), "input[0].type", "unsupported_value"),
            (json!({"tools": [{"type": "web_search"}]}), "tools[0].type", "unsupported_value"),
            (
                json!({"tools": [{"type": "custom", "name": "x"}]}),
                "tools[0].type",
                "unsupported_value",
            ),
            (
                json!({"tool_choice": {"type": "file_search"}}),
                "tool_choice.type",
                "unsupported_value",
            ),
            (
                item(json!({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]})),
                "input[0].content[0].type",
                "unsupported_value",
            ),
        ],
    );
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let item = |item: Value| json!({"input": [item]});
    refuses(
        &OpenAiResponses,
        &minimal(),
        &[
            (json!({"model": null}), "model", "missing_required_parameter"),
            (json!({"input": null}), "input", "missing_required_parameter"),
            (json!({"input": []}), "input", "invalid_value"),
            (json!({"input": 1}), "input", "invalid_type"),
            (item(json!("hi")), "input[0]", "invalid_type"),
            (item(json!({"role": "tool", "content": "x"})), "input[0].role", "invalid_value"),
            (item(json!({"role": "user"})), "input[0].content", "missing_required_parameter"),
            (
                item(json!({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]})),
                "input[0].content[0].image_url",
                "missing_required_parameter",
            ),
            (
                item(json!({"type": "function_call", "name": "f", "arguments": "{}"})),
                "input[0].call_id",
                "missing_required_parameter",
            ),
            (
                item(json!({"type": "function_call_output", "call_id": "c"})),
                "input[0].output",
                "missing_required_parameter",
            ),
            (json!({"max_output_tokens": 0}), "max_output_tokens", "invalid_value"),
            (json!({"top_logprobs": 21}), "top_logprobs", "invalid_value"),
            (json!({"reasoning": {"effort": "huge"}}), "reasoning.effort", "invalid_value"),
            (json!({"text": {"format": {"type": "xml"}}}), "text.format.type", "invalid_value"),
            (
                json!({"text": {"format": {"type": "json_schema", "name": "s"}}}),
                "text.format.schema",
                "missing_required_parameter",
            ),
            (
                json!({"tools": [{"type": "function"}]}),
                "tools[0].name",
                "missing_required_parameter",
            ),
            (
                json!({"tool_choice": {"type": "function", "name": "f"}}),
                "tool_choice",
                "invalid_value",
            ),
            (json!({"metadata": 1}), "metadata", "invalid_type"),
            (json!({"truncation": 1}), "truncation", "invalid_type"),
        ],
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = OpenAiResponses.decode(&body);
    }

    #[test]
    fn no_wrong_value_makes_the_decoder_panic(place in any::<usize>(), by in any_value()) {
        let _ = OpenAiResponses.decode(altered(&full(), place, by).to_string().as_bytes());
    }
}
