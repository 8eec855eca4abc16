//! Tests of what is sent to Ollama, and of how its errors are classified; decoding has a file of
//! its own.

mod decoding;

use serde_json::{Value, json};

use super::*;
use crate::backend::testing::{call, extra, message, result, user};
use crate::backend::{Quirks, RejectionClass};
use crate::chat::{
    ChatRequest, Extra, Foreign, Format, Image, ImageSource, Message, Part, Role, Sampling, Tool,
    ToolCall, ToolChoice, ToolResult,
};

fn encode(request: &ChatRequest) -> Value {
    let call = Ollama.encode(&Ask::Chat(request.clone()), Target::new("llama3.1", None)).unwrap();
    assert_eq!(call.path, "/api/chat");
    serde_json::from_slice(&call.body).unwrap()
}

#[test]
fn a_plain_request_is_streamed_with_its_options() {
    let mut request = user("hi");
    assert_eq!(
        encode(&request),
        json!({"model": "llama3.1", "messages": [{"role": "user", "content": "hi"}], "stream": true})
    );
    request.sampling = Sampling {
        temperature: Some(0.7),
        max_tokens: Some(512),
        stop: vec!["END".into()],
        ..Sampling::default()
    };
    let options = json!({"num_predict": 512, "temperature": 0.7, "stop": ["END"]});
    assert_eq!(encode(&request)["options"], options);
}

#[test]
fn an_empty_conversation_is_not_streamed() {
    let body = encode(&ChatRequest::default());
    assert_eq!(body, json!({"model": "llama3.1", "messages": [], "stream": false}));
}

#[test]
fn parts_are_joined_to_one_text_and_a_list_of_images() {
    let mut request = user("look");
    let image = |source| Part::Image(Image { source, detail: None });
    request.messages[0].content.push(Part::Text("here".into()));
    request.messages[0]
        .content
        .push(image(ImageSource::Inline { media_type: "image/png".into(), base64: "AAAA".into() }));
    let message = json!({"role": "user", "content": "look\nhere", "images": ["AAAA"]});
    assert_eq!(encode(&request)["messages"][0], message);
    request.messages[0].content.push(image(ImageSource::Url("https://example.org/x.png".into())));
    let error = Ollama.encode(&Ask::Chat(request.clone()), Target::new("m", None)).unwrap_err();
    assert!(error.message.starts_with("image_url:"), "{error}");
}

fn with_tools(choice: ToolChoice) -> Value {
    let tool = |name: &str| Tool {
        name: name.into(),
        description: None,
        parameters: None,
        strict: Some(true),
        ..Tool::default()
    };
    let mut request = user("hi");
    request.tools = vec![tool("a"), tool("b")];
    request.tool_choice = choice;
    encode(&request)["tools"].clone()
}

#[test]
fn a_forced_tool_is_the_only_one_offered_and_a_choice_of_none_offers_no_tool() {
    assert_eq!(with_tools(ToolChoice::Auto).as_array().unwrap().len(), 2);
    assert_eq!(with_tools(ToolChoice::Required).as_array().unwrap().len(), 2);
    assert_eq!(with_tools(ToolChoice::None), Value::Null);
    let parameters = json!({"type": "object", "properties": {}});
    let function = json!({"name": "b", "description": "", "parameters": parameters});
    assert_eq!(
        with_tools(ToolChoice::Named("b".into())),
        json!([{"type": "function", "function": function}])
    );
}

