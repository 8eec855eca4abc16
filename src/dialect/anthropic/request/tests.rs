//! Requests of Anthropic clients: each field, and each rejection.

use serde_json::json;

use super::*;
use crate::chat::{
    Api, Document, DocumentSource, ErrorKind, GatewayError, Image, ImageSource, Message, Part,
    Role, ToolCall, ToolResult,
};
use crate::dialect::testing::chat;
use crate::dialect::{Anthropic, Dialect};
use proptest::prelude::*;

fn body(changes: Value) -> Value {
    let mut body = json!({
        "model": "claude-test-1", "max_tokens": 2048, "messages": [{"role": "user", "content": "hi"}],
    });
    let Value::Object(changes) = changes else { panic!("an object") };
    body.as_object_mut().unwrap().extend(changes);
    body
}

fn read(changes: Value) -> ChatRequest {
    chat(Anthropic.decode(body(changes).to_string().as_bytes()).unwrap())
}

fn refused(changes: Value) -> GatewayError {
    let error = Anthropic.decode(body(changes).to_string().as_bytes()).unwrap_err();
    assert_eq!(Anthropic.error(&error, "r-1").status, 400);
    error
}

#[test]
fn a_full_request_is_read() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "string"}}});
    let request = read(json!({
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["END", ""], "stream": true,
        "tools": [{"name": "add", "description": "adds", "input_schema": schema, "strict": true}],
        "tool_choice": {"type": "tool", "name": "add", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        "metadata": {"user_id": "u"}, "service_tier": "auto", "container": null,
    }));
    assert_eq!(request.model.as_deref(), Some("claude-test-1"));
    let mark = Part::CacheMark(json!({"type": "ephemeral"}));
    assert_eq!(request.messages[0].content, [Part::Text("Be brief.".into()), mark]);
    assert_eq!(request.messages[1], Message::text(Role::User, "hi"));
    assert_eq!(request.sampling.max_tokens, Some(2048));
    assert_eq!(request.sampling.temperature, Some(0.5));
    assert_eq!(request.sampling.top_k, Some(5));
    assert_eq!(request.sampling.stop, ["END"]);
    assert!(request.stream);
    assert_eq!(request.tools[0].parameters, Some(schema.clone()));
    assert_eq!(request.tools[0].strict, Some(true));
    assert_eq!(request.tool_choice, ToolChoice::Named("add".into()));
    assert_eq!(request.parallel_tool_calls, Some(false));
    assert_eq!(request.effort, Some(Effort::Budget(1024)));
    assert!(matches!(&request.format, Format::Schema { schema: read, .. } if *read == schema));
    let extra = request.extra.unwrap();
    assert_eq!(extra.api, Api::Anthropic);
    assert_eq!(
        Value::Object(extra.fields),
        json!({"metadata": {"user_id": "u"}, "service_tier": "auto"})
    );
}

#[test]
fn prompt_cache_marks_stay_behind_the_part_they_mark() {
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    let used = json!({"type": "tool_use", "id": "1", "name": "f", "input": {}});
    let answered = json!({"type": "tool_result", "tool_use_id": "1", "cache_control": mark});
    let asked = json!({"type": "text", "text": "and?", "cache_control": null});
    let request = read(json!({
        "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": mark}],
        "messages": [
            {"role": "assistant", "content": [used]},
            {"role": "user", "content": [answered, asked]},
        ],
    }));
    assert_eq!(request.tools[0].cache_mark.as_ref(), Some(&mark));
    let [_, results, question] = &request.messages[..] else { panic!("{:?}", request.messages) };
    assert!(
        matches!(&results.content[..], [Part::ToolResult(_), Part::CacheMark(kept)] if *kept == mark)
    );
    assert_eq!(question.content, [Part::Text("and?".into())]);
}

