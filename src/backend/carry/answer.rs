//! Passes an answer on as it comes, while the decoder of its API watches it.
//!
//! It owns the bytes between the provider and the client: whole frames of a stream, or all of an
//! answer that is one document. It holds back the first bytes until the answer begins: until then
//! another provider can be asked.
//!
//! The one thing to know: an answer is carried only if it has the shape that the client asked for.
//! A stream for a client that asked for a document, or the reverse, becomes events alone, and the
//! client's dialect translates them.

use std::borrow::Cow;

use memchr::memmem;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::frame_kind::FrameKind;
use super::frames::{Frames, Framing, object};
use crate::backend::document::append;
use crate::backend::{DecodeError, Decoder};
use crate::chat::{Carried, ChatEvent, Endpoint};
use crate::wire::splice::{Outline, compact};

/// The properties of one carried answer.
pub(super) struct AnswerOptions {
    pub endpoint: Endpoint,
    /// A digest of the form that the client reads.
    pub form: u64,
    /// Whether the client asked for vectors in base64.
    pub as_base64: bool,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// Whether that stream is a list that grows.
    pub is_list: bool,
    /// The model's name that the client reads, as JSON, if it differs from the provider's.
    pub model: Option<Vec<u8>>,
    /// Whether the gateway asked for the count of tokens, so that the client does not get it.
    pub hides_usage: bool,
    /// Whether the gateway understood the request, so that it can translate an answer in another
    /// form.
    pub is_translatable: bool,
}

/// Passes on one answer.
pub(super) struct Carrier {
    watch: Box<dyn Decoder>,
    options: AnswerOptions,
    shape: Shape,
    /// Bytes for the client that wait until the answer begins.
    ready: Vec<u8>,
    has_looked: bool,
    has_begun: bool,
    is_done: bool,
    /// The highest kind among the frames in `ready` for which the decoder gave no event.
    kind: FrameKind,
}

/// The most bytes that are held back until the answer begins.
const MAX_HELD: usize = 64 * 1024;

enum Shape {
    Unknown,
    Stream(Frames),
    /// The document so far, and its events.
    Document(Vec<u8>, Vec<ChatEvent>),
    /// Not the shape that the client asked for.
    Other,
}

impl Carrier {
    pub(super) fn new(watch: Box<dyn Decoder>, options: AnswerOptions) -> Self {
        let shape = Shape::Unknown;
        Self {
            watch,
            options,
            shape,
            ready: Vec::new(),
            has_looked: false,
            has_begun: false,
            is_done: false,
            kind: FrameKind::Empty,
        }
    }

    /// Hands on the bytes that are ready, and their events.
    fn hand_on(&mut self, said: Vec<ChatEvent>, events: &mut Vec<ChatEvent>) {
        self.is_done |= said.last().is_some_and(|last| last.done().is_some());
        self.has_begun |=
            !said.is_empty() || self.kind > FrameKind::Empty || self.ready.len() > MAX_HELD;
        if !self.has_begun {
            return;
        }
        let bytes = std::mem::take(&mut self.ready);
        // The end of a stream may have no bytes of its own.
        let ends = matches!(self.shape, Shape::Stream(_)) && !said.is_empty();
        if !bytes.is_empty() || ends {
            let covers = u32::try_from(said.len()).unwrap_or(u32::MAX);
            let has_more =
                std::mem::replace(&mut self.kind, FrameKind::Empty) == FrameKind::Content;
            let form = self.options.form;
            events.push(ChatEvent::Carried(Carried { bytes, covers, form, has_more }));
        }
        events.extend(said);
    }

    /// Checks at the first piece whether it belongs to the API that was asked.
    fn look_at_first(&mut self, bytes: &[u8]) {
        if !std::mem::replace(&mut self.has_looked, true)
            && matches!(self.shape, Shape::Stream(_))
            && !self.options.fits(bytes)
        {
            self.shape = Shape::Other;
        }
    }

    /// Hands on a document and its events, or the events alone if it is not JSON or not in the
    /// client's form.
    fn hand_on_whole(&mut self, body: Vec<u8>, said: Vec<ChatEvent>, events: &mut Vec<ChatEvent>) {
        // A parser that skips a text does not see whether it is UTF-8.
        let text = std::str::from_utf8(&body).ok();
        let is_json = text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        if is_json && self.options.fits(&body) {
            self.ready = self.options.document(body);
        }
        self.hand_on(said, events);
    }
}

