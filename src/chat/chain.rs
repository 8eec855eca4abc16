//! A conversation as digests of its beginnings, to recognize it when it comes again.
//!
//! Owns the way in which a request is digested: tools first, then the messages with everything in
//! them that a model reads. Nothing of the text is kept, and the digests' keys are the process's
//! own, so that no caller can make a conversation with another's digest.
//!
//! The one thing to know: a server's prompt cache works on the exact beginning of a prompt. Two
//! requests have a digest in common exactly if they begin alike up to that point.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::LazyLock;

use foldhash::quality::{FoldHasher, RandomState};
use serde_json::Value;

use super::{ChatRequest, DocumentSource, ImageSource, Part, Tool};

static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The beginnings of a conversation, the shortest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain(Vec<Beginning>);

/// A beginning of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Its digest.
    pub digest: u64,
    /// Its size in bytes; what is no text counts as much text as has as many tokens.
    pub bytes: u32,
}

/// The beginning of the line that Claude Code puts first and changes with every call, so that no
/// prompt cache would match. Only Anthropic reads it.
pub const BILLING: &str = "x-anthropic-billing-header:";

/// A longer text has a beginning each time it grows by this.
const BLOCK: usize = 4096;
/// A conversation has at most this many beginnings before its last one.
const MOST: usize = 4096;
/// How many bytes of text have as many tokens as a picture: 1600, at four bytes each.
const PICTURE: usize = 6400;
/// As many bytes as a message takes beside its text.
const FRAME: usize = 16;

impl Chain {
    /// The conversation of a request; empty when it has none.
    #[must_use]
    pub fn new(request: &ChatRequest) -> Self {
        let mut links = Links::new();
        for tool in &request.tools {
            links.tool(tool);
        }
        for tool in &request.hosted {
            links.begin(b't');
            links.value(&tool.value);
        }
        if links.bytes > 0 {
            links.close();
        }
        for message in &request.messages {
            links.begin(message.role as u8);
            links.word(message.name.as_deref().unwrap_or_default());
            links.parts(&message.content);
            links.close();
        }
        Self(links.made)
    }

    /// A conversation that is known by the bytes of its request only.
    #[must_use]
    pub fn of_bytes(body: &[u8]) -> Self {
        let mut links = Links::new();
        links.bytes(body);
        links.close();
        Self(links.made)
    }

    /// A conversation of pieces that are known by a number and a size: for plans, which have no
    /// text.
    #[must_use]
    pub fn of_pieces(pieces: impl IntoIterator<Item = (u64, u32)>) -> Self {
        let mut links = Links::new();
        for (number, bytes) in pieces {
            links.hasher.write_u64(number);
            links.bytes += bytes as usize;
            links.close();
        }
        Self(links.made)
    }

    /// The beginnings, the shortest first; the last one is the whole conversation.
    #[must_use]
    pub fn beginnings(&self) -> &[Beginning] {
        &self.0
    }

    /// The size of the whole conversation.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.0.last().map_or(0, |whole| whole.bytes)
    }
}

/// A chain that is being made.
struct Links {
    hasher: FoldHasher<'static>,
    bytes: usize,
    made: Vec<Beginning>,
}

impl Links {
    fn new() -> Self {
        Self { hasher: KEYS.build_hasher(), bytes: 0, made: Vec::new() }
    }

    /// Everything so far is a beginning.
    fn close(&mut self) {
        let bytes = u32::try_from(self.bytes).unwrap_or(u32::MAX);
        let beginning = Beginning { digest: self.hasher.finish(), bytes };
        if self.made.len() > MOST {
            self.made.pop();
        }
        self.made.push(beginning);
    }

    /// A piece of this kind follows.
    fn begin(&mut self, kind: u8) {
        self.hasher.write_u8(kind);
        self.bytes += FRAME;
    }

    /// A short text.
    fn word(&mut self, word: &str) {
        self.hasher.write_usize(word.len());
        self.hasher.write(word.as_bytes());
        self.bytes += word.len();
    }

    /// A text that may be long, and may be continued the next time.
    fn bytes(&mut self, text: &[u8]) {
        let mut blocks = text.chunks_exact(BLOCK);
        for block in &mut blocks {
            self.hasher.write(block);
            self.bytes += block.len();
            self.close();
        }
        let rest = blocks.remainder();
        self.hasher.write(rest);
        // The end of a text is part of it.
        self.hasher.write_usize(rest.len());
        self.bytes += rest.len();
    }

    fn value(&mut self, value: &Value) {
        // A model reads keys in the client's order, which a `Value`'s own hash does not see.
        let text = value.to_string();
        self.bytes(text.as_bytes());
    }

    fn tool(&mut self, tool: &Tool) {
        self.begin(b'f');
        self.word(&tool.name);
        self.word(tool.description.as_deref().unwrap_or_default());
        if let Some(parameters) = &tool.parameters {
            self.value(parameters);
        }
    }

    /// The data of a picture or a document, which has as many tokens as it may.
    fn data(&mut self, data: &str) {
        data.hash(&mut self.hasher);
        self.bytes += PICTURE;
    }