#[test]
fn effort_is_read_from_both_fields() {
    let effort = |thinking: Value, effort: Value| {
        read(json!({"thinking": thinking, "output_config": {"effort": effort}})).effort
    };
    let adaptive = json!({"type": "adaptive"});
    assert_eq!(effort(Value::Null, Value::Null), None);
    assert_eq!(effort(Value::Null, json!("medium")), Some(Effort::Medium));
    assert_eq!(effort(adaptive.clone(), Value::Null), Some(Effort::On));
    assert_eq!(effort(adaptive, json!("xhigh")), Some(Effort::XHigh));
    assert_eq!(effort(json!({"type": "disabled"}), json!("high")), Some(Effort::None));
}

#[test]
fn tool_choices_have_anthropics_names() {
    let choice = |kind: &str| read(json!({"tool_choice": {"type": kind}})).tool_choice;
    assert_eq!(choice("auto"), ToolChoice::Auto);
    assert_eq!(choice("any"), ToolChoice::Required);
    assert_eq!(choice("none"), ToolChoice::None);
    assert_eq!(read(json!({})).parallel_tool_calls, None);
}

#[test]
fn a_tool_loop_becomes_messages_of_calls_and_results() {
    let png = "iVBORw0KGgo=";
    let source = json!({"type": "base64", "media_type": "image/jpeg", "data": png});
    let request = read(json!({"messages": [
        {"role": "user", "content": [
            {"type": "text", "text": ""},
            {"type": "image", "source": {"type": "url", "url": "https://example.org/x.png"}},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "redacted_thinking", "data": "secret"},
            {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"b": 1, "a": 2}},
        ]},
        {"role": "user", "content": [
            {"type": "text", "text": "and now?"},
            {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": [
                {"type": "text", "text": "42"}, {"type": "image", "source": source},
            ]},
            {"type": "tool_result", "tool_use_id": "toolu_2"},
        ]},
    ]}));
    let url = ImageSource::Url("https://example.org/x.png".into());
    let image = |source| Part::Image(Image { source, detail: None });
    assert_eq!(request.messages[0].content, [image(url)]);
    let call = ToolCall {
        id: Some("toolu_1".into()),
        name: "add".into(),
        arguments: "{\"b\":1,\"a\":2}".into(),
    };
    assert_eq!(
        request.messages[1].content,
        [
            Part::Reasoning { text: "hm".into(), signature: None },
            Part::Reasoning { text: String::new(), signature: Some("redacted:secret".into()) },
            Part::ToolCall(call)
        ]
    );
    assert_eq!(request.messages[2].role, Role::Tool);
    // The bytes are PNG, whatever was declared.
    let inline = ImageSource::Inline { media_type: "image/png".into(), base64: png.into() };
    let result = ToolResult {
        call_id: Some("toolu_1".into()),
        name: Some("add".into()),
        content: vec![Part::Text("42".into()), image(inline)],
        is_error: true,
    };
    assert_eq!(request.messages[2].content[0], Part::ToolResult(result));
    assert_eq!(request.messages[2].content.len(), 2);
    assert_eq!(request.messages[3], Message::text(Role::User, "and now?"));
}

#[test]
fn no_kind_of_block_is_refused() {
    let called = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "tides"}});
    let found = json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": [
        {"type": "web_search_result", "title": "Tides", "url": "https://example.org", "encrypted_content": "AAAA"},
    ]});
    let unheard = json!({"type": "hologram", "depth": 3});
    let request = read(json!({"system": [{"type": "image"}], "messages": [
        {"role": "user", "content": [unheard, {"type": "tool_use", "id": "1"}]},
        {"role": "assistant", "content": [called, found]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [
            {"type": "tool_reference", "tool_name": "x"},
        ]}]},
        {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]},
    ]}));
    let said = |part: &Part| match part {
        Part::Foreign(foreign) => (foreign.kind.clone(), foreign.text.clone()),
        other => panic!("{other:?}"),
    };
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        ("image".to_owned(), None),
        ("hologram".to_owned(), None),
        ("tool_use".to_owned(), None),
        ("server_tool_use".to_owned(), text("[called `web_search` with {\"query\":\"tides\"}]")),
        ("web_search_tool_result".to_owned(), text("Tides\nhttps://example.org")),
    ];
    let parts = || request.messages.iter().flat_map(|message| &message.content);
    assert_eq!(parts().take(5).map(said).collect::<Vec<_>>(), expected);
    let Some(Part::ToolResult(result)) = parts().nth(5) else { panic!("{:?}", request.messages) };
    assert_eq!(said(&result.content[0]).1, text("The tool `x` can be called now."));
    let Some(Part::Foreign(file)) = parts().nth(6) else { panic!("{:?}", request.messages) };
    assert!(file.is_decisive);
    assert_eq!(file.value["source"]["file_id"], "f");
}