impl Decoder for Carrier {
    fn feed(&mut self, mut bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        if matches!(self.shape, Shape::Unknown) {
            bytes = bytes.trim_ascii_start();
            let Some(first) = bytes.first() else { return Ok(()) };
            self.shape = self.options.shape(*first);
        }
        self.look_at_first(bytes);
        let Self { watch, options, ready, kind, .. } = self;
        let mut said = Vec::new();
        match &mut self.shape {
            Shape::Unknown | Shape::Other => watch.feed(bytes, events),
            Shape::Document(body, said) => {
                append(body, bytes)?;
                watch.feed(bytes, said)?;
                if said.last().is_some_and(|last| last.done().is_some()) {
                    let (body, said) = (std::mem::take(body), std::mem::take(said));
                    self.hand_on_whole(body, said, events);
                }
                Ok(())
            }
            Shape::Stream(frames) => {
                let fed = frames.feed(bytes, |frame| {
                    if std::str::from_utf8(frame).is_err() {
                        // What the decoder skips the client may read.
                        let message = "a frame that is not UTF-8".to_owned();
                        return Err(DecodeError::Malformed(message));
                    }
                    let before = said.len();
                    if let Err(error) = watch.feed(&options.event(frame), &mut said) {
                        // The bytes of events before the failure have not reached the client.
                        said.truncate(before);
                        return Err(error);
                    }
                    let is_told = said.len() > before;
                    // A frame of Gemini may have several parts, of which the decoder knows some.
                    if !is_told || options.endpoint == Endpoint::GeminiStream {
                        let more = FrameKind::of(options.endpoint, frame);
                        *kind = (*kind).max(if is_told { more.untold() } else { more });
                    }
                    options.frame(frame, ready);
                    Ok(())
                });
                self.hand_on(said, events);
                fed
            }
        }
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let Self { watch, options, ready, .. } = self;
        match &mut self.shape {
            Shape::Unknown | Shape::Other => self.watch.finish(events),
            Shape::Document(body, said) => {
                let (body, mut said) = (std::mem::take(body), std::mem::take(said));
                self.watch.finish(&mut said)?;
                self.hand_on_whole(body, said, events);
                Ok(())
            }
            Shape::Stream(frames) => {
                if self.is_done {
                    return Ok(());
                }
                let mut said = Vec::new();
                let rest = frames.take_rest();
                watch.feed(&options.event(&rest), &mut said)?;
                watch.finish(&mut said)?;
                if !rest.is_empty() {
                    options.frame(&rest, ready);
                }
                options.end(&rest, ready);
                self.hand_on(said, events);
                Ok(())
            }
        }
    }
}

impl AnswerOptions {
    /// The shape of an answer that begins with this byte.
    fn shape(&self, first: u8) -> Shape {
        let is_document = matches!(first, b'{' | b'[' | b'<');
        match (self.endpoint, self.stream, is_document) {
            (Endpoint::OllamaChat | Endpoint::OllamaGenerate, true, true) => {
                Shape::Stream(Frames::new(Framing::Lines))
            }
            (Endpoint::OllamaChat | Endpoint::OllamaGenerate, true, false) => Shape::Other,
            (Endpoint::GeminiStream, true, _) if self.is_list => match first {
                b'[' => Shape::Stream(Frames::new(Framing::Items)),
                _ => Shape::Other,
            },
            (_, true, false) => Shape::Stream(Frames::new(Framing::Events)),
            (_, false, true) => Shape::Document(Vec::new(), Vec::new()),
            (_, true, true) | (_, false, false) => Shape::Other,
        }
    }

    /// Whether a frame or a document is one that this endpoint gives: imitators give one answer for
    /// several endpoints, and vectors in an order and an encoding of their own.
    fn fits(&self, said: &[u8]) -> bool {
        match self.endpoint {
            Endpoint::OllamaGenerate => {
                !contains(said, b"\"message\"") || contains(said, b"\"response\"")
            }
            Endpoint::OpenAiCompletions => {
                !contains(said, b"\"delta\"") && !contains(said, b"\"message\"")
            }
            // Vectors in another form than the client asked for are better than no vectors.
            Endpoint::OpenAiEmbeddings if !self.is_translatable => true,
            Endpoint::OpenAiEmbeddings => {
                let Ok(Vectors { data: Some(data) }) = serde_json::from_slice(said) else {
                    return true;
                };
                data.iter().enumerate().all(|(position, vector)| {
                    let is_text = vector.embedding.get().starts_with('"');
                    let position = u64::try_from(position).ok();
                    is_text == self.as_base64
                        && (vector.index.is_none() || vector.index == position)
                })
            }
            Endpoint::OpenAiChat
            | Endpoint::OpenAiResponses
            | Endpoint::AnthropicMessages
            | Endpoint::AnthropicCount
            | Endpoint::OllamaChat
            | Endpoint::OllamaEmbed
            | Endpoint::GeminiGenerate
            | Endpoint::GeminiStream
            | Endpoint::GeminiCount
            | Endpoint::GeminiEmbed
            | Endpoint::GeminiBatchEmbed => true,
        }
    }

