use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{
    Effort, ErrorKind, Format, Image, ImageSource, Message as Turn, Part, Role, Tool, ToolChoice,
    ToolResult,
};
use crate::dialect::openai::tests::{
    altered, answer, any_answer, any_value, decode, end, events_of, failed, piece, refuses,
    tide_table, village, without,
};

/// What the golden answers say beyond what a gateway knows.
const UNSAID: &[&str] = &[
    "service_tier",
    "system_fingerprint",
    "annotations",
    "audio_tokens",
    "accepted_prediction_tokens",
    "rejected_prediction_tokens",
];

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
            {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {"type": "object"}, "strict": true}},
            {"type": "function", "function": {"name": "now"}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "add"}}, "parallel_tool_calls": false,
        "max_tokens": 5, "max_completion_tokens": 7.0, "temperature": 0.5, "top_p": 0.9, "seed": -3,
        "presence_penalty": 1, "frequency_penalty": -1, "stop": ["a", "", "b"], "n": 2,
        "logprobs": true, "top_logprobs": 3, "logit_bias": {"50256": -100}, "reasoning_effort": "minimal",
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": true}},
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
    assert_eq!(messages[0], Turn::text(Role::System, "Be brief."));
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
    let calls = [thought, call("call_1", "add", "{\"a\":1}"), call("call_2", "now", "{}")];
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
fn functions_are_tools_and_are_answered_in_their_own_form() {
    let mut body = minimal();
    body["functions"] = json!([{"name": "tide_table", "parameters": {"type": "object"}}]);
    body["function_call"] = json!({"name": "tide_table"});
    body["messages"] = json!([
        {"role": "assistant", "content": null, "function_call": {"name": "tide_table", "arguments": "{}"}},
        {"role": "function", "name": "tide_table", "content": "low"},
    ]);
    let request = decode(&OpenAiChat, &body);
    assert_eq!(request.tool_choice, ToolChoice::Named("tide_table".into()));
    let Part::ToolResult(result) = &request.messages[1].content[0] else { panic!() };
    assert_eq!(result.name.as_deref(), Some("tide_table"));
    let written: Value =
        serde_json::from_str(&answer(&OpenAiChat, &request, &tide_table())).unwrap();
    let choice = &written["choices"][0];
    assert_eq!(choice["finish_reason"], "function_call");
    assert_eq!(choice["message"]["function_call"]["name"], "tide_table");
    assert_eq!(choice["message"].get("tool_calls"), None);
    body["stream"] = json!(true);
    let request = decode(&OpenAiChat, &body);
    let events = [
        piece(0, Some(("call_1", "tide_table")), "{\"a\""),
        piece(0, None, ":1}"),
        piece(1, Some(("call_2", "tide_table")), "{}"),
        end(Finish::ToolCalls),
    ];
    let written = events_of(&answer(&OpenAiChat, &request, &events));
    let deltas: Vec<_> = written[1..4].iter().map(|event| &event["choices"][0]["delta"]).collect();
    assert_eq!(
        deltas,
        [
            &json!({"function_call": {"name": "tide_table", "arguments": "{\"a\""}}),
            &json!({"function_call": {"arguments": ":1}"}}),
            &json!({}),
        ]
    );
    assert_eq!(written[3]["choices"][0]["finish_reason"], "function_call");
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    let said = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let part = |kind: &str| said(json!([{"type": kind}]));
    let tool = |tool: Value| json!({"tools": [tool]});
    let picture = |url: &str| said(json!([{"type": "image_url", "image_url": {"url": url}}]));
    refuses(
        &OpenAiChat,
        &minimal(),
        &[
            (part("input_audio"), "messages[0].content[0].type", "unsupported_value"),
            (part("file"), "messages[0].content[0].type", "unsupported_value"),
            (picture("ftp://x/y"), "messages[0].content[0].image_url", "invalid_value"),
            (
                picture("data:image/png;base64,*"),
                "messages[0].content[0].image_url",
                "invalid_value",
            ),
            (
                tool(json!({"type": "custom", "custom": {"name": "x"}})),
                "tools[0].type",
                "unsupported_value",
            ),
            (tool(json!({"type": "web_search"})), "tools[0].type", "unsupported_value"),
            (json!({"tool_choice": {"type": "custom"}}), "tool_choice.type", "unsupported_value"),
            (json!({"audio": {"voice": "x"}}), "audio", "unsupported_parameter"),
            (json!({"modalities": ["text", "audio"]}), "modalities", "unsupported_value"),
            (
                json!({"web_search_options": {"x": 1}}),
                "web_search_options",
                "unsupported_parameter",
            ),
            (
                json!({"functions": [{"name": "f"}], "tools": []}),
                "functions",
                "unsupported_parameter",
            ),
        ],
    );
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let message = |message: Value| json!({"messages": [message]});
    refuses(
        &OpenAiChat,
        &minimal(),
        &[
            (json!({"model": null}), "model", "missing_required_parameter"),
            (json!({"model": " "}), "model", "invalid_value"),
            (json!({"messages": []}), "messages", "invalid_value"),
            (json!({"messages": "hi"}), "messages", "invalid_type"),
            (message(json!(7)), "messages[0]", "invalid_type"),
            (
                message(json!({"role": "robot", "content": "x"})),
                "messages[0].role",
                "invalid_value",
            ),
            (message(json!({"role": "user"})), "messages[0].content", "missing_required_parameter"),
            (
                message(json!({"role": "user", "content": []})),
                "messages[0].content",
                "invalid_value",
            ),
            (
                message(json!({"role": "tool", "content": "x"})),
                "messages[0].tool_call_id",
                "missing_required_parameter",
            ),
            (
                message(json!({"role": "function", "content": "x"})),
                "messages[0].name",
                "missing_required_parameter",
            ),
            (
                message(
                    json!({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}),
                ),
                "messages[0].content[0].type",
                "unsupported_value",
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
            (json!({"temperature": 2.1}), "temperature", "invalid_value"),
            (json!({"top_p": "x"}), "top_p", "invalid_type"),
            (json!({"presence_penalty": -3}), "presence_penalty", "invalid_value"),
            (json!({"frequency_penalty": 3}), "frequency_penalty", "invalid_value"),
            (json!({"max_tokens": 0}), "max_tokens", "invalid_value"),
            (json!({"max_completion_tokens": 1.5}), "max_completion_tokens", "invalid_type"),
            (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop", "invalid_value"),
            (json!({"stop": 1}), "stop", "invalid_type"),
            (json!({"n": 0}), "n", "invalid_value"),
            (json!({"n": 129}), "n", "invalid_value"),
            (json!({"top_logprobs": 2}), "top_logprobs", "invalid_value"),
            (json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs", "invalid_value"),
            (json!({"logit_bias": [1]}), "logit_bias", "invalid_type"),
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
            (json!({"tool_choice": "any"}), "tool_choice", "invalid_value"),
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

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn streamed_minimal() -> ChatRequest {
    let mut request = decode(&OpenAiChat, &minimal());
    request.stream = true;
    request
}

#[test]
fn whole_answers_equal_the_golden_ones() {
    let request = decode(&OpenAiChat, &minimal());
    for (events, golden) in [
        (village(), include_str!("../../../../tests/fixtures/dialect/openai/chat.json")),
        (tide_table(), include_str!("../../../../tests/fixtures/dialect/openai/chat-tool.json")),
    ] {
        let golden = without(read(golden), UNSAID);
        assert_eq!(read(&answer(&OpenAiChat, &request, &events)), golden);
    }
}

#[test]
fn streams_equal_the_golden_ones() {
    let mut request = streamed_minimal();
    request.shape.stream_usage = true;
    for (events, golden) in [
        (village(), include_str!("../../../../tests/fixtures/dialect/openai/chat.sse")),
        (tide_table(), include_str!("../../../../tests/fixtures/dialect/openai/chat-tool.sse")),
    ] {
        // One of the two leaves the null refusal out.
        let unsaid = [UNSAID, &["refusal"]].concat();
        let comparable = |stream: &str| -> Vec<Value> {
            events_of(stream).into_iter().map(|event| without(event, &unsaid)).collect()
        };
        assert_eq!(comparable(&answer(&OpenAiChat, &request, &events)), comparable(golden));
    }
}

#[test]
fn a_failure_midway_is_the_last_word() {
    let mut request = streamed_minimal();
    request.shape.stream_usage = true;
    let error = GatewayError::upstream(ErrorKind::BadUpstream, "upstream ended early");
    let written = failed(&OpenAiChat, &request, &village()[..1], &error);
    let golden = include_str!("../../../../tests/fixtures/dialect/openai/chat-error.sse");
    let golden = golden.replace("upstream_truncated", "bad_upstream");
    let golden: Vec<Value> =
        events_of(&golden).into_iter().map(|event| without(event, UNSAID)).collect();
    assert_eq!(events_of(&written), golden);
}

#[test]
fn a_stream_has_no_usage_unless_asked() {
    let written = answer(&OpenAiChat, &streamed_minimal(), &village()[3..]);
    let head = r#"data: {"id":"chatcmpl-fx01","object":"chat.completion.chunk","created":1795341600,"model":"gpt-test-1-0001","choices":[{"index":0,"delta":"#;
    let rest = r#","logprobs":null,"finish_reason":"#;
    assert_eq!(
        written,
        format!(
            "{head}{}{rest}null}}]}}\n\n{head}{}{rest}null}}]}}\n\n{head}{{}}{rest}\"stop\"}}]}}\n\ndata: [DONE]\n\n",
            r#"{"role":"assistant","content":"","refusal":null}"#, r#"{"content":" Merrow."}"#,
        )
    );
}

#[test]
fn a_stream_names_each_call_once_and_leaves_no_arguments_empty() {
    let events = [
        piece(0, Some(("call_1", "f")), ""),
        piece(0, None, "{\"a\""),
        piece(0, None, ":1}"),
        piece(1, Some(("call_2", "g")), ""),
        end(Finish::ToolCalls),
    ];
    let written = events_of(&answer(&OpenAiChat, &streamed_minimal(), &events));
    let calls: Vec<Value> = written
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["tool_calls"].get(0).cloned())
        .collect();
    let first = |index, id, name| {
        json!({
            "index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""},
        })
    };
    let more = |index, text| json!({"index": index, "function": {"arguments": text}});
    assert_eq!(
        calls,
        [
            first(0, "call_1", "f"),
            more(0, "{\"a\""),
            more(0, ":1}"),
            first(1, "call_2", "g"),
            more(1, "{}")
        ]
    );
}

#[test]
fn log_probabilities_are_given_when_asked_for() {
    let token = |text: &str, top| TokenLogprob {
        token: text.to_owned(),
        logprob: -0.5,
        bytes: Some(text.as_bytes().to_vec()),
        top,
    };
    let tokens = vec![token("a", vec![token("b", Vec::new())])];
    let events = [ChatEvent::Text("a".into()), ChatEvent::Logprobs(tokens), end(Finish::Stop)];
    let mut request = decode(&OpenAiChat, &minimal());
    let logprobs = |request: &ChatRequest| {
        read(&answer(&OpenAiChat, request, &events))["choices"][0]["logprobs"].take()
    };
    assert_eq!(logprobs(&request), Value::Null);
    request.logprobs = Some(1);
    let top = json!([{"token": "b", "logprob": -0.5, "bytes": [98]}]);
    let token = json!({"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": top});
    let expected = json!({"content": [token], "refusal": null});
    assert_eq!(logprobs(&request), expected);
    request.stream = true;
    let written = events_of(&answer(&OpenAiChat, &request, &events));
    assert_eq!(written[2]["choices"][0]["logprobs"], expected);
}

#[test]
fn the_model_is_the_one_asked_for_or_else_the_one_that_ran() {
    let request = ChatRequest::default();
    assert_eq!(read(&answer(&OpenAiChat, &request, &village()))["model"], "llama3.1");
}

/// What a client makes of a stream's deltas: SDKs join strings of the same key.
fn joined(stream: &[Value]) -> (String, String, String, Vec<(Value, String, String)>) {
    let (mut role, mut content, mut reasoning) = Default::default();
    let add = |to: &mut String, text: &Value| to.push_str(text.as_str().unwrap_or_default());
    let mut calls: Vec<(Value, String, String)> = Vec::new();
    for event in stream {
        let delta = &event["choices"][0]["delta"];
        add(&mut role, &delta["role"]);
        add(&mut content, &delta["content"]);
        add(&mut reasoning, &delta["reasoning_content"]);
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if index == calls.len() {
                calls.push((call["id"].clone(), String::new(), String::new()));
            }
            add(&mut calls[index].1, &call["function"]["name"]);
            add(&mut calls[index].2, &call["function"]["arguments"]);
        }
    }
    (role, content, reasoning, calls)
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = OpenAiChat.decode(&body);
    }

    #[test]
    fn no_wrong_value_makes_the_decoder_panic(place in any::<usize>(), by in any_value()) {
        let _ = OpenAiChat.decode(altered(&full(), place, by).to_string().as_bytes());
    }

    #[test]
    fn joined_pieces_are_the_whole_answer(events in any_answer()) {
        let mut request = decode(&OpenAiChat, &minimal());
        let whole = read(&answer(&OpenAiChat, &request, &events));
        request.stream = true;
        let stream = events_of(&answer(&OpenAiChat, &request, &events));
        let (role, content, reasoning, calls) = joined(&stream);
        let message = &whole["choices"][0]["message"];
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        prop_assert_eq!(role, text("role"));
        prop_assert_eq!(content, text("content"));
        prop_assert_eq!(reasoning, text("reasoning_content"));
        let expected = message["tool_calls"].as_array().cloned().unwrap_or_default();
        prop_assert_eq!(calls.len(), expected.len());
        for ((id, name, arguments), call) in calls.iter().zip(&expected) {
            prop_assert_eq!(id, &call["id"]);
            prop_assert_eq!(name.as_str(), call["function"]["name"].as_str().unwrap());
            prop_assert_eq!(arguments.as_str(), call["function"]["arguments"].as_str().unwrap());
        }
        let ends: Vec<_> = stream.iter().filter(|event| event["choices"][0]["finish_reason"].is_string()).collect();
        prop_assert_eq!(ends.len(), 1);
        prop_assert_eq!(&ends[0]["choices"][0]["finish_reason"], &whole["choices"][0]["finish_reason"]);
        prop_assert_eq!(stream.last().unwrap(), "[DONE]");
    }
}
