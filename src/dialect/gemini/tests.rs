//! Requests of Google's clients, and the answers and errors for them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{
    Api, ChatEvent, ChatRequest, Completion, Document, DocumentSource, Effort, Finish, Format,
    Image, ImageSource, Message, Part, Role, ToolCallPiece, ToolChoice, Usage,
};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

fn read(body: &Value) -> ChatRequest {
    match Gemini::Generate.decode(body.to_string().as_bytes()) {
        Ok(Ask::Chat(chat)) => chat,
        other => panic!("{body}: {other:?}"),
    }
}

fn refused(route: Gemini, body: &Value) -> String {
    route.decode(body.to_string().as_bytes()).unwrap_err().message.into_owned()
}

fn asking(config: Value) -> Value {
    json!({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": config})
}

#[test]
fn a_conversation_is_read_part_by_part() {
    let chat = read(&json!({
        "system_instruction": {"role": "user", "parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "look"}, {"inline_data": {"mime_type": "image/png", "data": "iVBORw0K"}}]},
            {"role": "model", "parts": [{"text": "hm", "thought": true}]},
            {"role": "model", "parts": [{"text": "I "}]},
            {"role": "model", "parts": [
                {"text": "see"},
                {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "AAAA"},
                {"functionCall": {"id": "c-2", "name": "f"}},
            ]},
            {"role": "user", "parts": [
                {"text": "go on"},
                {"functionResponse": {"name": "f", "response": {"output": "one"}}},
                {"functionResponse": {"id": "c-2", "name": "f", "response": {"error": "no"}}},
            ]},
        ],
    }));
    let roles: Vec<Role> = chat.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
    assert_eq!(chat.messages[0], Message::text(Role::System, "be brief"));
    assert!(matches!(chat.messages[1].content[1], Part::Image(_)));
    let [thought, text, signed, Part::ToolCall(one), Part::ToolCall(two)] =
        chat.messages[2].content.as_slice()
    else {
        panic!("{:?}", chat.messages[2])
    };
    assert_eq!(*thought, Part::Reasoning { text: "hm".to_owned(), signature: None });
    assert_eq!(*text, Part::Text("I see".to_owned()));
    let signature = Some("gemini:AAAA".to_owned());
    assert_eq!(*signed, Part::Reasoning { text: String::new(), signature });
    assert_eq!((one.id.as_deref(), one.arguments.as_str()), (None, "{\"a\":1}"));
    assert_eq!((two.id.as_deref(), two.arguments.as_str()), (Some("c-2"), "{}"));
    let [Part::ToolResult(one), Part::ToolResult(two)] = chat.messages[3].content.as_slice() else {
        panic!("{:?}", chat.messages[3])
    };
    assert_eq!((one.name.as_deref(), one.is_error), (Some("f"), false));
    assert_eq!(one.content, [Part::Text("one".to_owned())]);
    assert_eq!((two.call_id.as_deref(), two.is_error), (Some("c-2"), true));
}

#[test]
fn inline_data_is_an_image_a_document_or_audio() {
    let inline = |media_type: &str, data: &str| json!({"inlineData": {"mimeType": media_type, "data": data, "displayName": "a"}});
    let public =
        json!({"fileData": {"fileUri": "https://example.org/a.png", "mimeType": "image/png"}});
    let parts = json!([
        // The bytes have another type.
        inline("image/png", "/9j/4AAQ"),
        inline("application/pdf", "JVBERi0x"),
        inline("text/plain", "aGVsbG8="),
        inline("audio/mpeg", "AA-_"),
        public,
        {"executableCode": {"language": "PYTHON", "code": "1 + 1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
    ]);
    let chat = read(&json!({"contents": [{"role": "user", "parts": parts}]}));
    let said: Vec<String> = chat.messages[0].content.iter().map(shown).collect();
    let expected = [
        "image/jpeg",
        "a: application/pdf",
        "a: hello",
        r#"{"type":"input_audio","input_audio":{"data":"AA+/","format":"mp3"}}"#,
        "https://example.org/a.png",
        "```\n1 + 1\n```",
        "```\n2\n```",
    ];
    assert_eq!(said, expected);
}

/// A part in one line.
fn shown(part: &Part) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Image(Image { source: ImageSource::Inline { media_type, .. }, .. }) => {
            media_type.clone()
        }
        Part::Image(Image { source: ImageSource::Url(url), .. }) => url.clone(),
        Part::Document(Document { source, title, .. }) => {
            let what = match source {
                DocumentSource::Inline { media_type, .. } => media_type,
                DocumentSource::Text(text) => text,
                other => panic!("{other:?}"),
            };
            format!("{}: {what}", title.as_deref().unwrap_or_default())
        }
        Part::Foreign(foreign) => foreign.value.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_are_read_in_both_spellings() {
    let chat = read(&asking(json!({
        "temperature": 0.5, "top_p": 0.9, "topK": 64.0, "max_output_tokens": 9, "seed": 7,
        "stopSequences": ["END"], "responseLogprobs": true, "logprobs": 2,
        "response_mime_type": "application/json", "responseSchema": {"type": "OBJECT"},
        "thinking_config": {"include_thoughts": true, "thinkingBudget": 512},
        "speechConfig": {"voice": "x"}, "candidateCount": 1, "responseModalities": ["TEXT"],
    })));
    assert_eq!(chat.sampling.temperature, Some(0.5));
    assert_eq!(chat.sampling.top_p, Some(0.9));
    assert_eq!((chat.sampling.top_k, chat.sampling.max_tokens), (Some(64), Some(9)));
    assert_eq!((chat.sampling.seed, chat.logprobs), (Some(7), Some(2)));
    assert_eq!(chat.sampling.stop, ["END"]);
    assert!(
        matches!(chat.format, Format::Schema { schema, .. } if schema == json!({"type": "object"}))
    );
    assert_eq!(chat.effort, Some(Effort::Budget(512)));
    assert!(chat.shape.shows_thoughts);
    let extra = chat.extra.unwrap();
    assert_eq!(extra.api, Api::Gemini);
    assert_eq!(extra.fields.keys().collect::<Vec<_>>(), ["generationConfig.speechConfig"]);
    for (config, effort) in [
        (json!({"thinkingBudget": 0}), Some(Effort::None)),
        (json!({"thinkingBudget": -1}), Some(Effort::On)),
        (json!({"thinkingLevel": "high"}), Some(Effort::High)),
        (json!({"includeThoughts": true}), Some(Effort::On)),
        (json!({"includeThoughts": false}), None),
    ] {
        assert_eq!(read(&asking(json!({"thinkingConfig": config}))).effort, effort, "{config}");
    }
}

#[test]
fn tools_are_functions_or_googles_own() {
    let declared = |name: &str| json!({"name": name, "parameters": {"type": "OBJECT"}});
    let body = |config: Value| {
        json!({
            "contents": [{"parts": [{"text": "hi"}]}],
            "tools": [{"function_declarations": [declared("a"), declared("b")]}, {"googleSearch": {}}],
            "toolConfig": {"functionCallingConfig": config},
        })
    };
    let names = |chat: &ChatRequest| {
        chat.tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>().join(" ")
    };
    let chat = read(&body(json!({})));
    assert_eq!(names(&chat), "a b");
    assert_eq!(chat.tools[0].parameters, Some(json!({"type": "object"})));
    assert_eq!((chat.hosted[0].kind.as_str(), chat.hosted[0].at), ("googleSearch", 2));
    for (config, choice, left) in [
        (json!({"mode": "AUTO"}), ToolChoice::Auto, "a b"),
        (json!({"mode": "NONE"}), ToolChoice::None, "a b"),
        (json!({"mode": "any"}), ToolChoice::Required, "a b"),
        (
            json!({"mode": "ANY", "allowedFunctionNames": ["b"]}),
            ToolChoice::Named("b".into()),
            "a b",
        ),
        (json!({"mode": "ANY", "allowedFunctionNames": ["b", "c"]}), ToolChoice::Required, "b"),
        (json!({"mode": "VALIDATED", "allowedFunctionNames": ["a"]}), ToolChoice::Auto, "a"),
    ] {
        let chat = read(&body(config.clone()));
        assert_eq!((chat.tool_choice.clone(), names(&chat).as_str()), (choice, left), "{config}");
    }
}

#[test]
fn unsupported_content_is_refused_by_name() {
    let file = json!({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x", "mimeType": "video/mp4"}});
    let said = refused(Gemini::Generate, &json!({"contents": [{"parts": [file]}]}));
    assert!(said.starts_with("contents.0.parts.0.fileData.fileUri:"), "{said}");
    assert!(said.contains("inlineData"), "{said}");
    let said = refused(Gemini::Generate, &asking(json!({"candidateCount": 2})));
    assert!(said.starts_with("generationConfig.candidateCount:"), "{said}");
    assert!(refused(Gemini::Generate, &json!({})).starts_with("contents:"));
    let mut cached = asking(json!({}));
    cached["cachedContent"] = json!("cachedContents/x");
    assert!(refused(Gemini::Generate, &cached).starts_with("cachedContent:"));
    let assistant = json!({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]});
    assert!(refused(Gemini::Generate, &assistant).starts_with("contents.0.role:"));
    let one = |task: &str| json!({"content": {"parts": [{"text": "a"}]}, "taskType": task});
    let said = refused(
        Gemini::BatchEmbed,
        &json!({"requests": [one("CLUSTERING"), one("RETRIEVAL_QUERY")]}),
    );
    assert!(said.starts_with("requests.1:"), "{said}");
}

#[test]
fn requests_for_counts_and_embeddings_are_read() {
    let inner = json!({"model": "models/m", "contents": [{"parts": [{"text": "hi"}]}]});
    for body in [inner.clone(), json!({"generateContentRequest": inner})] {
        let ask = Gemini::Count.decode(body.to_string().as_bytes()).unwrap();
        assert!(matches!(ask, Ask::CountTokens(chat) if chat.messages.len() == 1));
    }
    let one = |text: &str| json!({"model": "models/m", "content": {"parts": [{"text": text}]}, "outputDimensionality": 8});
    let body = json!({"requests": [one("a"), one("b")]});
    let Ok(Ask::Embed(embed)) = Gemini::BatchEmbed.decode(body.to_string().as_bytes()) else {
        panic!("{body}")
    };
    assert_eq!((embed.input, embed.dimensions), (vec!["a".to_owned(), "b".to_owned()], Some(8)));
    assert_eq!(embed.extra, None);
}

#[test]
fn the_url_has_the_model_and_the_form() {
    let body = asking(json!({})).to_string();
    for (query, is_list) in [("alt=sse", false), ("key=x&alt=sse", false), ("", true)] {
        let mut ask = Gemini::Stream.decode(body.as_bytes()).unwrap();
        Gemini::Stream.address(&mut ask, Address { model: "a/b:c", query });
        assert_eq!((ask.model(), ask.stream()), (Some("a/b:c"), true));
        assert_eq!(ask.chat().unwrap().shape.is_list, is_list, "{query}");
    }
}

fn written(stream: bool, is_list: bool, events: Vec<ChatEvent>) -> String {
    let mut request = ChatRequest { stream, model: Some("asked".to_owned()), ..Default::default() };
    request.shape.shows_thoughts = true;
    request.shape.is_list = is_list;
    let mut encoder = Gemini::Generate.encoder(&Ask::Chat(request), head());
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, Duration::ZERO, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn head() -> AnswerHead {
    AnswerHead {
        id: Uuid::nil(),
        created: SystemTime::UNIX_EPOCH,
        provider: Arc::from("p"),
        model: Arc::from("ran"),
        fell_back: false,
        waited: Duration::ZERO,
    }
}

fn call(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> ChatEvent {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    ChatEvent::ToolCall(ToolCallPiece {
        index,
        id: owned(id),
        name: owned(name),
        arguments: arguments.to_owned(),
    })
}

fn done(finish: Finish) -> ChatEvent {
    let usage = Usage {
        prompt: Some(5),
        completion: Some(7),
        reasoning: Some(3),
        cached: Some(2),
        ..Usage::default()
    };
    ChatEvent::Done(Completion { finish, stop_sequence: None, usage })
}

#[test]
fn an_answer_has_texts_thoughts_and_calls() {
    let events = vec![
        ChatEvent::Reasoning("hm".to_owned()),
        ChatEvent::Signature("abc=".to_owned()),
        ChatEvent::Text("a".to_owned()),
        ChatEvent::Text("b".to_owned()),
        ChatEvent::Signature("gemini:AAAA".to_owned()),
        call(0, Some("c-1"), Some("f"), "{\"a\":"),
        call(0, None, None, "1}"),
        call(1, None, Some("g"), ""),
        call(2, None, Some("h"), "{broken"),
        done(Finish::ToolCalls),
    ];
    let answer: Value = serde_json::from_str(&written(false, false, events)).unwrap();
    let id = Uuid::nil().simple();
    let parts = json!([
        {"text": "hm", "thought": true, "thoughtSignature": thought_signature::write("abc=")},
        {"text": "ab"},
        {"functionCall": {"id": "c-1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "AAAA"},
        {"functionCall": {"id": format!("call_{id}_1"), "name": "g", "args": {}}},
        {"functionCall": {"id": format!("call_{id}_2"), "name": "h", "args": {"_raw": "{broken"}}},
    ]);
    let content = json!({"parts": parts, "role": "model"});
    let expected = json!({
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 5, "candidatesTokenCount": 4, "thoughtsTokenCount": 3,
            "cachedContentTokenCount": 2, "totalTokenCount": 12,
        },
        "modelVersion": "asked",
        "responseId": id.to_string(),
    });
    assert_eq!(answer, expected);
}

#[test]
fn a_stream_is_events_without_an_end_marker_or_a_list() {
    let events = || vec![ChatEvent::Text("a".to_owned()), done(Finish::Length)];
    let streamed = written(true, false, events());
    let pieces: Vec<&str> = streamed.split_terminator("\r\n\r\n").collect();
    assert_eq!(pieces.len(), 2, "{streamed}");
    let last: Value = serde_json::from_str(pieces[1].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(last["candidates"][0]["finishReason"], "MAX_TOKENS");
    assert_eq!(last["candidates"][0]["content"]["parts"], json!([{"text": ""}]));
    let list: Vec<Value> = serde_json::from_str(&written(true, true, events())).unwrap();
    assert_eq!(list[0]["candidates"][0]["content"]["parts"][0]["text"], "a");
    assert_eq!(list[1], last);
}

#[test]
fn a_failure_midway_is_the_last_piece() {
    for is_list in [false, true] {
        let mut request = ChatRequest { stream: true, ..ChatRequest::default() };
        request.shape.is_list = is_list;
        let mut encoder = Gemini::Stream.encoder(&Ask::Chat(request), head());
        let mut out = Vec::new();
        encoder.event(ChatEvent::Text("a".to_owned()), Duration::ZERO, &mut out).unwrap();
        let error = GatewayError::upstream(ErrorKind::BadUpstream, "cut off");
        encoder.failure(&error, &mut out);
        let text = String::from_utf8(out).unwrap();
        let last: Value = if is_list {
            serde_json::from_str::<Vec<Value>>(&text).unwrap().pop().unwrap()
        } else {
            let last = text.trim_end().rsplit("\r\n\r\n").next().unwrap();
            serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap()
        };
        let error = json!({"code": 502, "message": "cut off", "status": "UNAVAILABLE"});
        assert_eq!(last, json!({"error": error}));
    }
}

#[test]
fn errors_have_googles_statuses_and_messages() {
    for (kind, status, word) in [
        (ErrorKind::SchemaMismatch, 400, "INVALID_ARGUMENT"),
        (ErrorKind::InvalidApiKey, 401, "UNAUTHENTICATED"),
        (ErrorKind::NotAllowed, 403, "PERMISSION_DENIED"),
        (ErrorKind::ModelNotFound, 404, "NOT_FOUND"),
        (ErrorKind::MethodNotAllowed, 405, "INVALID_ARGUMENT"),
        (ErrorKind::RateLimited, 429, "RESOURCE_EXHAUSTED"),
        (ErrorKind::Internal, 500, "INTERNAL"),
        (ErrorKind::NotImplemented, 501, "UNIMPLEMENTED"),
        (ErrorKind::BadUpstream, 502, "UNAVAILABLE"),
        (ErrorKind::Overloaded, 503, "UNAVAILABLE"),
        (ErrorKind::Timeout, 504, "DEADLINE_EXCEEDED"),
    ] {
        let written = Gemini::Generate.error(&GatewayError::new(kind, "said"), "r-1");
        assert_eq!(written.status, status, "{kind:?}");
        let body: Value = serde_json::from_slice(&written.body).unwrap();
        assert_eq!(body, json!({"error": {"code": status, "message": "said", "status": word}}));
    }
    let error = GatewayError::new(ErrorKind::RateLimited, "later");
    let error = error.retry_after(Duration::from_millis(1500));
    let body: Value = serde_json::from_slice(&Gemini::Generate.error(&error, "r-1").body).unwrap();
    assert_eq!(body["error"]["details"][0]["retryDelay"], "1.5s");
}

fn any_event() -> impl Strategy<Value = ChatEvent> {
    prop_oneof![
        ".{1,12}".prop_map(ChatEvent::Text),
        ".{1,12}".prop_map(ChatEvent::Reasoning),
        "[a-z]{1,4}".prop_map(ChatEvent::Signature),
    ]
}

/// The parts of a stream's pieces, with adjacent ones joined.
fn joined(pieces: &[Value]) -> Vec<Part> {
    let contents: Vec<Value> =
        pieces.iter().map(|piece| piece["candidates"][0]["content"].clone()).collect();
    let mut messages = read(&json!({"contents": contents})).messages;
    messages.pop().map(|message| message.content).unwrap_or_default()
}

proptest! {
    #[test]
    fn a_stream_has_the_content_of_the_whole_answer(
        before in proptest::collection::vec(any_event(), 0..8),
        amid in proptest::collection::vec(any_event(), 0..4),
        after in proptest::collection::vec(any_event(), 0..4),
    ) {
        let mut said = before;
        said.push(call(0, Some("a"), Some("add"), "{\"x\":"));
        said.extend(amid);
        said.push(call(0, None, None, "\"\u{2028}\"}"));
        said.extend(after);
        said.push(done(Finish::ToolCalls));
        let list: Vec<Value> = serde_json::from_str(&written(true, true, said.clone())).unwrap();
        let whole: Value = serde_json::from_str(&written(false, false, said.clone())).unwrap();
        prop_assert_eq!(joined(&list), joined(&[whole]));
        let events = written(true, false, said);
        let has_separator = events.contains(['\u{85}', '\u{2028}', '\u{2029}']);
        prop_assert!(!has_separator);
    }
}