    /// A frame in the form that the decoder reads: an item of a list becomes an event.
    fn event<'a>(&self, frame: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.is_list {
            return Cow::Borrowed(frame);
        }
        let stands_between = |byte: &u8| byte.is_ascii_whitespace() || b"[,]".contains(byte);
        let start = frame.iter().position(|byte| !stands_between(byte));
        let item = start.and_then(|start| frame.get(start..)).map(compact);
        let event = |item: Vec<u8>| [b"data: ", item.as_slice(), b"\n\n"].concat();
        Cow::Owned(item.map(event).unwrap_or_default())
    }

    /// Appends a frame of a stream in the form that the client reads.
    fn frame(&self, frame: &[u8], out: &mut Vec<u8>) {
        if self.hides_usage && is_usage_alone(frame) {
            return;
        }
        let renamed = self.model.as_deref().and_then(|model| {
            let (start, end) = object(frame)?;
            let renamed = self.renamed(frame.get(start..end)?, model)?;
            Some([frame.get(..start)?, &renamed, frame.get(end..)?].concat())
        });
        out.extend_from_slice(renamed.as_deref().unwrap_or(frame));
    }

    /// A document in the form that the client reads.
    fn document(&self, body: Vec<u8>) -> Vec<u8> {
        let renamed = self.model.as_deref().and_then(|model| self.renamed(&body, model));
        renamed.unwrap_or(body)
    }

    /// The object with the client's name for the model; `None` if it names no model.
    fn renamed(&self, object: &[u8], model: &[u8]) -> Option<Vec<u8>> {
        if !contains(object, b"model") {
            return None;
        }
        let outline = Outline::read(object)?;
        let mut edits = outline.edit();
        let names = |value: &[u8]| value.starts_with(b"\"");
        let field = if self.endpoint.is_gemini() { "modelVersion" } else { "model" };
        if outline.get(field).is_some_and(names) {
            edits.set(field, model);
        }
        let within = match self.endpoint {
            Endpoint::AnthropicMessages => Some("message"),
            Endpoint::OpenAiResponses => Some("response"),
            Endpoint::OpenAiChat
            | Endpoint::OpenAiCompletions
            | Endpoint::OpenAiEmbeddings
            | Endpoint::AnthropicCount
            | Endpoint::OllamaChat
            | Endpoint::OllamaGenerate
            | Endpoint::OllamaEmbed
            | Endpoint::GeminiGenerate
            | Endpoint::GeminiStream
            | Endpoint::GeminiCount
            | Endpoint::GeminiEmbed
            | Endpoint::GeminiBatchEmbed => None,
        };
        let inner = within.and_then(|name| Some((name, Outline::read(outline.get(name)?)?)));
        if let Some((name, inner)) = inner
            && inner.get("model").is_some_and(names)
        {
            let mut change = inner.edit();
            change.set("model", model);
            edits.set(name, change.apply());
        }
        (!edits.is_empty()).then(|| edits.apply())
    }

    /// Appends the end of the stream if the provider left it out.
    fn end(&self, rest: &[u8], out: &mut Vec<u8>) {
        if self.is_list {
            out.extend_from_slice(if contains(rest, b"]") { b"" } else { b"]" });
            return;
        }
        let marks = matches!(self.endpoint, Endpoint::OpenAiChat | Endpoint::OpenAiCompletions);
        if !rest.is_empty()
            && !matches!(self.endpoint, Endpoint::OllamaChat | Endpoint::OllamaGenerate)
        {
            // The provider did not end its last event.
            out.extend_from_slice(if rest.ends_with(b"\n") { b"\n" } else { b"\n\n" });
        }
        if marks && !contains(rest, b"[DONE]") {
            out.extend_from_slice(b"data: [DONE]\n\n");
        }
    }
}

/// The fields that are read of an answer with vectors.
#[derive(serde::Deserialize)]
struct Vectors<'a> {
    #[serde(borrow)]
    data: Option<Vec<Vector<'a>>>,
}

#[derive(serde::Deserialize)]
struct Vector<'a> {
    #[serde(borrow)]
    embedding: &'a RawValue,
    index: Option<u64>,
}

/// Whether an event has a count of tokens and no part of an answer: OpenAI adds such an event to a
/// stream if the client asks for the count.
fn is_usage_alone(frame: &[u8]) -> bool {
    if !contains(frame, b"\"usage\"") || !contains(frame, b"\"choices\"") {
        return false;
    }
    let event = object(frame).and_then(|(start, end)| Outline::read(frame.get(start..end)?));
    event.is_some_and(|event| {
        let choices = event.get("choices").and_then(|list| list.strip_prefix(b"["));
        let has_none = choices.is_some_and(|list| list.trim_ascii() == b"]");
        has_none && event.get("usage").is_some_and(|usage| usage.starts_with(b"{"))
    })
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    memmem::find(bytes, word).is_some()
}
