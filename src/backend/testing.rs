//! Helpers for the tests of the backends: small chats to encode, and answers cut anywhere.

use serde_json::Value;

use super::{Backend, DecodeError, Target};
use crate::chat::{
    Api, Ask, ChatEvent, ChatRequest, Completion, Extra, Finish, Image, ImageSource, Message, Part,
    Role, Tool, ToolCall, ToolCallPiece, ToolResult, Usage,
};

/// The events of an answer, and how it ended.
pub(super) type Read = (Vec<ChatEvent>, Result<(), DecodeError>);

pub(super) fn user(text: &str) -> ChatRequest {
    ChatRequest { messages: vec![Message::text(Role::User, text)], ..ChatRequest::default() }
}

pub(super) fn message(role: Role, content: Vec<Part>) -> Message {
    Message { role, content, name: None }
}

pub(super) fn text(text: &str) -> Part {
    Part::Text(text.into())
}

pub(super) fn thought(text: &str, signature: Option<&str>) -> Part {
    Part::Reasoning { text: text.into(), signature: signature.map(Into::into) }
}

pub(super) fn tool(name: &str) -> Tool {
    Tool { name: name.into(), ..Tool::default() }
}

/// A picture that is declared as a PNG.
pub(super) fn inline(base64: &str) -> Part {
    let source = ImageSource::Inline { media_type: "image/png".into(), base64: base64.into() };
    Part::Image(Image { source, detail: Some("low".into()) })
}

pub(super) fn linked(url: &str) -> Part {
    Part::Image(Image { source: ImageSource::Url(url.into()), detail: Some("low".into()) })
}

pub(super) fn call(id: Option<&str>, name: &str, arguments: &str) -> Part {
    let id = id.map(Into::into);
    Part::ToolCall(ToolCall { id, name: name.into(), arguments: arguments.into() })
}

pub(super) fn result(id: Option<&str>, said: &str) -> Part {
    answered(id, vec![text(said)], false)
}

pub(super) fn answered(id: Option<&str>, content: Vec<Part>, is_error: bool) -> Part {
    let call_id = id.map(Into::into);
    Part::ToolResult(ToolResult { call_id, name: None, content, is_error })
}

pub(super) fn extra(api: Api, fields: Value) -> Option<Extra> {
    let Value::Object(fields) = fields else { panic!("an object") };
    Some(Extra { api, fields })
}

/// The body that `backend` sends, and the names of what it drops.
pub(super) fn encode(
    backend: &dyn Backend,
    request: &ChatRequest,
    model: &str,
) -> (Value, Vec<String>) {
    let call = backend.encode(&Ask::Chat(request.clone()), Target::new(model, None)).unwrap();
    (serde_json::from_slice(&call.body).unwrap(), call.dropped)
}

/// The message with which `backend` refuses `user("hi")` after `change`.
pub(super) fn refusal(backend: &dyn Backend, change: impl FnOnce(&mut ChatRequest)) -> String {
    let mut request = user("hi");
    change(&mut request);
    backend.encode(&Ask::Chat(request), Target::new("m", None)).unwrap_err().message.into_owned()
}

pub(super) fn decode(backend: &dyn Backend, request: &ChatRequest, pieces: &[&[u8]]) -> Read {
    let mut decoder = backend.decoder(&Ask::Chat(request.clone()), 7);
    let mut events = Vec::new();
    for piece in pieces {
        if let Err(error) = decoder.feed(piece, &mut events) {
            return (events, Err(error));
        }
    }
    let ended = decoder.finish(&mut events);
    (events, ended)
}

/// The answer in `body` to a default chat.
pub(super) fn read(backend: &dyn Backend, body: &[u8]) -> Read {
    decode(backend, &ChatRequest::default(), &[body])
}

/// Whether the answer in `body` succeeds if, and only if, its last event is the end.
pub(super) fn succeeds_only_with_an_end(backend: &dyn Backend, body: &[u8]) -> bool {
    let (events, ended) = read(backend, body);
    ended.is_ok() == matches!(events.last(), Some(ChatEvent::Done(_)))
}

/// The event of a piece of text.
pub(super) fn said(text: &str) -> ChatEvent {
    ChatEvent::Text(text.into())
}

/// `body` cut at these positions.
pub(super) fn cut(body: &str, mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.sort_unstable();
    let mut rest = body.as_bytes();
    let mut from = 0;
    let mut pieces = Vec::new();
    for cut in cuts.into_iter().map(|cut| cut.min(body.len())) {
        let (piece, after) = rest.split_at(cut - from);
        pieces.push(piece);
        (rest, from) = (after, cut);
    }
    pieces.push(rest);
    pieces
}

/// A stream of these documents, one event each.
pub(super) fn stream(documents: &[&str]) -> String {
    documents.iter().map(|document| format!("data: {document}\n\n")).collect()
}

pub(super) fn done(finish: Finish, usage: Usage) -> ChatEvent {
    ChatEvent::Done(Completion { finish, stop_sequence: None, usage })
}

pub(super) fn calls(events: &[ChatEvent]) -> Vec<ToolCallPiece> {
    let calls = events.iter().filter_map(|event| match event {
        ChatEvent::ToolCall(piece) => Some(piece.clone()),
        _ => None,
    });
    calls.collect()
}
