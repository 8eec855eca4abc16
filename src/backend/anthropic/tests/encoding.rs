//! Tests of what is sent to Anthropic, left out, and refused.

use serde_json::{Value, json};

use super::*;
use crate::backend::testing::{
    answered, call, extra, inline, linked, message, refusal, result, text, thought, tool, user,
};
use crate::backend::{ApiVersion, Backend, Gemini, Ollama, OpenAi, Quirks, testing};
use crate::chat::{ChatRequest, Effort, Format, Message, Part, Role, Sampling, Tool, ToolChoice};

fn encode(request: &ChatRequest) -> (Value, Vec<String>) {
    crate::backend::testing::encode(&Anthropic, request, "claude")
}

fn messages(request: &ChatRequest) -> Value {
    encode(request).0["messages"].clone()
}

#[test]
fn a_plain_request_is_streamed_with_the_limit_that_the_api_requires() {
    let call = Anthropic.encode(&Ask::Chat(user("hi")), Target::new("claude", Some("k"))).unwrap();
    assert_eq!(call.path, "/v1/messages");
    let headers = [("anthropic-version", "2023-06-01".to_owned()), ("x-api-key", "k".to_owned())];
    assert_eq!(call.headers, headers);
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    let expected = json!({"model": "claude", "max_tokens": 8192, "stream": true,
        "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(body, expected);
}

#[test]
fn the_later_version_has_no_sampling_and_the_limit_may_be_configured() {
    let mut request = user("hi");
    request.sampling.temperature = Some(0.5);
    request.sampling.top_p = Some(0.9);
    request.sampling.top_k = Some(40);
    let quirks = Quirks {
        api_version: ApiVersion::V2026,
        default_max_tokens: Some(100),
        ..Quirks::default()
    };
    let target = Target { quirks, ..Target::new("claude", None) };
    let call = Anthropic.encode(&Ask::Chat(request.clone()), target).unwrap();
    assert_eq!(call.headers, [("anthropic-version", "2026-10-21".to_owned())]);
    assert_eq!(call.dropped, ["temperature", "top_p", "top_k"]);
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    let expected = json!({"model": "claude", "max_tokens": 100, "stream": true,
        "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(body, expected);
    let (body, dropped) = encode(&request);
    assert_eq!(
        (body["temperature"].as_f64(), body["top_p"].as_f64(), dropped.len()),
        (Some(0.5), Some(0.9), 0)
    );
    // A thinking budget is added to the operator's limit.
    request.effort = Some(Effort::Low);
    let call = Anthropic.encode(&Ask::Chat(request), target).unwrap();
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(
        (&body["max_tokens"], &body["thinking"]["budget_tokens"]),
        (&json!(1124), &json!(1024))
    );
}

#[test]
fn opening_system_messages_move_to_their_field_and_messages_of_one_role_merge() {
    let mut request = user("hi");
    request.messages.insert(0, Message::text(Role::System, "one"));
    request.messages.insert(1, Message::text(Role::System, "two"));
    request.messages.push(message(Role::Assistant, vec![text("")]));
    request.messages.push(Message::text(Role::User, "there"));
    request.messages.push(Message::text(Role::Assistant, "so \n"));
    let (body, _) = encode(&request);
    assert_eq!(body["system"], "one\n\ntwo");
    let parts = json!([{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}]);
    let merged =
        json!([{"role": "user", "content": parts}, {"role": "assistant", "content": "so"}]);
    assert_eq!(body["messages"], merged);
    assert_eq!(messages(&user(""))[0]["content"], " ");
}

#[test]
fn a_prefill_of_white_space_alone_is_left_out() {
    let mut request = user("hi");
    request.messages.push(Message::text(Role::Assistant, " \n"));
    assert_eq!(messages(&request), json!([{"role": "user", "content": "hi"}]));
}

#[test]
fn requests_that_would_change_the_result_are_refused_by_name() {
    let refused = |change: fn(&mut ChatRequest)| refusal(&Anthropic, change);
    assert!(refused(|request| request.n = Some(2)).starts_with("n:"));
    assert!(refused(|request| request.logprobs = Some(0)).starts_with("logprobs:"));
    assert!(refused(|request| request.messages.clear()).starts_with("messages:"));
    assert!(refused(|request| request.sampling.stop = vec!["\n".into()]).starts_with("stop:"));
    let bias = json!({"logit_bias": {"5": 1}});
    let bias = refusal(&Anthropic, |request| request.extra = extra(Api::OpenAi, bias));
    assert!(bias.starts_with("logit_bias:"));
    let add = |role, part| {
        refusal(&Anthropic, |request| request.messages.push(message(role, vec![part])))
    };
    let opening = || message(Role::System, vec![inline("AAAA")]);
    let told = refusal(&Anthropic, |request| request.messages.insert(0, opening()));
    assert!(told.starts_with("image_url:"));
    assert!(add(Role::Assistant, inline("AAAA")).starts_with("image_url:"));
    assert!(add(Role::Assistant, call(None, "f", "oops")).contains("`f`"));
    assert!(add(Role::Tool, result(None, "42")).starts_with("messages:"));
}

#[test]
fn sampling_is_clamped_and_settings_without_a_field_are_reported() {
    let mut request = user("hi");
    request.sampling = Sampling {
        max_tokens: Some(9),
        temperature: Some(1.7),
        top_p: Some(0.9),
        top_k: Some(40),
        min_p: Some(0.1),
        presence_penalty: Some(0.5),
        frequency_penalty: Some(0.0),
        repeat_penalty: Some(1.1),
        seed: Some(1),
        stop: vec![String::new(), "END".into()],
    };
    let (body, dropped) = encode(&request);
    let told = json!({"max_tokens": 9, "temperature": 1.0, "top_p": 0.9, "top_k": 40,
        "stop_sequences": ["END"]});
    for (name, value) in told.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
    assert_eq!(dropped, ["min_p", "presence_penalty", "repeat_penalty", "seed"]);
}

#[test]
fn pictures_are_sent_inline_or_by_url_with_the_type_of_their_bytes() {
    let mut request = user("look");
    request.messages[0].content.extend([inline("R0lGODAA"), linked("https://example.org/x")]);
    let content = json!([{"type": "text", "text": "look"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lGODAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/x"}}]);
    request.messages[0].name = Some("ada".into());
    let (body, dropped) = encode(&request);
    assert_eq!(body["messages"][0]["content"], content);
    assert_eq!(dropped, ["name", "detail"]);
}

#[test]
fn all_results_come_first_in_one_user_message() {
    let mut request = user("hi");
    let both = vec![text("so"), call(Some("a.b"), "fs.read", "{\"x\":1}"), call(None, "g", "")];
    request.messages.push(message(Role::Assistant, both));
    request.messages.push(message(Role::Tool, vec![result(Some("a.b"), "1")]));
    request.messages.push(Message::text(Role::User, "and?"));
    let failed = answered(None, vec![text("no"), inline("AAAA")], true);
    request.messages.push(message(Role::Tool, vec![failed]));
    let messages = messages(&request);
    let uses = json!([{"type": "text", "text": "so"},
        {"type": "tool_use", "id": "call00000", "name": "fs_read", "input": {"x": 1}},
        {"type": "tool_use", "id": "call00001", "name": "g", "input": {}}]);
    assert_eq!(messages[1], json!({"role": "assistant", "content": uses}));
    let content = &messages[2]["content"];
    let first = json!({"type": "tool_result", "tool_use_id": "call00000", "content": "1"});
    assert_eq!(content[0], first);
    assert_eq!(
        (&content[1]["tool_use_id"], &content[1]["is_error"]),
        (&json!("call00001"), &json!(true))
    );
    assert_eq!(content[1]["content"][1]["type"], "image");
    assert_eq!(content[2], json!({"type": "text", "text": "and?"}));
    assert_eq!(messages.as_array().unwrap().len(), 3);
}

#[test]
fn tools_have_schemas_and_tool_choices_have_types() {
    let mut request = user("hi");
    request.tool_choice = ToolChoice::Required;
    assert_eq!(encode(&request).0["tool_choice"], Value::Null);
    request.tools = vec![tool("f")];
    request.tools[0].strict = Some(true);
    let schema = json!({"type": "object", "properties": {}});
    let declared = json!([{"name": "f", "input_schema": schema, "strict": true}]);
    assert_eq!(encode(&request).0["tools"], declared);
    let alone = json!({"type": "auto", "disable_parallel_tool_use": true});
    for (choice, parallel, told) in [
        (ToolChoice::Auto, None, Value::Null),
        (ToolChoice::Auto, Some(false), alone),
        (ToolChoice::None, Some(false), json!({"type": "none"})),
        (ToolChoice::Required, Some(true), json!({"type": "any"})),
        (ToolChoice::Named("f".into()), None, json!({"type": "tool", "name": "f"})),
    ] {
        request.tool_choice = choice;
        request.parallel_tool_calls = parallel;
        assert_eq!(encode(&request).0["tool_choice"], told);
    }
}

#[test]
fn a_schema_becomes_a_format_and_a_json_mode_a_sentence() {
    let mut request = user("hi");
    let schema = json!({"type": "object"});
    request.format =
        Format::Schema { name: None, description: None, schema: schema.clone(), strict: None };
    let format = json!({"format": {"type": "json_schema", "schema": schema}});
    assert_eq!(encode(&request).0["output_config"], format);
    request.format = Format::Json;
    request.messages.insert(0, Message::text(Role::System, "Be brief."));
    let told = "Be brief.\n\nAnswer with one JSON object and nothing else.";
    assert_eq!(encode(&request).0["system"], told);
}

#[test]
fn a_thinking_budget_fits_below_the_limit_or_is_dropped() {
    let told = |effort: Effort, limit: Option<u32>| {
        let mut request = user("hi");
        request.effort = Some(effort);
        request.sampling.max_tokens = limit;
        let (body, dropped) = encode(&request);
        (body["thinking"].clone(), body["max_tokens"].as_u64().unwrap(), dropped)
    };
    let on = |budget: u32| json!({"type": "enabled", "budget_tokens": budget});
    assert_eq!(told(Effort::None, None), (json!({"type": "disabled"}), 8192, vec![]));
    assert_eq!(told(Effort::Low, None), (on(1024), 9216, vec![]));
    assert_eq!(told(Effort::On, None), (on(8192), 16_384, vec![]));
    assert_eq!(told(Effort::Max, Some(5000)), (on(4999), 5000, vec![]));
    assert_eq!(told(Effort::Budget(5), Some(1025)), (on(1024), 1025, vec![]));
    let dropped = vec!["reasoning_effort".to_owned()];
    assert_eq!(told(Effort::High, Some(1024)), (Value::Null, 1024, dropped));
}

#[test]
fn thinking_excludes_temperature_and_a_forced_call_excludes_thinking() {
    let mut request = user("hi");
    request.effort = Some(Effort::Low);
    request.sampling.temperature = Some(0.3);
    request.sampling.top_k = Some(5);
    request.tools = vec![tool("f")];
    let (body, dropped) = encode(&request);
    assert_eq!((&body["temperature"], &body["top_k"]), (&Value::Null, &Value::Null));
    assert_eq!(dropped, ["temperature", "top_k"]);
    request.tool_choice = ToolChoice::Required;
    let (body, dropped) = encode(&request);
    assert_eq!((&body["temperature"], &body["thinking"]), (&json!(0.3), &Value::Null));
    assert_eq!(dropped, ["reasoning_effort"]);
}

#[test]
fn anthropics_own_thinking_is_sent_whole_and_no_other() {
    let mut request = user("hi");
    let thoughts = vec![
        thought("hm", Some("c2ln")),
        thought("", Some("redacted:eA==")),
        thought("other", Some("gemini:c2ln")),
        thought("unsigned", None),
        call(Some("1"), "f", ""),
    ];
    request.messages.push(message(Role::Assistant, thoughts));
    request.messages.push(message(Role::Tool, vec![result(Some("1"), "42")]));
    request.effort = Some(Effort::Low);
    let (body, dropped) = encode(&request);
    let content = json!([{"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eA=="},
        {"type": "tool_use", "id": "1", "name": "f", "input": {}}]);
    assert_eq!(body["messages"][1]["content"], content);
    assert_eq!(dropped, ["reasoning"]);
    request.effort = None;
    assert_eq!(messages(&request)[1]["content"], content);
}

#[test]
fn a_tool_loop_that_began_without_thinking_continues_without_it() {
    let mut request = user("hi");
    request.messages.push(message(Role::Assistant, vec![call(Some("1"), "f", "")]));
    request.messages.push(message(Role::Tool, vec![result(Some("1"), "42")]));
    request.effort = Some(Effort::Low);
    let (body, dropped) = encode(&request);
    assert_eq!((&body["thinking"], dropped), (&Value::Null, vec!["reasoning_effort".to_owned()]));
    // The loop is over once the model has answered and the user goes on.
    request.messages.push(Message::text(Role::Assistant, "42"));
    request.messages.push(Message::text(Role::User, "why?"));
    assert_eq!(encode(&request).0["thinking"]["type"], "enabled");
}

#[test]
fn own_fields_are_passed_on_and_openais_user_becomes_metadata() {
    let mut request = user("hi");
    let fields = json!({"service_tier": "auto", "max_tokens": 1, "mcp_servers": [{}]});
    request.extra = extra(Api::Anthropic, fields);
    let (body, dropped) = encode(&request);
    assert_eq!((&body["service_tier"], &body["max_tokens"]), (&json!("auto"), &json!(8192)));
    assert_eq!((&body["mcp_servers"], dropped.len()), (&json!([{}]), 0));
    request.extra = extra(Api::OpenAi, json!({"user": "u", "store": true}));
    let (body, dropped) = encode(&request);
    assert_eq!((&body["metadata"], dropped), (&json!({"user_id": "u"}), vec!["store".to_owned()]));
}

#[test]
fn cache_marks_are_written_where_the_client_put_them() {
    let mark = || Part::CacheMark(json!({"type": "ephemeral"}));
    let marked = |mut block: Value| {
        block["cache_control"] = json!({"type": "ephemeral"});
        block
    };
    let mut request = user("hi");
    request.messages[0].content.push(mark());
    let told = vec![text("be brief"), text("and kind"), mark()];
    request.messages.insert(0, message(Role::System, told));
    request.messages.push(message(Role::Assistant, vec![call(Some("1"), "f", ""), mark()]));
    request.messages.push(message(Role::Tool, vec![result(Some("1"), "42"), mark()]));
    request.tools = vec![Tool { cache_mark: Some(json!({"type": "ephemeral"})), ..tool("f") }];
    request.format = Format::Json;
    let (body, dropped) = encode(&request);
    let said = |text: &str| json!({"type": "text", "text": text});
    let told =
        json!([said("be brief"), marked(said("and kind")), said(super::super::encode::JSON_MODE)]);
    assert_eq!(body["system"], told);
    assert_eq!(body["messages"][0]["content"], json!([marked(said("hi"))]));
    let used = json!({"type": "tool_use", "id": "1", "name": "f", "input": {}});
    assert_eq!(body["messages"][1]["content"], json!([marked(used)]));
    let answered = json!({"type": "tool_result", "tool_use_id": "1", "content": "42"});
    assert_eq!(body["messages"][2]["content"], json!([marked(answered)]));
    assert_eq!(body["tools"][0]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(dropped, [""; 0]);
    // The other APIs have no field for cache marks.
    let others: [(&str, &dyn Backend); 3] =
        [("ollama", &Ollama), ("openai", &OpenAi), ("gemini", &Gemini)];
    for (name, backend) in others {
        let (body, dropped) = testing::encode(backend, &request, "m");
        assert!(!body.to_string().contains("cache"), "{name}: {body}");
        assert_eq!(dropped, ["cache_control"], "{name}");
    }
}
