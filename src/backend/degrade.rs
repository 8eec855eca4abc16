//! Adapts a conversation to the features of an API.
//!
//! It owns the treatment of documents, of parts that only the client's own API has, of system
//! messages amid a conversation, and of tools that only the client's own provider hosts. A part
//! that only helps is dropped and reported, a part with a text is replaced by the text, and a part
//! that the last question is about is refused. Nothing in the history is refused: one part in it
//! would make the session unusable.
//!
//! The one thing to know: a conversation without any of these is not copied.

use std::borrow::Cow;

use crate::chat::{
    Api, BILLING, ChatRequest, Document, DocumentSource, Foreign, GatewayError, Message, Part,
    Role, ToolChoice, ToolResult,
};
use crate::wire::pdf;

/// The features of an API.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features {
    /// The API whose own parts need no translation.
    pub(super) api: Api,
    /// The documents that a user's message may hold.
    pub(super) user_documents: Documents,
    /// The documents that a tool result may hold.
    pub(super) tool_documents: Documents,
    /// Whether system messages may follow the first message of another role.
    pub(super) late_system: bool,
    /// Whether it gets the line that changes with every call: see
    /// [`Quirks`](super::Quirks::keeps_volatile).
    pub(super) keeps_volatile: bool,
}

/// Which documents an API takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Documents {
    /// None; documents that are text become text.
    None,
    /// Documents within the request.
    Inline,
    /// All documents.
    Any,
}

/// The conversation adapted to these features.
///
/// # Errors
///
/// `InvalidRequest` naming the part that the last question is about and that the API does not have,
/// or a forced tool that the provider does not have.
pub(super) fn adapt<'a>(
    request: &'a ChatRequest,
    features: Features,
    dropped: &mut Vec<String>,
) -> Result<Cow<'a, ChatRequest>, GatewayError> {
    refuse_forced(request, features.api)?;
    let mut adapter = Adapter { features, names: dropped };
    for hosted in request.hosted.iter().filter(|hosted| hosted.api != features.api) {
        adapter.report(&hosted.kind);
    }
    let extras = request.tools.iter().filter_map(|tool| tool.extra.as_ref());
    for extra in extras.filter(|extra| extra.api != features.api) {
        extra.fields.keys().for_each(|name| adapter.report(name));
    }
    if adapter.needs_no_change(&request.messages) {
        return Ok(Cow::Borrowed(request));
    }
    let messages = adapter.messages(&request.messages)?;
    Ok(Cow::Owned(ChatRequest { messages, ..request.clone() }))
}

/// Refuses a forced call of a tool that only another provider has.
fn refuse_forced(request: &ChatRequest, api: Api) -> Result<(), GatewayError> {
    let mut foreign = request.hosted.iter().filter(|hosted| hosted.api != api);
    let is_offered = |name: &str| request.tools.iter().any(|tool| tool.name == name);
    let forced = match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::None => None,
        ToolChoice::Required if request.tools.is_empty() => foreign.next(),
        ToolChoice::Required => None,
        ToolChoice::Named(name) if is_offered(name) => None,
        ToolChoice::Named(name) => foreign.find(|hosted| hosted.name == *name),
    };
    match forced {
        None => Ok(()),
        Some(hosted) => Err(GatewayError::invalid(format!(
            "tool_choice: this provider has no `{}`, offer a tool of your own or force none",
            hosted.kind
        ))),
    }
}

/// Adapts the messages and collects the names of parts that are lost.
struct Adapter<'a> {
    features: Features,
    names: &'a mut Vec<String>,
}

/// The place of a part, which decides what happens to it if the API does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the question that is to be answered now.
    Asked,
    /// In an earlier message.
    History,
    /// In a tool result.
    Answered,
}