#[test]
fn documents_are_read_at_any_place() {
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="});
    let text = json!({"type": "base64", "media_type": "text/plain", "data": "aGk="});
    let linked = json!({"type": "url", "url": "https://example.org/x.pdf"});
    let uploaded = json!({"type": "file", "file_id": "file_1"});
    let document = |source: &Value| json!({"type": "document", "source": source, "title": "x", "citations": {"enabled": false}});
    let request = read(json!({"messages": [{"role": "user", "content": [
        document(&text), document(&linked), document(&uploaded),
        {"type": "tool_result", "tool_use_id": "1", "content": [document(&pdf)]},
    ]}]}));
    let read = |source| {
        let title = Some("x".to_owned());
        Part::Document(Document { source, title, context: None, citations: None })
    };
    let Some(Part::ToolResult(result)) = request.messages[0].content.first() else {
        panic!("{:?}", request.messages)
    };
    let inline =
        DocumentSource::Inline { media_type: "application/pdf".into(), base64: "JVBERi0=".into() };
    assert_eq!(result.content, [read(inline)]);
    let expected = [
        read(DocumentSource::Text("hi".into())),
        read(DocumentSource::Url("https://example.org/x.pdf".into())),
        read(DocumentSource::Upload("file_1".into())),
    ];
    assert_eq!(request.messages[1].content, expected);
}

#[test]
fn tools_of_every_kind_are_read() {
    let schema = json!({"type": "object"});
    let search = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 8});
    let request = read(json!({
        "tools": [
            {"name": "a", "input_schema": schema, "defer_loading": true, "type": "custom"},
            search,
            {"name": "b", "input_schema": schema, "type": "custom_2030"},
        ],
        "messages": [{"role": "user", "content": "hi"}, {"role": "system", "content": [
            {"type": "tool_addition", "tool": {"type": "tool_definition",
                "definition": {"name": "c", "input_schema": schema}}},
            {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "a"}},
        ]}],
    }));
    let names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let own = |index: usize| request.tools[index].extra.as_ref().map(|extra| json!(extra.fields));
    assert_eq!(own(0), Some(json!({"defer_loading": true})));
    assert_eq!(own(1), Some(json!({"type": "custom_2030"})));
    assert!(request.tools[2].is_late && !request.tools[0].is_late);
    let [hosted] = &request.hosted[..] else { panic!("{:?}", request.hosted) };
    assert_eq!((hosted.at, hosted.name.as_str(), &hosted.value), (1, "web_search", &search));
    let texts = request.messages[1].content.iter().map(|part| match part {
        Part::Foreign(foreign) => foreign.text.as_deref().unwrap_or_default(),
        other => panic!("{other:?}"),
    });
    let texts: Vec<&str> = texts.collect();
    assert_eq!(texts, ["The tool `c` can be called now.", "The tool `a` is gone."]);
}

