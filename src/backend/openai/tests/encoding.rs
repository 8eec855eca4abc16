//! Tests of what is sent to OpenAI, left out, and refused.

use serde_json::{Value, json};

use super::*;
use crate::backend::testing::{
    answered, call, extra, inline, linked, message, refusal, result, text, thought, tool, user,
};
use crate::backend::{LimitField, Quirks};
use crate::chat::{ChatRequest, Effort, Foreign, Format, Part, Role, Sampling, ToolChoice};

fn encode_for(request: &ChatRequest, model: &str) -> (Value, Vec<String>) {
    crate::backend::testing::encode(&OpenAi, request, model)
}

fn encode(request: &ChatRequest) -> Value {
    encode_for(request, "llama3.1").0
}

#[test]
fn a_plain_request_is_streamed_and_asks_for_usage() {
    let body = json!({"model": "llama3.1", "messages": [{"role": "user", "content": "hi"}],
        "stream": true, "stream_options": {"include_usage": true}});
    assert_eq!(encode(&user("hi")), body);
    let call = OpenAi.encode(&Ask::Chat(user("hi")), Target::new("m", Some("sk-1"))).unwrap();
    assert_eq!(call.path, "/chat/completions");
    assert_eq!(call.headers, [("authorization", "Bearer sk-1".to_owned())]);
}

#[test]
fn openais_own_models_get_the_newer_token_limit_field_and_others_the_older() {
    let mut request = user("hi");
    request.sampling.max_tokens = Some(9);
    for model in ["gpt-4o", "openai/gpt-5-mini", "o3", "o4-mini", "chatgpt-4o-latest", "gpt-6"] {
        let (body, _) = encode_for(&request, model);
        assert_eq!(
            (&body["max_completion_tokens"], &body["max_tokens"]),
            (&json!(9), &Value::Null)
        );
    }
    for model in ["llama3.1", "gpt-oss:20b", "openai/gpt-oss-120b", "opus", "mistral-large"] {
        let (body, _) = encode_for(&request, model);
        assert_eq!(
            (&body["max_tokens"], &body["max_completion_tokens"]),
            (&json!(9), &Value::Null)
        );
    }
}

#[test]
fn the_operator_may_choose_the_limit_field_and_turn_usage_off() {
    let with = |quirks: Quirks, request: &ChatRequest, model: &str| -> Value {
        let target = Target { quirks, ..Target::new(model, None) };
        let call = OpenAi.encode(&Ask::Chat(request.clone()), target).unwrap();
        serde_json::from_slice(&call.body).unwrap()
    };
    let mut limited = user("hi");
    limited.sampling.max_tokens = Some(9);
    let usual = Quirks { default_max_tokens: Some(5), ..Quirks::default() };
    let older = Quirks { limit_field: LimitField::MaxTokens, ..usual };
    let newer = Quirks { limit_field: LimitField::MaxCompletionTokens, ..usual };
    let limits =
        |body: Value| [body["max_tokens"].as_u64(), body["max_completion_tokens"].as_u64()];
    assert_eq!(limits(with(usual, &user("hi"), "llama3.1")), [Some(5), None]);
    assert_eq!(limits(with(usual, &limited, "gpt-5")), [None, Some(9)]);
    assert_eq!(limits(with(older, &limited, "gpt-5")), [Some(9), None]);
    assert_eq!(limits(with(newer, &user("hi"), "llama3.1")), [None, Some(5)]);
    let silent = Quirks { no_stream_usage: true, ..Quirks::default() };
    let gap = ChatRequest { suffix: Some("b".into()), ..user("a") };
    for request in [user("hi"), gap] {
        assert_eq!(with(silent, &request, "m").get("stream_options"), None);
        assert_eq!(with(usual, &request, "m")["max_tokens"], 5);
    }
}

#[test]
fn sampling_is_passed_on_and_settings_without_a_field_are_reported() {
    let mut request = user("hi");
    request.sampling = Sampling {
        temperature: Some(0.7),
        top_p: Some(0.9),
        top_k: Some(40),
        min_p: Some(0.1),
        presence_penalty: Some(0.5),
        frequency_penalty: Some(0.0),
        repeat_penalty: Some(1.1),
        seed: Some(-3),
        stop: vec![String::new(), "END".into()],
        max_tokens: None,
    };
    request.logprobs = Some(0);
    let (body, dropped) = encode_for(&request, "m");
    let told = json!({"temperature": 0.7, "top_p": 0.9, "presence_penalty": 0.5, "seed": -3,
        "stop": ["END"], "logprobs": true});
    for (name, value) in told.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
    assert_eq!(body["frequency_penalty"], Value::Null);
    assert_eq!(dropped, ["top_k", "min_p", "repeat_penalty"]);
    let (body, dropped) = encode_for(&request, "o3");
    assert_eq!(body["temperature"], Value::Null);
    let all = ["temperature", "top_p", "presence_penalty", "top_k", "min_p", "repeat_penalty"];
    assert_eq!(dropped, all);
}

