//! Responses requests: items and turns, every rejection by name, wrong values at any place.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chat::{
    Effort, Format, Image, ImageSource, Message, Part, Role, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::dialect::openai::responses::sealed::{Signature, seal};
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
fn settings_are_read_and_fields_of_chat_are_kept() {
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
fn settings_that_need_a_store_are_refused_by_name() {
    refuses(
        &OpenAiResponses,
        &minimal(),
        &[
            (json!({"conversation": "conv_1"}), "conversation", "unsupported_parameter"),
            (json!({"conversation": {"id": "conv_1"}}), "conversation", "unsupported_parameter"),
            (json!({"background": true}), "background", "unsupported_parameter"),
            (json!({"prompt": {"id": "p"}}), "prompt", "unsupported_parameter"),
            (
                json!({"tool_choice": {"type": "file_search"}}),
                "tool_choice.type",
                "unsupported_value",
            ),
            (
                json!({"tools": [{"type": "web_search"}], "tool_choice": "required"}),
                "tool_choice",
                "unsupported_value",
            ),
        ],
    );
}

/// Everything that Codex has sent, and unknown items and tools.
fn agents() -> Value {
    json!({
        "model": "m", "instructions": "S", "store": false, "include": ["reasoning.encrypted_content"],
        "tools": [
            {"type": "function", "name": "exec", "parameters": {"type": "object"}},
            {"type": "namespace", "name": "agents", "description": "Helpers.", "tools": [
                {"type": "function", "name": "spawn", "description": "Spawns."},
                {"type": "function", "name": "exec"},
                {"type": "custom", "name": "note"},
            ]},
            {"type": "custom", "name": "apply_patch", "description": "Patches.",
             "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
            {"type": "local_shell"},
            {"type": "web_search", "external_web_access": true},
            {"type": "tool_search"},
            {"type": "from the future"},
        ],
        "input": [
            {"type": "additional_tools", "role": "developer", "tools": [
                {"type": "function", "name": "late"}, {"type": "mcp", "server_label": "x"},
            ]},
            {"role": "user", "content": [{"type": "input_text", "text": "go"}, {"type": "hologram", "data": "x"}]},
            {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "q"}},
            {"type": "compaction", "encrypted_content": "gAAAA"},
            {"type": "compaction_summary", "summary": [{"type": "summary_text", "text": "so far"}]},
            {"type": "function_call", "call_id": "c1", "name": "exec", "namespace": "agents", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** \"a\"\n"},
            {"type": "local_shell_call", "id": "lsh_1", "call_id": "c3", "status": "completed",
             "action": {"type": "exec", "command": ["ls"], "env": {}, "user": null}},
            {"type": "tool_search_call", "arguments": {"query": "x"}},
            {"role": "developer", "content": "midway"},
            {"type": "function_call_output", "call_id": "c1", "output": "1"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "2"}]},
            {"type": "local_shell_call_output", "id": "c3", "output": "3"},
            {"type": "function_call_output", "call_id": "lost", "output": "4"},
        ],
    })
}

#[test]
fn tools_of_every_kind_are_offered_as_functions_or_named() {
    let request = decode(&OpenAiResponses, &agents());
    let names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    let all = ["exec", "spawn", "agents__exec", "note", "apply_patch", "local_shell", "late"];
    assert_eq!(names, all);
    let about = request.tools[1].description.as_deref();
    assert_eq!(about, Some("Spawns.\n\nPart of agents: Helpers."));
    let patch = &request.tools[4];
    let about = patch.description.as_deref().unwrap();
    assert!(
        about.starts_with("Patches.\n\n") && about.contains("lark grammar:\nstart: x"),
        "{about}"
    );
    let parameters = patch.parameters.as_ref().unwrap();
    assert_eq!(parameters["properties"]["input"]["type"], "string");
    assert_eq!(parameters["required"], json!(["input"]));
    for kind in [
        "web_search",
        "tool_search",
        "from_the_future",
        "mcp",
        "hologram",
        "web_search_call",
        "compaction",
    ] {
        assert!(request.dropped.iter().any(|name| name == kind), "{kind}: {:?}", request.dropped);
    }
}

