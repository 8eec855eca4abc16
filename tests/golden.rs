//! Recorded shapes of upstream answers, read by every backend however the bytes are cut.
//!
//! Each folder `tests/fixtures/upstream/<backend>/<case>/` holds what a provider sends (`body.*`,
//! and in `chunks.json` the sizes in which it writes), the exchange around it (`http.json`), the
//! request that led to it (`request.json`) and what a backend must make of it (`expected.json`).
//! New folders are found by themselves. `golden/answers.rs` has every dialect write what was read,
//! and `golden/schema.rs` validates that.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails at what it does not expect, wherever it meets it"
)]

#[path = "golden/answers.rs"]
mod answers;
#[path = "golden/offsets.rs"]
mod offsets;
#[path = "golden/schema.rs"]
mod schema;

use std::fs;
use std::path::{Path, PathBuf};

use llm_gateway::backend::{Backend, DecodeError, Rejection, RejectionClass, Target};
use llm_gateway::chat::{
    Ask, ChatEvent, ChatRequest, Completion, Effort, Finish, Message, Role, Sampling, Tool,
};
use llm_gateway::provider::settings::BackendName;
use serde_json::{Value, json};

/// One folder.
struct Case {
    name: String,
    backend: &'static dyn Backend,
    backend_name: String,
    body: Vec<u8>,
    sizes: Vec<usize>,
    http: Value,
    request: Value,
    expected: Value,
}

/// What a backend made of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
struct Read {
    text: String,
    reasoning: String,
    signature: String,
    /// Id, name and arguments.
    calls: Vec<(String, String, String)>,
    end: Option<Completion>,
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The cases about chats; those of other kinds are for other readers.
fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upstream");
    let folders = folders(&root).into_iter().flat_map(|backend| folders(&backend));
    let cases: Vec<Case> = folders.map(|folder| read_case(&folder)).collect();
    let chats = cases.into_iter().filter(|case| case.expected["kind"] != "embeddings");
    chats.collect()
}

fn read_case(folder: &Path) -> Case {
    let json = |name: &str| -> Option<Value> {
        let text = fs::read(folder.join(name)).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    };
    let bodies = ["body.json", "body.ndjson", "body.sse"];
    let body = bodies.iter().find_map(|name| fs::read(folder.join(name)).ok()).unwrap();
    let sizes = match json("chunks.json") {
        Some(sizes) => serde_json::from_value(sizes).unwrap(),
        None => vec![body.len()],
    };
    let backend_name = folder.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    Case {
        name: format!("{backend_name}/{}", folder.file_name().unwrap().to_str().unwrap()),
        backend: backend(&backend_name),
        backend_name,
        body,
        sizes,
        http: json("http.json").unwrap(),
        request: json("request.json").unwrap(),
        expected: json("expected.json").unwrap(),
    }
}

/// The body in the slices that the provider writes, in one piece, and byte by byte.
fn cuts(case: &Case) -> Vec<Vec<&[u8]>> {
    let mut rest = case.body.as_slice();
    let mut written = Vec::new();
    for size in &case.sizes {
        let (piece, after) = rest.split_at(*size);
        written.push(piece);
        rest = after;
    }
    assert!(rest.is_empty(), "{}: chunks.json covers the body", case.name);
    vec![written, vec![&case.body], case.body.chunks(1).collect()]
}

fn read(backend: &dyn Backend, pieces: &[&[u8]]) -> (Read, Result<(), DecodeError>) {
    let mut decoder = backend.decoder(&Ask::Chat(ChatRequest::default()), 11);
    let mut events = Vec::new();
    let mut ended = Ok(());
    for piece in pieces {
        ended = decoder.feed(piece, &mut events);
        if ended.is_err() {
            break;
        }
    }
    let ended = ended.and_then(|()| decoder.finish(&mut events));
    let mut read = Read::default();
    for event in events {
        assert_eq!(read.end, None, "nothing follows the end");
        match event {
            ChatEvent::Text(text) => read.text.push_str(&text),
            ChatEvent::Reasoning(text) => read.reasoning.push_str(&text),
            ChatEvent::Signature(signature) => read.signature.push_str(&signature),
            ChatEvent::Logprobs(_) | ChatEvent::Whole(_) | ChatEvent::Carried(_) => {}
            ChatEvent::Done(completion) => read.end = Some(completion),
            ChatEvent::ToolCall(piece) => {
                let index = piece.index as usize;
                if index == read.calls.len() {
                    let (id, name) = (piece.id.unwrap(), piece.name.unwrap());
                    read.calls.push((id, name, String::new()));
                }
                assert_eq!(index + 1, read.calls.len(), "calls come one after the other");
                read.calls[index].2.push_str(&piece.arguments);
            }
        }
    }
    (read, ended)
}