#[test]
fn default_sampling_for_a_reasoning_model_is_not_reported() {
    let mut request = user("hi");
    request.sampling.temperature = Some(1.0);
    let (body, dropped) = encode_for(&request, "gpt-5");
    assert_eq!((&body["temperature"], dropped.len()), (&Value::Null, 0));
}

#[test]
fn requests_that_would_change_the_result_are_refused_by_name() {
    let refused = |change: fn(&mut ChatRequest)| refusal(&OpenAi, change);
    assert!(refused(|request| request.n = Some(2)).starts_with("n:"));
    assert!(refused(|request| request.messages.clear()).starts_with("messages:"));
    let add =
        |role, part| refusal(&OpenAi, |request| request.messages.push(message(role, vec![part])));
    assert!(add(Role::Tool, result(Some("x"), "42")).starts_with("tool_call_id:"));
    assert!(add(Role::Tool, result(None, "42")).starts_with("messages:"));
}

#[test]
fn the_provider_decides_how_many_stop_texts_there_may_be() {
    let mut request = user("hi");
    request.sampling.stop = (0..12).map(|number| format!("end {number}")).collect();
    assert_eq!(encode(&request)["stop"].as_array().unwrap().len(), 12);
}

#[test]
fn messages_of_every_role_may_hold_pictures_and_other_parts() {
    let value = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}});
    let part = |api| {
        let (kind, value) = ("input_audio".to_owned(), value.clone());
        Part::Foreign(Foreign { api, kind, text: None, is_decisive: true, value })
    };
    let picture = || linked("https://example.org/x.png");
    let mut request = user("listen");
    request.messages[0].content.push(part(Api::OpenAi));
    request.messages.push(message(Role::Assistant, vec![text("so"), picture()]));
    request.messages.insert(0, message(Role::System, vec![text("look"), picture()]));
    let messages = encode(&request)["messages"].clone();
    let expected = json!([{"type": "text", "text": "listen"}, value]);
    assert_eq!(messages[1]["content"], expected);
    for index in [0, 2] {
        assert_eq!(messages[index]["content"][1]["type"], "image_url", "{index}");
    }
    let refused = refusal(&OpenAi, |request| request.messages[0].content.push(part(Api::Ollama)));
    assert!(refused.starts_with("input_audio:"), "{refused}");
}

