//! Tests of what newer models are sent, and of parts that only Anthropic's API has.

use serde_json::{Value, json};

use super::*;
use crate::backend::testing::{answered, call, extra, message, result, text, tool, user};
use crate::chat::{
    ChatRequest, Document, DocumentSource, Effort, Foreign, HostedTool, Part, Role, Tool,
    ToolChoice,
};

fn encode_for(request: &ChatRequest, model: &str) -> (Value, Vec<String>) {
    crate::backend::testing::encode(&Anthropic, request, model)
}

#[test]
fn newer_models_think_adaptively_and_plain_models_do_not_think() {
    let mut request = user("hi");
    request.thinking_display = Some("omitted".into());
    let told = |request: &ChatRequest, model| {
        let (body, dropped) = encode_for(request, model);
        (body["thinking"].clone(), body["output_config"].clone(), dropped)
    };
    let adaptive = json!({"type": "adaptive", "display": "omitted"});
    for (effort, word) in [
        (Effort::On, Value::Null),
        (Effort::Minimal, json!({"effort": "low"})),
        (Effort::High, json!({"effort": "high"})),
        (Effort::XHigh, json!({"effort": "xhigh"})),
        (Effort::Max, json!({"effort": "max"})),
        (Effort::Budget(5000), json!({"effort": "medium"})),
    ] {
        request.effort = Some(effort);
        assert_eq!(told(&request, "claude-opus-4-8"), (adaptive.clone(), word, vec![]));
    }
    request.effort = Some(Effort::Budget(5000));
    let budget = json!({"type": "enabled", "budget_tokens": 5000, "display": "omitted"});
    assert_eq!(told(&request, "claude-haiku-4-5"), (budget, Value::Null, vec![]));
    let none = vec!["reasoning_effort".to_owned()];
    assert_eq!(told(&request, "claude-3-5-sonnet-latest"), (Value::Null, Value::Null, none));
    request.effort = Some(Effort::None);
    let off = json!({"type": "disabled"});
    assert_eq!(told(&request, "claude-opus-4-8"), (off, Value::Null, vec![]));
    assert_eq!(told(&request, "claude-3-5-sonnet-latest"), (Value::Null, Value::Null, vec![]));
}

#[test]
fn a_newer_model_may_begin_to_think_within_a_tool_loop() {
    let mut request = user("hi");
    request.messages.push(message(Role::Assistant, vec![call(Some("1"), "f", "")]));
    request.messages.push(message(Role::Tool, vec![result(Some("1"), "42")]));
    request.effort = Some(Effort::Low);
    assert_eq!(encode_for(&request, "claude-opus-4-8").0["thinking"]["type"], "adaptive");
}

#[test]
fn late_system_messages_keep_their_place_and_mark_if_the_model_accepts_them() {
    let mut request = user("hi");
    let mark = json!({"type": "ephemeral"});
    let late = vec![text("late"), Part::CacheMark(mark.clone())];
    request.messages.push(message(Role::System, late));
    let (body, _) = encode_for(&request, "claude-opus-4-8");
    let marked = json!([{"type": "text", "text": "late", "cache_control": mark}]);
    let expected =
        json!([{"role": "user", "content": "hi"}, {"role": "system", "content": marked}]);
    assert_eq!((&body["messages"], &body["system"]), (&expected, &Value::Null));
    let (body, _) = encode_for(&request, "claude-haiku-4-5");
    let said = "<system>\nlate\n</system>";
    let marked = json!({"type": "text", "text": said, "cache_control": mark});
    let content = json!([{"type": "text", "text": "hi"}, marked]);
    assert_eq!(body["messages"], json!([{"role": "user", "content": content}]));
}

#[test]
fn anthropics_own_parts_are_sent_as_they_came() {
    let hologram = json!({"type": "hologram", "depth": 3});
    let part = Part::Foreign(Foreign {
        api: Api::Anthropic,
        kind: "hologram".into(),
        text: None,
        is_decisive: false,
        value: hologram.clone(),
    });
    let source =
        DocumentSource::Inline { media_type: "application/pdf".into(), base64: "JVBE".into() };
    let document = Document { source, title: Some("x".into()), context: None, citations: None };
    let answer = answered(Some("1"), vec![Part::Document(document)], false);
    let mut request = user("hi");
    request.messages.push(message(Role::Assistant, vec![part, call(Some("1"), "f", "")]));
    request.messages.push(message(Role::Tool, vec![answer]));
    let search = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 8});
    let (kind, name) = ("web_search_20250305".into(), "web_search".into());
    request.hosted =
        vec![HostedTool { api: Api::Anthropic, at: 0, kind, name, value: search.clone() }];
    let late = Tool { is_late: true, ..tool("late") };
    let fields = extra(Api::Anthropic, json!({"defer_loading": true}));
    request.tools = vec![Tool { extra: fields, ..tool("f") }, late];
    request.tool_choice = ToolChoice::Named("web_search".into());
    let (body, dropped) = encode_for(&request, "claude");
    assert_eq!(body["messages"][1]["content"][0], hologram);
    let source = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBE"});
    let document = json!({"type": "document", "source": source, "title": "x"});
    assert_eq!(body["messages"][2]["content"][0]["content"], json!([document]));
    assert_eq!(body["tools"][0], search);
    assert_eq!(
        (&body["tools"][1]["name"], &body["tools"][1]["defer_loading"]),
        (&json!("f"), &json!(true))
    );
    assert_eq!(body["tools"].as_array().unwrap().len(), 2);
    assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "web_search"}));
    assert!(dropped.is_empty(), "{dropped:?}");
}