fn check_answer(case: &Case, read: &Read) {
    let (name, expected) = (&case.name, &case.expected);
    // A refusal is ordinary text to whoever reads it.
    let text = [&expected["text"], &expected["refusal"]];
    let text: String = text.iter().filter_map(|text| text.as_str()).collect();
    assert_eq!(read.text, text, "{name}");
    assert_eq!(read.reasoning, expected["reasoning"].as_str().unwrap_or_default(), "{name}");
    if let Some(signature) = expected["signature"].as_str() {
        assert_eq!(read.signature, signature, "{name}");
    }
    let calls = expected["tool_calls"].as_array().unwrap();
    assert_eq!(read.calls.len(), calls.len(), "{name}");
    for (index, (call, (id, called, arguments))) in calls.iter().zip(&read.calls).enumerate() {
        match call["id"].as_str() {
            Some(given) => assert_eq!(id, given, "{name}"),
            None => assert!(read.calls.iter().skip(index + 1).all(|other| other.0 != *id)),
        }
        assert_eq!(call["name"], **called, "{name}");
        let arguments: Value = serde_json::from_str(arguments).unwrap();
        assert_eq!(call["arguments"], arguments, "{name}");
    }
    let end = read.end.as_ref().unwrap_or_else(|| panic!("{name}: no end"));
    let finish = match end.finish {
        Finish::Stop | Finish::Paused | Finish::Load | Finish::Unload => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool",
        Finish::ContentFilter => "filter",
    };
    assert_eq!(expected["finish"], finish, "{name}");
    let usage = json!({
        "input": end.usage.prompt.unwrap(),
        "output": end.usage.completion.unwrap(),
        "cached_input": end.usage.cached.unwrap_or(0),
        "reasoning": end.usage.reasoning.unwrap_or(0),
        "total": end.usage.total(),
    });
    assert_eq!(expected["usage"], usage, "{name}");
}

fn check_rejection(case: &Case, rejection: &Rejection) {
    let (name, expected) = (&case.name, &case.expected);
    let class = match rejection.class {
        RejectionClass::BadRequest => "bad_request",
        RejectionClass::ContextTooLong => "context_too_long",
        RejectionClass::ContentFilter => "content_filter",
        RejectionClass::UnknownModel => "model_not_found",
        RejectionClass::Auth => "upstream_auth",
        RejectionClass::RateLimited => "rate_limited",
        RejectionClass::QuotaExhausted => "quota_exhausted",
        RejectionClass::Overloaded | RejectionClass::NotBegun => "overloaded",
        RejectionClass::Forbidden => "upstream_forbidden",
        RejectionClass::NotImplemented => "not_implemented",
        RejectionClass::Timeout => "timeout",
        RejectionClass::Broken | RejectionClass::Crashed => "upstream_error",
    };
    assert_eq!(expected["class"], class, "{name}");
    let part = expected["message_contains"].as_str().unwrap();
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = one_line(&rejection.message);
    assert!(message.contains(&one_line(part)), "{name}: {message}");
    // A delay in the headers is the caller's to read; the backend finds the one in the body.
    let headers = case.http["response"]["headers"].as_object().unwrap();
    let is_in_headers = headers.keys().any(|header| header.eq_ignore_ascii_case("retry-after"));
    if !is_in_headers {
        let seconds = rejection.retry_after.map(|delay| delay.as_secs_f64());
        assert_eq!(expected["retry_after_s"].as_f64(), seconds, "{name}");
    }
}

/// The backend that a folder is named after.
fn backend(name: &str) -> &'static dyn Backend {
    let found = BackendName::ALL.into_iter().find(|backend| backend.as_str() == name);
    found.unwrap_or_else(|| panic!("no backend is named {name}")).spoken()
}

#[test]
fn every_backend_has_cases() {
    let cases = cases();
    for name in BackendName::ALL {
        let count = cases.iter().filter(|case| case.backend_name == name.as_str()).count();
        assert!(count >= 10, "{name} has {count} cases");
    }
}

#[test]
fn answers_are_read_the_same_however_they_are_cut() {
    for case in cases().iter().filter(|case| case.expected["kind"] == "ok") {
        let mut first = None;
        for pieces in cuts(case) {
            let (read, ended) = read(case.backend, &pieces);
            assert_eq!(ended, Ok(()), "{}", case.name);
            check_answer(case, &read);
            assert_eq!(first.get_or_insert_with(|| read.clone()), &read);
        }
    }
}