impl Adapter<'_> {
    fn report(&mut self, name: &str) {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    fn needs_no_change(&self, messages: &[Message]) -> bool {
        let mut begun = false;
        messages.iter().all(|message| {
            begun |= message.role != Role::System;
            let is_late = begun && message.role == Role::System && !self.features.late_system;
            let is_billed = !begun && !self.features.keeps_volatile && has_billing(message);
            !is_late && !is_billed && message.content.iter().all(|part| self.has_place(part, false))
        })
    }

    /// Whether the backend handles the part itself: a part of its own API, or of OpenAI's.
    fn is_handled_by_backend(&self, foreign: &Foreign) -> bool {
        foreign.api == self.features.api || foreign.api == Api::OpenAi
    }

    fn has_place(&self, part: &Part, is_answer: bool) -> bool {
        match part {
            Part::Text(_)
            | Part::Image(_)
            | Part::Reasoning { .. }
            | Part::ToolCall(_)
            | Part::CacheMark(_) => true,
            Part::ToolResult(result) => {
                result.content.iter().all(|part| self.has_place(part, true))
            }
            Part::Foreign(foreign) => self.is_handled_by_backend(foreign),
            Part::Document(document) => {
                let taken = if is_answer {
                    self.features.tool_documents
                } else {
                    self.features.user_documents
                };
                takes(taken, &document.source)
            }
        }
    }

    fn messages(&mut self, messages: &[Message]) -> Result<Vec<Message>, GatewayError> {
        let asked = question(messages);
        let mut said: Vec<Message> = Vec::with_capacity(messages.len());
        let mut begun = false;
        // Whether the last message was made from system messages, so that a user message that
        // follows is joined with it.
        let mut is_made = false;
        for (index, message) in messages.iter().enumerate() {
            begun |= message.role != Role::System;
            let place = if asked == Some(index) { Place::Asked } else { Place::History };
            let mut content = self.parts(&message.content, place)?;
            if !begun && !self.features.keeps_volatile {
                self.remove_billing(&mut content);
            }
            // A message that lost all its parts is dropped; the backend decides about a message
            // that never had any.
            if content.is_empty() && !message.content.is_empty() {
                continue;
            }
            let is_late = begun && message.role == Role::System && !self.features.late_system;
            if is_late {
                content = as_user_text(content);
            }
            let role = if is_late { Role::User } else { message.role };
            let goes_on = role == Role::User && (is_late || is_made);
            match said.last_mut().filter(|last| goes_on && last.role == Role::User) {
                Some(last) => last.content.extend(content),
                None => {
                    is_made = is_late;
                    said.push(Message { role, content, name: message.name.clone() });
                }
            }
        }
        Ok(said)
    }

    fn parts(&mut self, parts: &[Part], place: Place) -> Result<Vec<Part>, GatewayError> {
        let mut said = Vec::with_capacity(parts.len());
        for part in parts {
            said.extend(self.part(part, place)?);
        }
        Ok(said)
    }

    fn part(&mut self, part: &Part, place: Place) -> Result<Option<Part>, GatewayError> {
        match part {
            Part::Text(_)
            | Part::Image(_)
            | Part::Reasoning { .. }
            | Part::ToolCall(_)
            | Part::CacheMark(_) => Ok(Some(part.clone())),
            Part::ToolResult(result) => {
                let content = self.parts(&result.content, Place::Answered)?;
                Ok(Some(Part::ToolResult(ToolResult { content, ..result.clone() })))
            }
            Part::Foreign(foreign) if self.is_handled_by_backend(foreign) => Ok(Some(part.clone())),
            Part::Foreign(foreign) => self.foreign(foreign, place),
            Part::Document(document) => self.document(document, place).map(Some),
        }
    }

    fn foreign(&mut self, foreign: &Foreign, place: Place) -> Result<Option<Part>, GatewayError> {
        if foreign.is_decisive && place == Place::Asked {
            return Err(GatewayError::invalid(format!(
                "{}: this provider has no place for it, leave it out or send its text",
                foreign.kind
            )));
        }
        self.report(&foreign.kind);
        let note = || {
            foreign.is_decisive.then(|| format!("[`{}` that this model cannot read]", foreign.kind))
        };
        Ok(foreign.text.clone().or_else(note).map(Part::Text))
    }

    fn document(&mut self, document: &Document, place: Place) -> Result<Part, GatewayError> {
        let taken = match place {
            Place::Asked | Place::History => self.features.user_documents,
            Place::Answered => self.features.tool_documents,
        };
        if taken != Documents::Any && document.citations.is_some() {
            self.report("citations");
        }
        if takes(taken, &document.source) {
            return Ok(Part::Document(document.clone()));
        }
        let what = match &document.source {
            DocumentSource::Text(text) => return Ok(Part::Text(titled(document, text))),
            DocumentSource::Inline { media_type, base64 } => description(media_type, base64),
            DocumentSource::Url(url) => format!("the document at {url}"),
            DocumentSource::Upload(_) => "an uploaded document".to_owned(),
        };
        if place == Place::Asked {
            let way = match (taken, &document.source) {
                (Documents::Inline, _) => "send its content as base64",
                (Documents::None | Documents::Any, _) => "send its text",
            };
            return Err(GatewayError::invalid(format!(
                "document: this provider cannot read {what}, {way}"
            )));
        }
        self.report("document");
        Ok(Part::Text(titled(document, &format!("[{what} that this model cannot read]"))))
    }

    /// Removes the line that changes with every call.
    fn remove_billing(&mut self, content: &mut Vec<Part>) {
        let Some(Part::Text(text)) = content.first_mut().filter(|part| is_billing_line(part))
        else {
            return;
        };
        let rest = text.split_once('\n').map_or("", |(_, rest)| rest).trim_start().to_owned();
        if rest.is_empty() {
            content.remove(0);
            // Without its text a cache mark has no meaning.
            while matches!(content.first(), Some(Part::CacheMark(_))) {
                content.remove(0);
            }
        } else {
            *text = rest;
        }
        self.report(BILLING.trim_end_matches(':'));
    }
}

