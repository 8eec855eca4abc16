//! The gateway's own chat API: one route, a few fields, hints.
//!
//! It owns the shapes of `POST /v1/chat` and its alias `/api/v1/chat`. Errors have FastAPI's form,
//! since clients of the first service with this API expect `detail`, a list of `{loc, msg, type}`
//! for a body that does not fit.
//!
//! The one thing to know: `model` in the answer is the model that ran, not the name that the client
//! sent.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::openai::{Counts, finish_reason};
use super::single::{AtEnd, Collector, misdirected};
use super::{AnswerHead, Dialect, Encoder, ErrorBody, append};
use crate::chat::{
    Ask, ChatEvent, ChatRequest, Completion, ErrorKind, FieldProblem, GatewayError, Message, Part,
    Role, Sampling, ToolResult, Usage, Waiting,
};
use crate::wire::fields::{Fields, Object};
use crate::wire::{json, sse};

/// The gateway's own chat API.
#[derive(Debug)]
pub struct Native;

impl Dialect for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn paths(&self) -> &'static [&'static str] {
        &["/v1/chat", "/api/v1/chat"]
    }

    fn has_heartbeat(&self) -> bool {
        true
    }

    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError> {
        let mut body = json::read_object(body)?;
        let mut fields = Fields::new();
        let mut dropped = Vec::new();
        let mut request = ChatRequest {
            messages: messages(&mut fields, &mut body, &mut dropped),
            model: word(&mut fields, &mut body, "model"),
            hint: word(&mut fields, &mut body, "model_hint"),
            sampling: Sampling {
                max_tokens: fields.unsigned(&mut body, "max_tokens", 1),
                temperature: fields.number(&mut body, "temperature", 0.0, 2.0),
                ..Sampling::default()
            },
            stream: fields.flag(&mut body, "stream").unwrap_or(false),
            ..ChatRequest::default()
        };
        fields.finish()?;
        // No provider gets fields that this API does not have, and the client is informed of that.
        dropped.extend(rest(&body));
        request.dropped = dropped;
        Ok(Ask::Chat(request))
    }

    fn encoder(&self, ask: &Ask, head: AnswerHead) -> Box<dyn Encoder> {
        let Ask::Chat(request) = ask else { return misdirected() };
        if request.stream {
            Box::new(Streamed { head })
        } else {
            Box::new(AtEnd(Whole { head, content: String::new() }))
        }
    }

    fn error(&self, error: &GatewayError, request_id: &str) -> ErrorBody {
        let detail = match error.kind {
            // Clients of the original service compare with this text.
            ErrorKind::InvalidApiKey => json!("Invalid or missing API Key"),
            ErrorKind::SchemaMismatch => error.problems.iter().map(field_problem).collect(),
            ErrorKind::InvalidRequest
            | ErrorKind::ContextTooLong
            | ErrorKind::NotAllowed
            | ErrorKind::ModelNotFound
            | ErrorKind::NotFound
            | ErrorKind::MethodNotAllowed
            | ErrorKind::BodyTooLarge
            | ErrorKind::BodyTimeout
            | ErrorKind::UnsupportedMediaType
            | ErrorKind::UpgradeRequired
            | ErrorKind::NotImplemented
            | ErrorKind::RateLimited
            | ErrorKind::QuotaExhausted
            | ErrorKind::BadUpstream
            | ErrorKind::Overloaded
            | ErrorKind::ProviderUnavailable
            | ErrorKind::Draining
            | ErrorKind::NoProviderForPolicy
            | ErrorKind::Timeout
            | ErrorKind::Internal => json!(error.message),
        };
        let body = json!({"detail": detail, "code": error.kind.code(), "request_id": request_id});
        ErrorBody { status: error.kind.status(), body: json::to_vec(&body) }
    }
}

/// A name; an empty one counts as absent, as forms send it.
fn word(fields: &mut Fields, body: &mut Object, key: &str) -> Option<String> {
    fields.text(body, key).filter(|word| !word.is_empty())
}

/// The names of the fields that were not read and are not null.
fn rest(object: &Object) -> impl Iterator<Item = String> {
    object.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone())
}

fn messages(fields: &mut Fields, body: &mut Object, dropped: &mut Vec<String>) -> Vec<Message> {
    let list = fields.required_list(body, "messages").unwrap_or_default();
    let mut messages = Vec::with_capacity(list.len());
    fields.each("messages", list, |fields, mut item| {
        messages.extend(message(fields, &mut item));
        dropped.extend(rest(&item));
    });
    messages
}

