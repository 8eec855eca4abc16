//! Tests of what is sent to Gemini, left out, and refused.

use serde_json::{Value, json};

use super::*;
use crate::backend::testing::{
    answered, call, extra, inline, linked, message, refusal, result, text, thought, tool, user,
};
use crate::chat::{ChatRequest, Effort, Format, Message, Role, Sampling, ToolChoice};

fn encode_for(request: &ChatRequest, model: &str) -> (Value, Vec<String>) {
    crate::backend::testing::encode(&Gemini, request, model)
}

fn encode(request: &ChatRequest) -> Value {
    encode_for(request, "gemini-2.5-flash").0
}

#[test]
fn a_plain_request_is_sent_to_the_models_path_with_the_key_in_a_header() {
    let call =
        Gemini.encode(&Ask::Chat(user("hi")), Target::new("gemini-2.5-flash", Some("k"))).unwrap();
    assert_eq!(call.path, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
    assert_eq!(call.headers, [("x-goog-api-key", "k".to_owned())]);
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(body, json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}));
}

#[test]
fn a_model_name_cannot_leave_its_path() {
    let path = |model: &str| {
        Gemini.encode(&Ask::Chat(user("hi")), Target::new(model, None)).map(|call| call.path)
    };
    let method = ":streamGenerateContent?alt=sse";
    for (model, written) in [
        ("models/gemini-3", "models/gemini-3"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("hf.co/org/n:Q4", "models/hf.co/org/n:Q4"),
        ("a?key=b#c d\r\n", "models/a%3Fkey%3Db%23c%20d%0D%0A"),
        ("ä%2e", "models/%C3%A4%252e"),
    ] {
        assert_eq!(path(model).unwrap(), format!("/v1beta/{written}{method}"));
    }
    for model in ["", "..", "a/../../files", "a//b", "./a"] {
        assert!(path(model).unwrap_err().message.starts_with("model:"), "{model}");
    }
}

#[test]
fn opening_system_messages_move_to_their_field_and_roles_are_renamed() {
    let mut request = user("hi");
    request.messages.insert(0, Message::text(Role::System, "one"));
    request.messages.push(message(Role::Assistant, vec![text("so"), text("")]));
    request.messages.push(message(Role::Assistant, vec![text("")]));
    request.messages.insert(1, Message::text(Role::System, "two"));
    request.messages.push(Message::text(Role::User, ""));
    let body = encode(&request);
    assert_eq!(body["systemInstruction"], json!({"parts": [{"text": "one\n\ntwo"}]}));
    let contents = json!([{"role": "user", "parts": [{"text": "hi"}]},
        {"role": "model", "parts": [{"text": "so"}]}, {"role": "user", "parts": [{"text": " "}]}]);
    assert_eq!(body["contents"], contents);
}

#[test]
fn requests_that_would_change_the_result_are_refused_by_name() {
    let refused = |change: fn(&mut ChatRequest)| refusal(&Gemini, change);
    assert!(refused(|request| request.n = Some(2)).starts_with("n:"));
    assert!(refused(|request| request.messages.clear()).starts_with("messages:"));
    assert!(refused(|request| request.messages[0].role = Role::System).starts_with("messages:"));
    let bias = json!({"logit_bias": {"5": 1}});
    let bias = refusal(&Gemini, |request| request.extra = extra(Api::OpenAi, bias));
    assert!(bias.starts_with("logit_bias:"));
    let add =
        |role, part| refusal(&Gemini, |request| request.messages.push(message(role, vec![part])));
    let opening = || message(Role::System, vec![inline("AAAA")]);
    let told = refusal(&Gemini, |request| request.messages.insert(0, opening()));
    assert!(told.starts_with("image_url:"));
    assert!(add(Role::Assistant, inline("AAAA")).starts_with("image_url:"));
    assert!(add(Role::User, linked("http://example.org/x.png")).starts_with("image_url:"));
    assert!(add(Role::Assistant, call(None, "f", "[1]")).contains("`f`"));
    assert!(add(Role::Tool, result(Some("x"), "42")).starts_with("tool_call_id:"));
}

#[test]
fn sampling_is_renamed_and_settings_without_a_field_are_reported() {
    let mut request = user("hi");
    request.sampling = Sampling {
        max_tokens: Some(9),
        temperature: Some(0.5),
        top_p: Some(0.9),
        top_k: Some(40),
        min_p: Some(0.1),
        presence_penalty: Some(0.5),
        frequency_penalty: Some(0.0),
        repeat_penalty: Some(1.1),
        seed: Some((1 << 40) + 5),
        stop: vec![String::new(), "END".into()],
    };
    request.logprobs = Some(3);
    request.parallel_tool_calls = Some(false);
    request.extra = extra(Api::OpenAi, json!({"user": "u", "logit_bias": {}}));
    let (body, dropped) = encode_for(&request, "gemini-2.5-flash");
    let config = json!({"temperature": 0.5, "topP": 0.9, "topK": 40, "maxOutputTokens": 9,
        "seed": 5, "stopSequences": ["END"], "responseLogprobs": true, "logprobs": 3});
    assert_eq!(body["generationConfig"], config);
    let named = [
        "user",
        "logit_bias",
        "parallel_tool_calls",
        "min_p",
        "repeat_penalty",
        "presence_penalty",
    ];
    assert_eq!(dropped, named);
    let (body, dropped) = encode_for(&request, "gemini-2.0-flash");
    assert_eq!(body["generationConfig"]["presencePenalty"], 0.5);
    assert!(!dropped.contains(&"presence_penalty".to_owned()));
    request.sampling.seed = Some(-7);
    assert_eq!(encode(&request)["generationConfig"]["seed"], -7);
}

#[test]
fn formats_become_media_types_and_schemas() {
    let mut request = user("hi");
    request.format = Format::Json;
    let json = json!({"responseMimeType": "application/json"});
    assert_eq!(encode(&request)["generationConfig"], json);
    let schema = json!({"type": "object"});
    request.format =
        Format::Schema { name: None, description: None, schema: schema.clone(), strict: None };
    assert_eq!(encode(&request)["generationConfig"]["responseJsonSchema"], schema);
}

#[test]
fn thinking_is_requested_by_the_rules_of_each_generation() {
    let told = |model: &str, effort: Effort| {
        let mut request = user("hi");
        request.effort = Some(effort);
        let (body, dropped) = encode_for(&request, model);
        (body["generationConfig"]["thinkingConfig"].clone(), dropped)
    };
    let thoughts = |name: &str, value: Value| json!({"includeThoughts": true, name: value});
    for (model, effort, config) in [
        ("gemini-2.5-flash", Effort::None, json!({"thinkingBudget": 0})),
        ("gemini-2.5-flash", Effort::On, thoughts("thinkingBudget", json!(-1))),
        ("gemini-2.5-pro", Effort::Low, thoughts("thinkingBudget", json!(1024))),
        ("gemini-flash-latest", Effort::Max, thoughts("thinkingBudget", json!(24_576))),
        ("gemini-2.5-pro", Effort::Budget(77), thoughts("thinkingBudget", json!(77))),
        ("gemini-3-flash", Effort::None, json!({"thinkingLevel": "MINIMAL"})),
        ("gemini-3.1-pro", Effort::On, json!({"includeThoughts": true})),
        ("gemini-3-pro", Effort::Budget(8192), thoughts("thinkingLevel", json!("MEDIUM"))),
        ("gemini-10-pro", Effort::High, thoughts("thinkingLevel", json!("HIGH"))),
        ("gemini-2.0-flash", Effort::None, Value::Null),
    ] {
        assert_eq!(told(model, effort), (config, Vec::new()), "{model} {effort:?}");
    }
    for (model, effort) in [
        ("gemini-2.0-flash", Effort::High),
        ("gemma-3-27b", Effort::On),
        ("gemini-2.5-pro", Effort::None),
    ] {
        let dropped = vec!["reasoning_effort".to_owned()];
        assert_eq!(told(model, effort), (Value::Null, dropped), "{model} {effort:?}");
    }
    let mut request = user("hi");
    request.effort = Some(Effort::High);
    request.sampling.max_tokens = Some(500);
    assert_eq!(encode(&request)["generationConfig"]["thinkingConfig"]["thinkingBudget"], 499);
}

#[test]
fn tools_keep_their_schemas_and_choices_become_modes() {
    let mut request = user("hi");
    let schema = json!({"type": "object", "properties": {"x": {"type": ["string", "null"]}}});
    request.tools = vec![tool("fs.read"), tool("b")];
    request.tools[0].parameters = Some(schema.clone());
    request.tools[1].parameters = Some(json!({"type": "object", "properties": {}}));
    request.tools[1].strict = Some(true);
    let (body, dropped) = encode_for(&request, "m");
    let declarations = json!([{"name": "fs_read", "parametersJsonSchema": schema}, {"name": "b"}]);
    assert_eq!(body["tools"], json!([{"functionDeclarations": declarations}]));
    assert_eq!(dropped, ["strict"]);
    let any = json!({"mode": "ANY", "allowedFunctionNames": ["fs_read"]});
    for (choice, mode) in [
        (ToolChoice::Auto, Value::Null),
        (ToolChoice::None, json!({"mode": "NONE"})),
        (ToolChoice::Required, json!({"mode": "ANY"})),
        (ToolChoice::Named("fs.read".into()), any),
    ] {
        request.tool_choice = choice;
        assert_eq!(encode(&request)["toolConfig"]["functionCallingConfig"], mode);
    }
}

#[test]
fn all_results_of_a_turn_share_one_entry_and_are_objects() {
    let mut request = user("hi");
    let three = ["1", "2", "3"].map(|id| call(Some(id), "f", "{}"));
    request.messages.push(message(Role::Assistant, three.into()));
    request.messages.push(message(Role::Tool, vec![result(Some("1"), "{\"x\":1}")]));
    let failed = answered(Some("2"), vec![text("no"), inline("/9j/AA")], true);
    request.messages.push(message(Role::Tool, vec![failed, result(Some("3"), "[1]")]));
    let contents = encode(&request)["contents"].clone();
    let part = |id: &str, response: Value| json!({"functionResponse": {"id": id, "name": "f", "response": response}});
    let parts = json!([
        part("1", json!({"x": 1})),
        part("2", json!({"error": "no"})),
        part("3", json!({"result": "[1]"})),
        {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/AA"}},
    ]);
    assert_eq!(contents[2], json!({"role": "user", "parts": parts}));
    assert_eq!(contents.as_array().unwrap().len(), 3);
}

#[test]
fn results_are_sorted_into_the_order_of_their_calls() {
    let mut request = user("hi");
    let two = ["1", "2"].map(|id| call(Some(id), "f", "{}"));
    request.messages.push(message(Role::Assistant, two.into()));
    request.messages.push(message(Role::Tool, vec![result(Some("2"), "second")]));
    request.messages.push(message(Role::Tool, vec![result(Some("1"), "first")]));
    // In another turn the same ids mean other calls.
    request.messages.push(message(Role::Assistant, vec![call(Some("2"), "f", "{}")]));
    request.messages.push(message(Role::Tool, vec![result(Some("2"), "third")]));
    let contents = encode(&request)["contents"].clone();
    let said = |entry: usize, part: usize| {
        contents[entry]["parts"][part]["functionResponse"]["response"]["result"].clone()
    };
    assert_eq!([said(2, 0), said(2, 1), said(4, 0)], ["first", "second", "third"]);
    // Results without ids keep their places.
    let mut request = user("hi");
    let two = ["f", "g"].map(|name| call(None, name, "{}"));
    request.messages.push(message(Role::Assistant, two.into()));
    request.messages.push(message(Role::Tool, vec![result(None, "a"), result(None, "b")]));
    let parts = encode(&request)["contents"][2]["parts"].clone();
    assert_eq!(parts[0]["functionResponse"]["response"]["result"], "a");
}

#[test]
fn pictures_are_sent_inline_or_by_a_url_that_google_fetches() {
    let mut request = user("look");
    request.messages[0].content.extend([inline("iVBORw0KGgoA"), linked("https://example.org/x")]);
    let parts = json!([{"text": "look"},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgoA"}},
        {"fileData": {"fileUri": "https://example.org/x"}}]);
    assert_eq!(encode(&request)["contents"][0]["parts"], parts);
}

/// The parts of an assistant message with this content.
fn turn(content: Vec<crate::chat::Part>, model: &str) -> (Value, Vec<String>) {
    let mut request = user("hi");
    request.messages.push(message(Role::Assistant, content));
    let (body, dropped) = encode_for(&request, model);
    (body["contents"][1]["parts"].clone(), dropped)
}

#[test]
fn signatures_are_sent_back_with_their_call() {
    let calls = || [call(Some("fc-1"), "f", "{\"x\":1}"), call(Some("fc-2"), "f", "")];
    let [first, second] = calls();
    let own = thought("", Some("gemini:c2ln"));
    let (parts, dropped) = turn(vec![own, first, second], "gemini-3-pro");
    let called = |id: &str, args: Value| json!({"id": id, "name": "f", "args": args});
    assert_eq!(parts[0]["functionCall"], called("fc-1", json!({"x": 1})));
    assert_eq!(parts[0]["thoughtSignature"], "c2ln");
    assert_eq!(parts[1], json!({"functionCall": called("fc-2", json!({}))}));
    assert_eq!(dropped, [""; 0]);
    // In the id, for clients that keep no thinking.
    let folded = call(Some("abcdefgh1_sig_c2ln"), "f", "");
    let (parts, _) = turn(vec![folded], "gemini-2.5-pro");
    assert_eq!(parts[0]["functionCall"]["id"], "abcdefgh1");
    assert_eq!(parts[0]["thoughtSignature"], "c2ln");
}

#[test]
fn a_lost_or_foreign_signature_is_replaced_if_the_model_requires_one() {
    let foreign = || thought("hm", Some("Zm9yZWlnbg=="));
    let calls = || [call(Some("1"), "f", ""), call(Some("2"), "f", "")];
    let content: Vec<_> = std::iter::once(foreign()).chain(calls()).collect();
    let (parts, dropped) = turn(content.clone(), "gemini-3-pro");
    assert_eq!(parts[0]["thoughtSignature"], "skip_thought_signature_validator");
    assert_eq!(parts[1]["thoughtSignature"], Value::Null);
    assert_eq!(dropped, ["reasoning"]);
    let (parts, _) = turn(content, "gemini-2.5-pro");
    assert_eq!(parts[0]["thoughtSignature"], Value::Null);
}

#[test]
fn the_signature_is_removed_from_the_id_of_a_result_too() {
    let id = Some("abcdefgh1_sig_c2ln");
    let mut request = user("hi");
    request.messages.push(message(Role::Assistant, vec![call(id, "f", "")]));
    request.messages.push(message(Role::Tool, vec![result(id, "42")]));
    let response = &encode(&request)["contents"][2]["parts"][0]["functionResponse"];
    assert_eq!(response["id"], "abcdefgh1");
}