fn has_billing(message: &Message) -> bool {
    message.content.first().is_some_and(is_billing_line)
}

fn is_billing_line(part: &Part) -> bool {
    match part {
        Part::Text(text) => text.trim_start().starts_with(BILLING),
        Part::Image(_)
        | Part::Reasoning { .. }
        | Part::ToolCall(_)
        | Part::ToolResult(_)
        | Part::CacheMark(_)
        | Part::Document(_)
        | Part::Foreign(_) => false,
    }
}

/// The message that is to be answered, if it is a question of the user's rather than a tool result.
fn question(messages: &[Message]) -> Option<usize> {
    let mut said = messages.iter().enumerate().filter(|(_, message)| message.role != Role::System);
    let (index, last) = said.next_back()?;
    let follows_tool = said.next_back().is_some_and(|(_, before)| before.role == Role::Tool);
    (last.role == Role::User && !follows_tool).then_some(index)
}

fn takes(taken: Documents, source: &DocumentSource) -> bool {
    match (taken, source) {
        (Documents::Any, _) | (Documents::Inline, DocumentSource::Inline { .. }) => true,
        (Documents::None, _)
        | (
            Documents::Inline,
            DocumentSource::Text(_) | DocumentSource::Url(_) | DocumentSource::Upload(_),
        ) => false,
    }
}

/// A description of a document, such as `a PDF of 3 pages`.
fn description(media_type: &str, base64: &str) -> String {
    if media_type != pdf::MEDIA_TYPE {
        return format!("a document of type {media_type}");
    }
    match pdf::pages(base64) {
        None => "a PDF".to_owned(),
        Some(1) => "a PDF of 1 page".to_owned(),
        Some(pages) => format!("a PDF of {pages} pages"),
    }
}

/// A document's text with its title and context.
fn titled(document: &Document, text: &str) -> String {
    let mut said = String::new();
    for line in [&document.title, &document.context].into_iter().flatten() {
        said.push_str(line);
        said.push('\n');
    }
    said.push_str(text);
    said
}

/// System text as a user's text, for models that take no system message there.
pub(super) fn as_instructions(text: &str) -> String {
    format!("<system>\n{text}\n</system>")
}

/// A system message as a user's, for models that take system messages only first. Pictures follow
/// the text.
fn as_user_text(content: Vec<Part>) -> Vec<Part> {
    let message = Message { role: Role::System, content, name: None };
    let text = message.joined_text();
    let mut said = Vec::new();
    if !text.is_empty() {
        said.push(Part::Text(as_instructions(&text)));
    }
    let rest = message.content.into_iter().filter(|part| !matches!(part, Part::Text(_)));
    said.extend(rest);
    said
}

#[cfg(test)]
mod tests;