fn message(fields: &mut Fields, item: &mut Object) -> Option<Message> {
    let role = fields.required_text(item, "role");
    let content = fields.required_text(item, "content");
    let role = match role?.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => {
            let expected = "Input should be 'system', 'user', 'assistant' or 'tool'";
            fields.problem("role", "literal_error", expected);
            return None;
        }
    };
    let text = Part::Text(content?);
    let content = match role {
        Role::System | Role::User | Role::Assistant => text,
        Role::Tool => Part::ToolResult(ToolResult {
            call_id: None,
            name: None,
            content: vec![text],
            is_error: false,
        }),
    };
    Some(Message { role, content: vec![content], name: None })
}

/// FastAPI's form: the path begins with `body`, indexes are numbers.
fn field_problem(problem: &FieldProblem) -> Value {
    let path = problem.path.iter().map(|segment| match segment.parse::<u64>() {
        Ok(index) => json!(index),
        Err(_) => json!(segment),
    });
    let loc: Vec<Value> = std::iter::once(json!("body")).chain(path).collect();
    json!({"loc": loc, "msg": problem.message, "type": problem.rule})
}

/// Writes the answer at its end.
struct Whole {
    head: AnswerHead,
    content: String,
}

impl Collector for Whole {
    fn add(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Text(text) => append(&mut self.content, text),
            ChatEvent::Reasoning(_)
            | ChatEvent::Signature(_)
            | ChatEvent::ToolCall(_)
            | ChatEvent::Logprobs(_)
            | ChatEvent::Whole(_)
            | ChatEvent::Carried(_)
            | ChatEvent::Done(_) => {}
        }
    }

    fn write(&mut self, completion: &Completion, out: &mut Vec<u8>) {
        let answer = Answer {
            content: Some(&self.content),
            end: Some(End::from(completion)),
            ..Answer::of(&self.head)
        };
        json::write(out, &answer);
    }
}

/// Writes server-sent events.
struct Streamed {
    head: AnswerHead,
}

impl Streamed {
    fn piece(&self, delta: Option<&str>, end: Option<End>, out: &mut Vec<u8>) {
        sse::write("", &Answer { delta, end, ..Answer::of(&self.head) }, out);
    }
}

impl Encoder for Streamed {
    fn content_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn event(
        &mut self,
        event: ChatEvent,
        _at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        match event {
            ChatEvent::Text(text) => self.piece(Some(&text), None, out),
            ChatEvent::Done(completion) => {
                self.piece(None, Some(End::from(&completion)), out);
                out.extend_from_slice(sse::DONE);
            }
            ChatEvent::Reasoning(_)
            | ChatEvent::Signature(_)
            | ChatEvent::ToolCall(_)
            | ChatEvent::Logprobs(_)
            | ChatEvent::Whole(_)
            | ChatEvent::Carried(_) => {}
        }
        Ok(())
    }

    fn failure(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        let error = json!({"detail": error.message, "code": error.kind.code()});
        sse::write("error", &error, out);
    }

    fn heartbeat(&mut self, waiting: Option<Waiting>, out: &mut Vec<u8>) {
        super::comment(waiting, out);
    }
}

/// An answer, or one piece of it.
#[derive(Serialize)]
struct Answer<'a> {
    id: Uuid,
    provider: &'a str,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(flatten)]
    end: Option<End>,
}

impl<'a> Answer<'a> {
    /// An answer without content yet.
    fn of(head: &'a AnswerHead) -> Self {
        let AnswerHead { id, provider, model, .. } = head;
        Self { id: *id, provider, model, content: None, delta: None, end: None }
    }
}

/// The end of an answer.
#[derive(Serialize)]
struct End {
    finish_reason: &'static str,
    usage: Counts,
}

impl From<&Completion> for End {
    fn from(completion: &Completion) -> Self {
        // Of the details, this API has only the cached part of the prompt, if there is one.
        let usage = Usage {
            cached: completion.usage.cached.filter(|cached| *cached > 0),
            cache_written: None,
            reasoning: None,
            ..completion.usage
        };
        Self { finish_reason: finish_reason(completion.finish), usage: Counts::from(&usage) }
    }
}

#[cfg(test)]
mod tests;