#[test]
fn pictures_are_sent_inline_or_by_url_with_the_type_of_their_bytes() {
    let mut request = user("look");
    let pictures = [inline("/9j/AA=="), linked("https://example.org/x.png")];
    request.messages[0].content.extend(pictures);
    let content = json!([{"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/AA==", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/x.png", "detail": "low"}}]);
    assert_eq!(encode(&request)["messages"][0]["content"], content);
}

#[test]
fn calls_and_results_are_paired_even_without_ids() {
    let mut request = user("hi");
    let long = "x".repeat(41);
    let calls =
        vec![call(None, "a", ""), call(Some(&long), "b", "{}"), call(Some("own"), "c", "1")];
    request.messages.push(message(Role::Assistant, calls));
    let answers = vec![result(None, "A"), result(Some(&long), "B"), result(Some("own"), "C")];
    request.messages.push(message(Role::Tool, answers));
    let messages = encode(&request)["messages"].clone();
    assert_eq!(messages[1]["content"], Value::Null);
    let calls = messages[1]["tool_calls"].as_array().unwrap();
    let ids: Vec<_> = calls.iter().map(|call| call["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["call00000", "call00001", "own"]);
    assert_eq!(calls[0]["function"], json!({"name": "a", "arguments": "{}"}));
    assert_eq!(calls[2]["function"]["arguments"], "1");
    for (index, (id, text)) in ids.into_iter().zip(["A", "B", "C"]).enumerate() {
        let answer = json!({"role": "tool", "content": text, "tool_call_id": id});
        assert_eq!(messages[index + 2], answer);
    }
}

#[test]
fn mistrals_models_get_ids_that_their_templates_accept() {
    let mut request = user("hi");
    let (own, foreign) = ("AbC012xyz", "toolu_01ABC");
    request.messages.push(message(
        Role::Assistant,
        vec![call(Some(foreign), "a", ""), call(Some(own), "b", ""), call(None, "c", "")],
    ));
    let answers = vec![result(Some(own), "B"), result(Some(foreign), "A"), result(None, "C")];
    request.messages.push(message(Role::Tool, answers));
    let sent = |model: &str| {
        let (body, _) = encode_for(&request, model);
        let calls = body["messages"][1]["tool_calls"].as_array().unwrap().clone();
        let called = calls.iter().map(|call| call["id"].as_str().unwrap().to_owned());
        let answered =
            (2..5).map(|at| body["messages"][at]["tool_call_id"].as_str().unwrap().to_owned());
        called.chain(answered).collect::<Vec<_>>()
    };
    let (first, second) = ("call00000", "call00001");
    for model in ["mistralai/Devstral-Small-2507", "Mixtral-8x7B", "mistral-small"] {
        assert_eq!(sent(model), [first, own, second, own, first, second], "{model}");
    }
    assert_eq!(sent("qwen3"), [foreign, own, first, own, foreign, first]);
}

#[test]
fn a_failed_result_is_marked_and_its_pictures_follow_the_last_result() {
    let mut request = user("hi");
    let both = vec![call(Some("1"), "a", "{}"), call(Some("2"), "b", "{}")];
    request.messages.push(message(Role::Assistant, both));
    let content = vec![text("no"), linked("https://example.org/x.png")];
    let failed = answered(Some("1"), content, true);
    request.messages.push(message(Role::Tool, vec![failed]));
    request.messages.push(message(Role::Tool, vec![result(Some("2"), "yes")]));
    let messages = encode(&request)["messages"].clone();
    assert_eq!(messages[2]["content"], "Error: no");
    assert_eq!(messages[3]["content"], "yes");
    assert_eq!(messages[4]["role"], "user");
    assert_eq!(messages[4]["content"][0]["type"], "image_url");
}

#[test]
fn tools_are_declared_and_chosen_under_allowed_names() {
    let mut request = user("hi");
    request.tools = vec![tool("fs.read"), tool("fs_read")];
    request.tools[1].strict = Some(true);
    request.tools[1].parameters = Some(json!({"type": "object"}));
    request.tool_choice = ToolChoice::Named("fs.read".into());
    request.parallel_tool_calls = Some(false);
    let body = encode(&request);
    assert_eq!(body["tools"][0], json!({"type": "function", "function": {"name": "fs_read_2"}}));
    let function = json!({"name": "fs_read", "parameters": {"type": "object"}, "strict": true});
    assert_eq!(body["tools"][1]["function"], function);
    assert_eq!(body["tool_choice"], json!({"type": "function", "function": {"name": "fs_read_2"}}));
    assert_eq!(body["parallel_tool_calls"], false);
    for (choice, told) in [
        (ToolChoice::Auto, Value::Null),
        (ToolChoice::None, json!("none")),
        (ToolChoice::Required, json!("required")),
    ] {
        request.tool_choice = choice;
        assert_eq!(encode(&request)["tool_choice"], told);
    }
    request.tools.clear();
    request.tool_choice = ToolChoice::None;
    let body = encode(&request);
    assert_eq!((&body["tool_choice"], &body["parallel_tool_calls"]), (&Value::Null, &Value::Null));
}

#[test]
fn formats_and_efforts_are_sent_in_their_fields() {
    let mut request = user("hi");
    request.format = Format::Json;
    assert_eq!(encode(&request)["response_format"], json!({"type": "json_object"}));
    let schema = json!({"type": "object"});
    request.format = Format::Schema {
        name: None,
        description: Some("d".into()),
        schema: schema.clone(),
        strict: Some(true),
    };
    let inner = json!({"name": "answer", "schema": schema, "description": "d", "strict": true});
    let told = json!({"type": "json_schema", "json_schema": inner});
    assert_eq!(encode(&request)["response_format"], told);
    for (effort, told) in [
        (Effort::None, "none"),
        (Effort::Low, "low"),
        (Effort::On, "medium"),
        (Effort::Max, "high"),
        (Effort::Budget(1024), "low"),
        (Effort::Budget(8192), "medium"),
        (Effort::Budget(9000), "high"),
    ] {
        request.effort = Some(effort);
        assert_eq!(encode_for(&request, "gpt-5").0["reasoning_effort"], told);
        let (body, dropped) = encode_for(&request, "gpt-4o");
        let lost: &[&str] = if effort == Effort::None { &[] } else { &["reasoning_effort"] };
        assert_eq!(body["reasoning_effort"], Value::Null);
        assert_eq!(dropped, lost);
    }
}

#[test]
fn an_openai_clients_own_fields_are_passed_on_and_others_are_reported_or_refused() {
    let fields = json!({"user": "u", "logit_bias": {"5": 1}, "stream": false, "n": 3});
    let mut request = user("hi");
    request.extra = extra(Api::OpenAi, fields.clone());
    let (body, dropped) = encode_for(&request, "m");
    assert_eq!((&body["user"], &body["logit_bias"]), (&json!("u"), &json!({"5": 1})));
    assert_eq!((&body["stream"], &body["n"]), (&json!(true), &Value::Null));
    assert_eq!(dropped, [""; 0]);
    let refused = refusal(&OpenAi, |request| request.extra = extra(Api::Ollama, fields));
    assert!(refused.starts_with("logit_bias:"));
    request.extra = extra(Api::Ollama, json!({"keep_alive": "5m"}));
    request.messages.push(message(Role::Assistant, vec![thought("hm", None), text("so")]));
    let (body, dropped) = encode_for(&request, "m");
    assert_eq!(dropped, ["keep_alive", "reasoning"]);
    assert_eq!(body["messages"][1], json!({"role": "assistant", "content": "so"}));
}
