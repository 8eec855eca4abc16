//! What the vendors' own schemas say of our answers.
//!
//! `tests/fixtures/specs` holds the schemas and where they come from. Every whole answer, every
//! piece of a stream and every error is held against them. Where the vendors themselves do not keep
//! to a schema, [`QUIRKS`] lists what is forgiven and why.

use std::collections::HashMap;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::answers::Form;

/// What a document must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// The gateway's own: nobody else's schema.
    Free,
    /// A schema of OpenAI's file.
    OpenAi(&'static str),
    /// A schema of Ollama's file.
    Ollama(&'static str),
    /// A schema made from Anthropic's package.
    Anthropic(&'static str),
}

/// Something that a schema does not allow and that is right all the same.
struct Quirk {
    schema: &'static str,
    /// Where, with `*` for an index.
    place: &'static str,
    is_forgiven: fn(&Value) -> bool,
}

const QUIRKS: [Quirk; 6] = [
    // OpenAI itself writes null in every piece but the last, and SDKs wait for something else. The
    // schemas once said `nullable`, which was lost on the way to OpenAPI 3.1.
    quirk("CreateChatCompletionStreamResponse", "/choices/*/finish_reason", Value::is_null),
    quirk("CreateCompletionResponse", "/choices/*/finish_reason", Value::is_null),
    // Likewise null where none were asked for.
    quirk("CreateChatCompletionStreamResponse", "/choices/*/logprobs", Value::is_null),
    // With `include_usage`, null everywhere but in the last piece: so say the descriptions of the
    // same schemas.
    quirk("CreateChatCompletionStreamResponse", "/usage", Value::is_null),
    quirk("CreateCompletionResponse", "/usage", Value::is_null),
    // The documentation's own list of errors has it, the package's types do not.
    quirk("ErrorResponse", "/error", |error| error["type"] == "request_too_large"),
];

const fn quirk(
    schema: &'static str,
    place: &'static str,
    is_forgiven: fn(&Value) -> bool,
) -> Quirk {
    Quirk { schema, place, is_forgiven }
}

static VALIDATORS: LazyLock<HashMap<(&'static str, &'static str), Validator>> =
    LazyLock::new(|| {
        let files = [
            (
                "openai",
                include_str!("../fixtures/specs/openai.json"),
                &[
                    "CreateChatCompletionResponse",
                    "CreateChatCompletionStreamResponse",
                    "CreateCompletionResponse",
                    "Response",
                    "ResponseStreamEvent",
                    "ErrorResponse",
                ][..],
            ),
            (
                "ollama",
                include_str!("../fixtures/specs/ollama.json"),
                &[
                    "ChatResponse",
                    "ChatStreamEvent",
                    "GenerateResponse",
                    "GenerateStreamEvent",
                    "ErrorResponse",
                ],
            ),
            (
                "anthropic",
                include_str!("../fixtures/specs/anthropic.json"),
                &["Message", "RawMessageStreamEvent", "ErrorResponse"],
            ),
        ];
        let mut validators = HashMap::new();
        for (vendor, text, names) in files {
            let file: Value = serde_json::from_str(text).unwrap();
            for name in names {
                let mut schema = file.clone();
                schema["$ref"] = json!(format!("#/components/schemas/{name}"));
                validators.insert((vendor, *name), jsonschema::validator_for(&schema).unwrap());
            }
        }
        validators
    });

impl Shape {
    fn faults(self, document: &Value) -> Vec<String> {
        let key = match self {
            Self::Free => return Vec::new(),
            Self::OpenAi(name) => ("openai", name),
            Self::Ollama(name) => ("ollama", name),
            Self::Anthropic(name) => ("anthropic", name),
        };
        let forgiven = |place: &str| {
            let segments = place.split('/').map(|segment| match segment.parse::<usize>() {
                Ok(_) => "*",
                Err(_) => segment,
            });
            let general = segments.collect::<Vec<_>>().join("/");
            let value = document.pointer(place).unwrap_or(&Value::Null);
            let mut quirks = QUIRKS.iter().filter(|quirk| quirk.schema == key.1);
            quirks.any(|quirk| quirk.place == general && (quirk.is_forgiven)(value))
        };
        let errors = VALIDATORS[&key].iter_errors(document);
        errors
            .map(|error| (error.instance_path().to_string(), error.to_string()))
            .filter(|(place, _)| !forgiven(place))
            .map(|(place, error)| format!("{place}: {error:.300}"))
            .collect()
    }
}

#[test]
fn a_wrong_answer_is_found() {
    let right = json!({"type": "error", "error": {"type": "api_error", "message": "m"},
        "request_id": "r"});
    let shape = Shape::Anthropic("ErrorResponse");
    assert_eq!(shape.faults(&right), [""; 0]);
    assert_eq!(shape.faults(&json!({"type": "error", "error": {"type": "odd"}})).len(), 1);
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": "now", "model": "m",
        "choices": [{"index": 0, "delta": {}, "finish_reason": null, "logprobs": null}]});
    let faults = Shape::OpenAi("CreateChatCompletionStreamResponse").faults(&chunk);
    assert!(faults.len() == 1 && faults[0].starts_with("/created"), "{faults:?}");
    let line = json!({"model": "m", "done": "yes"});
    assert_eq!(Shape::Ollama("ChatStreamEvent").faults(&line).len(), 1);
}

/// Adds to `faults` what the vendor's schemas say against an answer.
pub fn check(form: &Form, stream: bool, written: &str, place: &str, faults: &mut Vec<String>) {
    let mut look = |shape: Shape, text: &str| {
        let document: Value =
            serde_json::from_str(text).unwrap_or_else(|_| panic!("{place}: {text}"));
        let shape = if is_error(&document) { form.error } else { shape };
        let found = shape.faults(&document).into_iter();
        faults.extend(found.map(|fault| format!("{place}: {fault}\n    in {text:.300}")));
    };
    if !stream {
        let body = match written.strip_prefix("status ") {
            Some(rest) => rest.split_once('\n').unwrap().1,
            None => written,
        };
        return look(form.whole, body);
    }
    let is_lines = matches!(form.piece, Shape::Ollama(_));
    for line in written.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
        let piece = if is_lines { Some(line) } else { line.strip_prefix("data: ") };
        match piece {
            Some("[DONE]") => {}
            Some(piece) => look(form.piece, piece),
            None => assert!(line.starts_with("event: "), "{place}: {line}"),
        }
    }
}

/// Whether this is an error's envelope rather than an answer that says how it ended.
fn is_error(document: &Value) -> bool {
    let says = |value: &Value| value.is_string() || value.is_object();
    document.get("error").is_some_and(says) && document.get("object").is_none()
        || document["type"] == "error" && document.get("error").is_some()
}