#[test]
fn failures_are_classed_and_never_end_in_success() {
    for case in cases().iter().filter(|case| case.expected["kind"] == "error") {
        let status = u16::try_from(case.http["response"]["status"].as_u64().unwrap()).unwrap();
        if !(200..300).contains(&status) {
            check_rejection(case, &case.backend.rejection(status, &case.body, "absent:1b"));
            continue;
        }
        for pieces in cuts(case) {
            let (read, ended) = read(case.backend, &pieces);
            assert_eq!(read.text, case.expected["partial_text"].as_str().unwrap(), "{}", case.name);
            assert_eq!(read.end, None, "{}", case.name);
            match ended {
                Err(DecodeError::Reported(rejection)) => check_rejection(case, &rejection),
                Err(DecodeError::Cut) => {
                    assert_eq!(case.expected["class"], "upstream_truncated", "{}", case.name);
                }
                other => panic!("{}: {other:?}", case.name),
            }
        }
    }
}

/// The chat that leads to a case's request.
fn asked(case: &Case) -> ChatRequest {
    let number = |pointers: [&str; 4]| pointers.iter().find_map(|path| case.request.pointer(path));
    let limits = [
        "/max_tokens",
        "/max_completion_tokens",
        "/generationConfig/maxOutputTokens",
        "/options/num_predict",
    ];
    let temperatures =
        ["/temperature", "/generationConfig/temperature", "/options/temperature", "/none"];
    let has_tools = case.request.get("tools").is_some();
    let parameters = json!({"type": "object",
        "properties": {"harbour": {"type": "string"}, "day": {"type": "string"}},
        "required": ["harbour", "day"]});
    ChatRequest {
        messages: vec![
            Message::text(Role::System, "Answer in one short sentence."),
            Message::text(Role::User, "Which lake lies east of the village?"),
        ],
        sampling: Sampling {
            max_tokens: number(limits).map(|limit| limit.as_u64().unwrap().try_into().unwrap()),
            temperature: number(temperatures).map(|temperature| temperature.as_f64().unwrap()),
            ..Sampling::default()
        },
        tools: Vec::from_iter(has_tools.then(|| Tool {
            name: "tide_table".into(),
            description: Some("Looks up high tides for a harbour on a day.".into()),
            parameters: Some(parameters),
            strict: None,
            ..Tool::default()
        })),
        effort: case.request.pointer("/thinking/budget_tokens").map(|_| Effort::Budget(1024)),
        ..ChatRequest::default()
    }
}

/// Takes out what says the same in other words: every call is streamed here, and a free choice is
/// not said.
fn bare(mut body: Value) -> Value {
    let fields = body.as_object_mut().unwrap();
    for name in ["stream", "stream_options", "tool_choice", "toolConfig"] {
        fields.remove(name);
    }
    // Schemas travel to Gemini as they are instead of in Google's own notation.
    for schema in ["parameters", "parametersJsonSchema"] {
        if let Some(declaration) = body.pointer_mut("/tools/0/functionDeclarations/0") {
            declaration.as_object_mut().unwrap().remove(schema);
        }
    }
    body
}

#[test]
fn requests_are_written_as_recorded() {
    for case in cases() {
        let headers = case.http["request"]["headers"].as_object().unwrap();
        let key =
            headers.values().filter_map(Value::as_str).find(|value| value.contains("fixture"));
        let key = key.map(|value| value.trim_start_matches("Bearer "));
        let model = case.request["model"].as_str().unwrap_or("gemini-test-1");
        let call = case.backend.encode(&Ask::Chat(asked(&case)), Target::new(model, key)).unwrap();
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(bare(body), bare(case.request.clone()), "{}", case.name);
        assert_eq!(call.dropped, [""; 0], "{}", case.name);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "Content-Type") {
            let sent = call.headers.iter().find(|(sent, _)| name.eq_ignore_ascii_case(sent));
            let sent = sent.map(|(_, value)| value.as_str());
            assert_eq!(sent, value.as_str(), "{}: {name}", case.name);
        }
        let path = case.http["request"]["path"].as_str().unwrap();
        let path =
            path.strip_prefix("/v1/chat").map_or(path.to_owned(), |rest| format!("/chat{rest}"));
        // What Gemini answers whole was asked by another method, which is not used here.
        let path = path.replace(":generateContent", ":streamGenerateContent?alt=sse");
        assert_eq!(call.path, path, "{}", case.name);
    }
}