#[test]
fn calls_have_objects_as_arguments_and_results_have_the_tools_name() {
    let call = |arguments: &str| {
        Part::ToolCall(ToolCall {
            id: Some("call_1".into()),
            name: "add".into(),
            arguments: arguments.into(),
        })
    };
    let message = |role, content| Message { role, content: vec![content], name: None };
    let result = Part::ToolResult(ToolResult {
        call_id: Some("call_1".into()),
        name: None,
        content: vec![Part::Text("42".into())],
        is_error: true,
    });
    let mut request = user("hi");
    request.messages.push(message(Role::Assistant, call("{\"b\":1,\"a\":2}")));
    request.messages.push(message(Role::Tool, result));
    let messages = encode(&request)["messages"].clone();
    assert_eq!(messages[1]["tool_calls"][0]["function"]["arguments"], json!({"b": 1, "a": 2}));
    assert_eq!(
        messages[2],
        json!({"role": "tool", "content": "Error: 42", "tool_name": "add", "tool_call_id": "call_1"})
    );
    request.messages[1] = message(Role::Assistant, call("[1]"));
    assert!(
        Ollama
            .encode(&Ask::Chat(request.clone()), Target::new("m", None))
            .unwrap_err()
            .message
            .contains("`add`")
    );
}

#[test]
fn a_role_of_ollamas_own_is_sent_as_it_came() {
    let role = Part::Foreign(Foreign {
        api: Api::Ollama,
        kind: "role".into(),
        text: None,
        is_decisive: false,
        value: json!({"role": "control"}),
    });
    let content = vec![role, Part::Text("thinking".into())];
    let mut request = user("hi");
    request.messages.insert(0, Message { role: Role::User, content, name: None });
    let call = Ollama.encode(&Ask::Chat(request.clone()), Target::new("m", None)).unwrap();
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(body["messages"][0], json!({"role": "control", "content": "thinking"}));
    assert_eq!(call.dropped, [""; 0]);
    let (_, dropped) = crate::backend::testing::encode(&crate::backend::OpenAi, &request, "m");
    assert_eq!(dropped, ["role"]);
}

#[test]
fn a_request_for_several_answers_is_refused() {
    let mut request = user("hi");
    request.n = Some(1);
    encode(&request);
    request.n = Some(2);
    assert!(
        Ollama
            .encode(&Ask::Chat(request.clone()), Target::new("m", None))
            .unwrap_err()
            .message
            .starts_with("n:")
    );
}

#[test]
fn an_ollama_clients_own_fields_are_passed_on_and_others_are_reported() {
    let fields = json!({"keep_alive": "5m", "options": {"num_ctx": 8192, "seed": 1}, "odd": 1});
    let Value::Object(fields) = fields else { panic!("an object") };
    let mut request = user("hi");
    request.sampling.seed = Some(2);
    request.format = Format::Json;
    request.extra = Some(Extra { api: Api::Ollama, fields: fields.clone() });
    let call = Ollama.encode(&Ask::Chat(request.clone()), Target::new("m", Some("k"))).unwrap();
    assert_eq!(call.dropped, ["odd"]);
    assert_eq!(call.headers, [("authorization", "Bearer k".to_owned())]);
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(body["keep_alive"], "5m");
    assert_eq!(body["format"], "json");
    assert_eq!(body["options"]["num_ctx"], 8192);
    request.extra = Some(Extra { api: Api::OpenAi, fields });
    let call = Ollama.encode(&Ask::Chat(request.clone()), Target::new("m", None)).unwrap();
    assert_eq!(call.dropped, ["keep_alive", "options", "odd"]);
}

