//! Every recorded answer, written by every dialect, and compared with what is checked in.
//!
//! `tests/fixtures/golden/<backend>/<case>.txt` holds, one section each, what the clients of all
//! dialects read when a provider answers as in that case: whole and streamed. After a change that
//! is meant, run
//!
//! ```sh
//! LLM_GATEWAY_GOLDEN=write cargo test --test golden
//! ```
//!
//! and read the difference before it is committed. What is compared here is validated in
//! [`crate::schema`] too.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use llm_gateway::chat::{Ask, ChatEvent, ErrorKind, GatewayError, Origin};
use llm_gateway::dialect::{
    Address, AnswerHead, Anthropic, Dialect, Gemini, Native, Ollama, OpenAiChat, OpenAiCompletions,
    OpenAiResponses,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::schema::{Shape, check};
use crate::{Case, DecodeError, asked, cases};

/// A dialect, and what its answers must look like.
pub struct Form {
    pub name: &'static str,
    pub dialect: &'static dyn Dialect,
    /// A request that wants all that the dialect can say, thinking included.
    body: fn() -> Value,
    pub whole: Shape,
    pub piece: Shape,
    pub error: Shape,
}

/// Every dialect in which chats are answered.
pub fn forms() -> [Form; 8] {
    let form = |name, dialect, body, [whole, piece, error]: [Shape; 3]| Form {
        name,
        dialect,
        body,
        whole,
        piece,
        error,
    };
    use Shape::{Anthropic as A, Free, Ollama as L, OpenAi as O};
    [
        form("native", &Native, messages, [Free, Free, Free]),
        form(
            "openai chat",
            &OpenAiChat,
            messages,
            [
                O("CreateChatCompletionResponse"),
                O("CreateChatCompletionStreamResponse"),
                O("ErrorResponse"),
            ],
        ),
        form(
            "openai completions",
            &OpenAiCompletions,
            || json!({"model": "asked-for", "prompt": "hi"}),
            [O("CreateCompletionResponse"), O("CreateCompletionResponse"), O("ErrorResponse")],
        ),
        form(
            "openai responses",
            &OpenAiResponses,
            || json!({"model": "asked-for", "input": "hi"}),
            [O("Response"), O("ResponseStreamEvent"), O("ErrorResponse")],
        ),
        form(
            "ollama chat",
            &Ollama::Chat,
            messages,
            [L("ChatResponse"), L("ChatStreamEvent"), L("ErrorResponse")],
        ),
        form(
            "ollama generate",
            &Ollama::Generate,
            || json!({"model": "asked-for", "prompt": "hi"}),
            [L("GenerateResponse"), L("GenerateStreamEvent"), L("ErrorResponse")],
        ),
        form(
            "anthropic",
            &Anthropic,
            thoughtful,
            [A("Message"), A("RawMessageStreamEvent"), A("ErrorResponse")],
        ),
        form("gemini", &Gemini::Generate, contents, [Free, Free, Free]),
    ]
}

fn contents() -> Value {
    json!({"contents": [{"parts": [{"text": "hi"}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": true}}})
}

fn thoughtful() -> Value {
    json!({"model": "asked-for", "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hi"}],
        "thinking": {"type": "enabled", "budget_tokens": 1024}})
}

fn messages() -> Value {
    json!({"model": "asked-for", "messages": [{"role": "user", "content": "hi"}]})
}

impl Form {
    fn ask(&self, stream: bool) -> Ask {
        let mut body = (self.body)();
        body["stream"] = stream.into();
        let counts = matches!(self.name, "openai chat" | "openai completions");
        if stream && counts {
            body["stream_options"] = json!({"include_usage": true});
        }
        // Google's path says whether it is streamed.
        let dialect = match (self.name, stream) {
            ("gemini", true) => &Gemini::Stream,
            _ => self.dialect,
        };
        let mut ask = dialect.decode(body.to_string().as_bytes()).unwrap();
        dialect.address(&mut ask, Address { model: "asked-for", query: "alt=sse" });
        ask
    }

    /// What a client reads of these events and this failure.
    fn write(&self, stream: bool, events: &[ChatEvent], failure: Option<&GatewayError>) -> String {
        let head = AnswerHead {
            id: Uuid::from_bytes([7; 16]),
            created: SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_520_000),
            provider: Arc::from("fixture"),
            model: Arc::from("ran"),
            fell_back: false,
            waited: Duration::ZERO,
        };
        let mut encoder = self.dialect.encoder(&self.ask(stream), head);
        let mut out = Vec::new();
        let mut failure = failure.cloned();
        for (number, event) in (1..).zip(events) {
            let at = Duration::from_millis(10 * number);
            if let Err(error) = encoder.event(event.clone(), at, &mut out) {
                failure = Some(error);
                break;
            }
        }
        match failure {
            Some(error) if stream => encoder.failure(&error, &mut out),
            Some(error) => {
                let body = self.dialect.error(&error, "req-1");
                out = [format!("status {}\n", body.status).as_bytes(), &body.body].concat();
            }
            None => {}
        }
        String::from_utf8(out).unwrap()
    }
}

/// The events of a case's answer, and how it failed. Of a refusal there are none.
fn events_of(case: &Case) -> (Vec<ChatEvent>, Option<GatewayError>) {
    let mut decoder = case.backend.decoder(&Ask::Chat(asked(case)), 11);
    let mut events = Vec::new();
    let ended = decoder.feed(&case.body, &mut events).and_then(|()| decoder.finish(&mut events));
    let failure = ended.err().map(|error| match error {
        DecodeError::Reported(rejection) => {
            GatewayError::upstream(ErrorKind::BadUpstream, rejection.message)
        }
        error => GatewayError::upstream(ErrorKind::BadUpstream, error.to_string()),
    });
    (events, failure)
}

/// Compares `text` with the file, or writes it where that is wanted.
fn compare(path: &Path, text: &str) {
    if std::env::var_os("LLM_GATEWAY_GOLDEN").is_some_and(|wish| wish == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    let differs = golden.lines().zip(text.lines()).position(|(golden, text)| golden != text);
    let line = differs.unwrap_or_else(|| golden.lines().count().min(text.lines().count()));
    assert!(
        golden == text,
        "{} differs from line {} on: {:?}; see the top of tests/golden/answers.rs",
        path.display(),
        line + 1,
        text.lines().nth(line)
    );
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(name)
}

#[test]
fn every_dialect_writes_every_recorded_answer_as_checked_in() {
    let mut faults = Vec::new();
    let answered = |case: &&Case| {
        case.http["response"]["status"].as_u64().is_some_and(|status| (200..300).contains(&status))
    };
    for case in cases().iter().filter(answered) {
        let (events, failure) = events_of(case);
        let mut text = String::new();
        for form in forms() {
            for stream in [false, true] {
                let manner = if stream { "streamed" } else { "whole" };
                let written = form.write(stream, &events, failure.as_ref());
                writeln!(text, "=== {}, {manner}\n{}", form.name, written.trim_end()).unwrap();
                let place = format!("{}: {}, {manner}", case.name, form.name);
                check(&form, stream, &written, &place, &mut faults);
            }
        }
        compare(&golden(&format!("{}.txt", case.name)), &text);
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_dialect_writes_every_kind_of_error_as_checked_in() {
    let mut faults = Vec::new();
    for form in forms() {
        let mut text = String::new();
        for kind in ERRORS {
            let mut error = GatewayError::new(kind, "what would be right").from(Origin::Gateway);
            error.retry_after = Some(Duration::from_secs(2));
            for stream in [false, true] {
                let manner = if stream { "in a stream" } else { "instead of an answer" };
                let written = form.write(stream, &[], Some(&error));
                writeln!(text, "=== {}, {manner}\n{}", kind.code(), written.trim_end()).unwrap();
                let place = format!("{}: {}, {manner}", kind.code(), form.name);
                check(&form, stream, &written, &place, &mut faults);
            }
        }
        compare(&golden(&format!("errors/{}.txt", form.name.replace(' ', "-"))), &text);
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

/// One of each status and envelope.
const ERRORS: [ErrorKind; 22] = [
    ErrorKind::InvalidRequest,
    ErrorKind::SchemaMismatch,
    ErrorKind::ContextTooLong,
    ErrorKind::InvalidApiKey,
    ErrorKind::NotAllowed,
    ErrorKind::ModelNotFound,
    ErrorKind::NotFound,
    ErrorKind::MethodNotAllowed,
    ErrorKind::BodyTooLarge,
    ErrorKind::BodyTimeout,
    ErrorKind::UnsupportedMediaType,
    ErrorKind::UpgradeRequired,
    ErrorKind::NotImplemented,
    ErrorKind::RateLimited,
    ErrorKind::QuotaExhausted,
    ErrorKind::BadUpstream,
    ErrorKind::Overloaded,
    ErrorKind::ProviderUnavailable,
    ErrorKind::Draining,
    ErrorKind::NoProviderForPolicy,
    ErrorKind::Timeout,
    ErrorKind::Internal,
];
