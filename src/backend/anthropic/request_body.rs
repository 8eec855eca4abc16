//! The JSON of Anthropic's requests.
//!
//! It borrows from the chat wherever it can, because pictures are large.

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::backend::history::media_type;
use crate::chat::{Document, DocumentSource, Image, ImageSource};
use crate::wire::json;

/// A request.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    pub(super) model: &'a str,
    pub(super) max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) system: Option<System<'a>>,
    pub(super) messages: Vec<Turn<'a>>,
    pub(super) stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_k: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<Offered<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thinking: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<Value>,
    /// An Anthropic client's own fields.
    #[serde(flatten, serialize_with = "json::entries")]
    pub(super) passed: Vec<(&'a str, &'a Value)>,
}

/// The fields that the gateway itself sets; a client's own fields of these names are not passed on.
pub(super) const OWN: &[&str] = &[
    "model",
    "max_tokens",
    "system",
    "messages",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
];

/// A tool: the client's own, or one that Anthropic hosts, as sent.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Offered<'a> {
    Function(Declaration<'a>),
    Hosted(&'a Value),
}

/// A tool.
#[derive(Serialize)]
pub(super) struct Declaration<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
    pub(super) input_schema: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<&'a Value>,
    /// An Anthropic client's own fields.
    #[serde(flatten, serialize_with = "json::entries")]
    pub(super) passed: Vec<(&'a str, &'a Value)>,
}

/// The system texts; as blocks only if one of them has a cache mark.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum System<'a> {
    Text(String),
    Blocks(Vec<Block<'a>>),
}

/// A message.
#[derive(Serialize)]
pub(super) struct Turn<'a> {
    pub(super) role: &'static str,
    #[serde(serialize_with = "text_or_blocks")]
    pub(super) content: Vec<Block<'a>>,
}

/// A part of a message, with the client's cache mark if it has one.
pub(super) struct Block<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) cache_control: Option<&'a Value>,
}

impl Serialize for Block<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Marked<'b, T> {
            #[serde(flatten)]
            kind: &'b T,
            #[serde(skip_serializing_if = "Option::is_none")]
            cache_control: Option<&'b Value>,
        }
        let cache_control = self.cache_control;
        match &self.kind {
            Kind::Foreign(kind) => Marked { kind: *kind, cache_control }.serialize(serializer),
            kind => Marked { kind, cache_control }.serialize(serializer),
        }
    }
}

impl<'a> From<Kind<'a>> for Block<'a> {
    fn from(kind: Kind<'a>) -> Self {
        Self { kind, cache_control: None }
    }
}

/// The content of a part of a message.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Kind<'a> {
    Text {
        text: &'a str,
    },
    Image {
        source: Source<'a>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: String,
        name: &'a str,
        input: Value,
    },
    ToolResult {
        tool_use_id: String,
        #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "text_or_blocks")]
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        context: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        citations: Option<&'a Value>,
    },
    /// As the client sent it.
    #[serde(skip)]
    Foreign(&'a Value),
}

impl<'a> Kind<'a> {
    pub(super) fn image(image: &'a Image) -> Self {
        let source = match &image.source {
            ImageSource::Url(url) => Source::Url { url },
            ImageSource::Inline { media_type: declared, base64 } => {
                Source::Base64 { media_type: media_type(declared, base64), data: base64 }
            }
        };
        Self::Image { source }
    }

    pub(super) fn document(document: &'a Document) -> Self {
        let source = match &document.source {
            DocumentSource::Url(url) => Source::Url { url },
            DocumentSource::Upload(file_id) => Source::File { file_id },
            DocumentSource::Text(data) => Source::Text { media_type: "text/plain", data },
            DocumentSource::Inline { media_type, base64 } => {
                Source::Base64 { media_type, data: base64 }
            }
        };
        Self::Document {
            source,
            title: document.title.as_deref(),
            context: document.context.as_deref(),
            citations: document.citations.as_ref(),
        }
    }
}

/// The source of a picture or a document.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Url { url: &'a str },
    Text { media_type: &'a str, data: &'a str },
    File { file_id: &'a str },
}

/// A single text without a mark is written as a string.
fn text_or_blocks<S: Serializer>(blocks: &[Block<'_>], serializer: S) -> Result<S::Ok, S::Error> {
    match blocks {
        [Block { kind: Kind::Text { text }, cache_control: None }] => {
            serializer.serialize_str(text)
        }
        blocks => serializer.collect_seq(blocks),
    }
}