#[test]
fn no_kind_of_item_makes_the_conversation_unusable() {
    let messages = decode(&OpenAiResponses, &agents()).messages;
    let call = |id: &str, name: &str, arguments: &str| {
        let (name, arguments) = (name.to_owned(), arguments.to_owned());
        Part::ToolCall(ToolCall { id: Some(id.to_owned()), name, arguments })
    };
    let calls = vec![
        call("c1", "agents__exec", "{}"),
        call("c2", "apply_patch", r#"{"input":"*** \"a\"\n"}"#),
        call("c3", "local_shell", r#"{"command":["ls"],"env":{}}"#),
    ];
    let roles: Vec<Role> = messages.iter().map(|message| message.role).collect();
    use Role::{Assistant, System, Tool, User};
    // Items between calls and results come after these.
    assert_eq!(roles, [System, User, User, Assistant, Tool, Tool, Tool, System, User]);
    assert_eq!(messages[1].content, [Part::Text("go".into())]);
    assert_eq!(messages[2].content, [Part::Text("so far".into())]);
    assert_eq!(messages[3].content, calls);
    assert_eq!(messages[7].content, [Part::Text("midway".into())]);
    assert_eq!(messages[8].content, [Part::Text("4".into())]);
}

#[test]
fn a_choice_names_the_tool_that_the_model_knows() {
    let chosen = |choice: Value| {
        let mut body = agents();
        body["tool_choice"] = choice;
        decode(&OpenAiResponses, &body)
    };
    let named = |name: &str| ToolChoice::Named(name.to_owned());
    let cases = [
        (json!({"type": "custom", "name": "apply_patch"}), "apply_patch"),
        (json!({"type": "function", "name": "exec", "namespace": "agents"}), "agents__exec"),
        (json!({"type": "function", "name": "exec"}), "exec"),
        (json!({"type": "function", "name": "spawn"}), "spawn"),
        (json!({"type": "local_shell"}), "local_shell"),
    ];
    for (choice, name) in cases {
        assert_eq!(chosen(choice).tool_choice, named(name));
    }
    let allowed = json!([
        {"type": "custom", "name": "apply_patch"}, {"type": "namespace", "name": "agents"},
        {"type": "web_search"},
    ]);
    let request = chosen(json!({"type": "allowed_tools", "mode": "required", "tools": allowed}));
    let names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["spawn", "agents__exec", "note", "apply_patch"]);
    assert_eq!(request.tool_choice, ToolChoice::Required);
}

#[test]
fn a_call_follows_its_turns_text_and_reasoning_has_its_signature() {
    let sealed = seal("hm", &[Signature { until: 2, signature: "sig".to_owned() }]);
    let mut body = minimal();
    body["input"] = json!([
        {"role": "user", "content": "go"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "and"}]},
        {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "b", "output": []},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
    ]);
    let messages = decode(&OpenAiResponses, &body).messages;
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[1].content.len(), 4);
    let thought = Part::Reasoning { text: "hm".into(), signature: Some("sig".into()) };
    assert_eq!(messages[1].content[0], thought);
}

#[test]
fn invalid_values_are_refused_by_name() {
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
    fn no_wrong_value_of_an_agent_causes_a_panic(place in any::<usize>(), by in any_value()) {
        let _ = OpenAiResponses.decode(altered(&agents(), place, by).to_string().as_bytes());
    }

    #[test]
    fn no_bytes_cause_a_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = OpenAiResponses.decode(&body);
    }

    #[test]
    fn no_wrong_value_causes_a_panic(place in any::<usize>(), by in any_value()) {
        let _ = OpenAiResponses.decode(altered(&full(), place, by).to_string().as_bytes());
    }
}