#[test]
fn unknown_settings_are_dropped_and_named() {
    let request = read(json!({
        "thinking": {"type": "deep", "display": "omitted"},
        "output_config": {"effort": "some", "format": {"type": "xml"}, "task_budget": 7},
        "messages": [{"role": "assistant", "content": [
            {"type": "text", "text": "so", "citations": [{"type": "page"}], "shade": null},
        ]}],
        "context_management": {"edits": []},
    }));
    assert_eq!((request.effort, request.format), (None, Format::Text));
    assert_eq!(request.thinking_display.as_deref(), Some("omitted"));
    let expected = [
        "output_config.effort",
        "output_config.format",
        "output_config.task_budget",
        "thinking",
        "citations",
    ];
    assert_eq!(request.dropped, expected);
    assert!(request.extra.unwrap().fields.contains_key("context_management"));
}

fn each_is_refused(table: &[(Value, &str, &str)]) {
    for (changes, path, rule) in table {
        let error = refused(changes.clone());
        assert_eq!(error.kind, ErrorKind::SchemaMismatch, "{changes}");
        let found: Vec<(String, &str)> =
            error.problems.iter().map(|problem| (problem.path.join("."), problem.rule)).collect();
        assert_eq!(found, [((*path).to_owned(), *rule)], "{changes}");
        assert!(error.message.starts_with(&format!("{path}: ")), "{}", error.message);
    }
}

#[test]
fn every_refusal_names_its_field() {
    each_is_refused(&[
        (json!({"model": null}), "model", "none_not_allowed"),
        (json!({"model": ""}), "model", "too_short"),
        (json!({"max_tokens": null}), "max_tokens", "missing"),
        (json!({"max_tokens": -1}), "max_tokens", "greater_than_equal"),
        (json!({"temperature": 1.5}), "temperature", "less_than_equal"),
        (json!({"stop_sequences": [1]}), "stop_sequences.0", "string_type"),
        (json!({"tools": [{"name": "w"}]}), "tools.0.input_schema", "missing"),
        (json!({"tool_choice": {}}), "tool_choice.type", "missing"),
        (json!({"tool_choice": {"type": ""}}), "tool_choice.type", "literal_error"),
        (json!({"tool_choice": {"type": "some"}}), "tool_choice.type", "literal_error"),
        (json!({"tool_choice": {"type": "tool"}}), "tool_choice.name", "missing"),
        (json!({"thinking": {"type": "enabled"}}), "thinking.budget_tokens", "missing"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1023}}),
            "thinking.budget_tokens",
            "greater_than_equal",
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 2048}}),
            "thinking.budget_tokens",
            "less_than",
        ),
    ]);
}

#[test]
fn every_refusal_names_its_block() {
    let said = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
    let picture = |source: Value| said(json!({"type": "image", "source": source}));
    let base64 =
        |kind: &str, text: &str| json!({"type": "base64", "media_type": kind, "data": text});
    each_is_refused(&[
        (json!({"messages": []}), "messages", "too_short"),
        (json!({"messages": [{"content": "hi"}]}), "messages.0.role", "missing"),
        (json!({"messages": [{"role": ""}]}), "messages.0.role", "literal_error"),
        (json!({"messages": [{"role": "robot"}]}), "messages.0.role", "literal_error"),
        (json!({"messages": [{"role": "user"}]}), "messages.0.content", "missing"),
        (
            json!({"messages": [{"role": "user", "content": 1}]}),
            "messages.0.content",
            "string_type",
        ),
        (said(json!({"type": "document"})), "messages.0.content.0.source", "missing"),
        (said(json!({})), "messages.0.content.0.type", "missing"),
        (said(json!({"type": "text"})), "messages.0.content.0.text", "missing"),
        (picture(base64("image/png", "%")), "messages.0.content.0.source.data", "base64"),
        (
            picture(base64("image/tiff", "AAAA")),
            "messages.0.content.0.source.media_type",
            "literal_error",
        ),
    ]);
}

#[test]
fn anything_but_an_object_is_malformed() {
    for body in ["", "[]", "{\"model\":", "{\"model\":\"a\",\"model\":\"b\"}"] {
        let error = Anthropic.decode(body.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
    }
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Anthropic.decode(&body);
    }
}