#[test]
fn errors_are_classified_and_keep_ollamas_message() {
    let table: &[(u16, &str, RejectionClass, &str)] = &[
        (404, "model 'x' not found", RejectionClass::UnknownModel, "ollama pull m"),
        (503, "server busy, please try again.", RejectionClass::NotBegun, "server busy"),
        (400, "\"m\" does not support tools", RejectionClass::BadRequest, "does not support tools"),
        (
            400,
            "the prompt is longer than the context length",
            RejectionClass::ContextTooLong,
            "prompt",
        ),
        (401, "unauthorized", RejectionClass::Auth, "unauthorized"),
        (429, "slow down", RejectionClass::RateLimited, "slow down"),
        (499, "request canceled", RejectionClass::Broken, "canceled"),
        (500, "model runner has unexpectedly stopped", RejectionClass::Crashed, "runner"),
    ];
    for (status, said, class, part) in table {
        let body = json!({"error": said}).to_string();
        let rejection = Ollama.rejection(*status, body.as_bytes(), "m");
        assert_eq!(rejection.class, *class, "{status}");
        assert!(rejection.message.contains(part), "{}", rejection.message);
    }
    assert_eq!(Ollama.rejection(502, b"<html>", "m").message, "status 502");
    // Models that run elsewhere require another key; that says nothing about local models.
    let told = json!({"error": "unauthorized", "signin_url": "https://ollama.com"}).to_string();
    for (body, model) in [(told.as_str(), "mine"), (r#"{"error":"unauthorized"}"#, "x:1b-cloud")] {
        let rejection = Ollama.rejection(401, body.as_bytes(), model);
        assert_eq!(rejection.class, RejectionClass::UnknownModel, "{model}");
        assert!(rejection.message.contains("`ollama signin`"), "{}", rejection.message);
    }
}

#[test]
fn the_message_of_a_runner_within_an_error_is_given() {
    let llama = json!({"error": {"code": 400, "type": "exceed_context_size_error",
        "message": "request (9 tokens) exceeds the available context size (8 tokens), try increasing it"}});
    let table = [
        (400, json!({"error": llama.to_string()}), RejectionClass::ContextTooLong),
        (
            400,
            json!({"error": "the input length exceeds the context length"}),
            RejectionClass::ContextTooLong,
        ),
        (500, json!({"error": llama.to_string()}), RejectionClass::ContextTooLong),
        (
            500,
            json!({"error": json!({"error": {"message": "image input is not supported"}}).to_string()}),
            RejectionClass::BadRequest,
        ),
        (
            400,
            json!({"error": "option \"num_ctx\" must be of type integer"}),
            RejectionClass::BadRequest,
        ),
    ];
    for (status, body, class) in table {
        let rejection = Ollama.rejection(status, body.to_string().as_bytes(), "m");
        assert_eq!(rejection.class, class, "{body}");
        assert!(!rejection.message.contains('{'), "{}", rejection.message);
    }
}

#[test]
fn a_wrong_address_is_distinguished_from_a_missing_model() {
    for body in ["404 page not found", "<html>", ""] {
        let rejection = Ollama.rejection(404, body.as_bytes(), "m");
        assert_eq!(rejection.class, RejectionClass::Broken, "{body}");
        let message = rejection.message;
        assert!(message.contains("base_url") && message.contains("/v1"), "{message}");
        assert!(!message.contains("ollama pull"), "{message}");
    }
    assert_eq!(Ollama.rejection(404, b"{}", "m").class, RejectionClass::UnknownModel);
}

#[test]
fn a_client_s_limit_replaces_the_operator_s() {
    let limit = |request: &ChatRequest| {
        let quirks = Quirks { default_max_tokens: Some(5), ..Quirks::default() };
        let target = Target { quirks, ..Target::new("m", None) };
        let call = Ollama.encode(&Ask::Chat(request.clone()), target).unwrap();
        let body = String::from_utf8(call.body).unwrap();
        assert_eq!(body.matches("num_predict").count(), 1, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["options"]["num_predict"].clone()
    };
    let mut request = user("hi");
    assert_eq!(limit(&request), 5);
    request.sampling.max_tokens = Some(9);
    assert_eq!(limit(&request), 9);
    let mut unlimited = user("hi");
    unlimited.extra = extra(Api::Ollama, json!({"options": {"num_predict": -1}}));
    assert_eq!(limit(&unlimited), -1);
}

#[test]
fn results_are_sorted_into_the_order_of_their_calls() {
    let mut request = user("hi");
    let two = ["1", "2"].map(|id| call(Some(id), "f", "{}"));
    request.messages.push(message(Role::Assistant, two.into()));
    let results = vec![result(Some("2"), "second"), result(Some("1"), "first")];
    request.messages.push(message(Role::Tool, results));
    let body = encode(&request);
    let said = |at: usize| body["messages"][at]["content"].clone();
    assert_eq!([said(2), said(3)], ["first", "second"]);
}