    fn parts(&mut self, parts: &[Part]) {
        for part in parts {
            match part {
                Part::Text(text) => {
                    let text = stable(text);
                    if !text.is_empty() {
                        self.begin(b'x');
                        self.bytes(text.as_bytes());
                    }
                }
                Part::Image(image) => {
                    self.begin(b'i');
                    match &image.source {
                        ImageSource::Inline { base64, .. } => self.data(base64),
                        ImageSource::Url(url) => self.data(url),
                    }
                }
                Part::Reasoning { text, signature: _ } => {
                    self.begin(b'r');
                    self.bytes(text.as_bytes());
                }
                // Ids link a call to its result, and models do not read them.
                Part::ToolCall(call) => {
                    self.begin(b'c');
                    self.word(&call.name);
                    self.bytes(call.arguments.as_bytes());
                }
                Part::ToolResult(result) => {
                    self.begin(b'o');
                    self.parts(&result.content);
                }
                // It moves with each turn, and says nothing to the model.
                Part::CacheMark(_) => {}
                Part::Document(document) => {
                    self.begin(b'd');
                    self.word(document.title.as_deref().unwrap_or_default());
                    match &document.source {
                        DocumentSource::Text(text) => self.bytes(text.as_bytes()),
                        DocumentSource::Inline { base64, .. } => self.data(base64),
                        DocumentSource::Url(place) | DocumentSource::Upload(place) => {
                            self.data(place);
                        }
                    }
                }
                Part::Foreign(foreign) => {
                    self.begin(b'u');
                    self.value(&foreign.value);
                }
            }
        }
    }
}

/// The text without the line that changes with every call, as servers get it.
fn stable(text: &str) -> &str {
    match text.trim_start().starts_with(BILLING) {
        true => text.trim_start().split_once('\n').map_or("", |(_, rest)| rest.trim_start()),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Image, Message, Role, ToolCall};

    fn conversation(texts: &[&str]) -> ChatRequest {
        let roles = [Role::User, Role::Assistant].into_iter().cycle();
        let messages = roles.zip(texts).map(|(role, text)| Message::text(role, *text));
        ChatRequest { messages: messages.collect(), ..ChatRequest::default() }
    }

    /// How many beginnings two conversations have in common.
    fn common(one: &ChatRequest, other: &ChatRequest) -> usize {
        let (one, other) = (Chain::new(one), Chain::new(other));
        let pairs = one.beginnings().iter().zip(other.beginnings());
        pairs.take_while(|(one, other)| one.digest == other.digest).count()
    }

    #[test]
    fn a_conversation_that_goes_on_begins_as_it_began_before() {
        let one = conversation(&["who?", "me", "why?"]);
        let next = conversation(&["who?", "me", "why?", "so", "and?"]);
        assert_eq!(common(&one, &next), 3);
        let edited = conversation(&["who?", "you", "why?", "so", "and?"]);
        assert_eq!(common(&next, &edited), 1);
        assert_eq!(common(&conversation(&["ab", "c"]), &conversation(&["a", "bc"])), 0);
        assert_eq!(Chain::new(&next).size(), 16 + 5 * 2 * FRAME as u32);
    }

    #[test]
    fn everything_that_a_model_reads_counts() {
        let plain = conversation(&["a", "b", "c"]);
        let mut with_tool = plain.clone();
        with_tool.tools = vec![Tool { name: "look".to_owned(), ..Tool::default() }];
        assert_eq!(common(&plain, &with_tool), 0);
        let change = |change: fn(&mut Vec<Part>)| {
            let mut changed = plain.clone();
            change(&mut changed.messages[1].content);
            common(&plain, &changed)
        };
        let picture = |parts: &mut Vec<Part>| {
            let source = ImageSource::Url("http://x/y".to_owned());
            parts.push(Part::Image(Image { source, detail: None }));
        };
        let call = |parts: &mut Vec<Part>| {
            let (name, arguments) = ("look".to_owned(), "{}".to_owned());
            parts.push(Part::ToolCall(ToolCall { id: None, name, arguments }));
        };
        let mark = |parts: &mut Vec<Part>| {
            parts.push(Part::CacheMark(serde_json::json!({"type": "ephemeral"})));
        };
        assert_eq!([change(picture), change(call), change(mark)], [1, 1, 3]);
    }

    #[test]
    fn a_long_text_that_grows_begins_as_it_began() {
        let text = "word ".repeat(5_000);
        let longer = format!("{text}and more");
        let one = Chain::new(&conversation(&[&text]));
        assert_eq!(common(&conversation(&[&text]), &conversation(&[&longer])), 25_000 / BLOCK);
        assert_eq!(one.beginnings().len(), 25_000 / BLOCK + 1);
        let body = |end: &str| Chain::of_bytes(format!("{text}{end}").as_bytes());
        assert_eq!(body("a").beginnings()[..6], body("b").beginnings()[..6]);
        assert_ne!(body("a"), body("b"));
    }

    #[test]
    fn the_line_that_changes_with_every_call_does_not_count() {
        let billed = |bill: &str| {
            let rules = format!("x-anthropic-billing-header: cch={bill};\nRules.");
            Chain::new(&conversation(&[&rules, "me"]))
        };
        assert_eq!(billed("a"), billed("b"));
        assert_eq!(billed("a"), Chain::new(&conversation(&["Rules.", "me"])));
    }

    #[test]
    fn a_chain_is_bounded() {
        let many = conversation(&["x"; 6_000]);
        let chain = Chain::new(&many);
        assert_eq!(chain.beginnings().len(), MOST + 1);
        assert_eq!(chain.size(), 6_000 * (1 + 2 * FRAME as u32));
    }
}
