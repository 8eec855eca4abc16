//! A chat request, independent of the API it came in.
//!
//! It owns the shapes of a conversation: messages, tools, sampling, the answer's format. It
//! validates nothing: dialects check what clients send, and backends reject by name what their
//! provider cannot express.
//!
//! A reader may expect text content to be one string. It is a list of parts, because three of the
//! four APIs mix text, images and tool calls in one message.

use serde::Serialize;
use serde_json::{Map, Value};

use super::shape::AnswerShape;

/// A request for one chat completion.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ChatRequest {
    /// The model name that the client sent: a model, `provider/model`, or a generic name such as
    /// `local`.
    pub model: Option<String>,
    /// A routing hint such as `local`, `secure` or `fast`.
    pub hint: Option<String>,
    /// The conversation, oldest first. Empty only if the dialect gives that a meaning (loading a
    /// model).
    pub messages: Vec<Message>,
    /// The text after a gap: the model fills in between the last message, which is the user's, and
    /// this.
    pub suffix: Option<String>,
    /// Whether it came as a bare prompt instead of a conversation. A provider whose own API for
    /// bare prompts returns everything that the model writes, reasoning included, then gets it in
    /// that API.
    pub is_prompt: bool,
    /// Whether the client wants the answer streamed.
    pub stream: bool,
    /// How the provider is to choose tokens.
    pub sampling: Sampling,
    /// Functions that the model may call.
    pub tools: Vec<Tool>,
    /// Tools that only the client's own API has, such as a search that its provider runs.
    pub hosted: Vec<HostedTool>,
    /// Whether the model must call tools, and which.
    pub tool_choice: ToolChoice,
    /// Whether one answer may hold several calls; `None` leaves it to the provider.
    pub parallel_tool_calls: Option<bool>,
    /// The format of the answer's text.
    pub format: Format,
    /// How much the model should think; `None` leaves it to the model.
    pub effort: Option<Effort>,
    /// Whether the reasoning is shown, in Anthropic's terms: `summarized` or `omitted`.
    pub thinking_display: Option<String>,
    /// The number of alternatives per token (0 to 20) if log probabilities are wanted.
    pub logprobs: Option<u8>,
    /// How many answers are wanted; `None` and 1 mean one.
    pub n: Option<u32>,
    /// Fields of the client's own API that the canonical model has no field for.
    pub extra: Option<Extra>,
    /// Names of fields that were read but cannot be sent to any provider.
    pub dropped: Vec<String>,
    /// What the client's dialect needs to write the answer. It is not part of the question, so no
    /// backend reads it and it is not serialised.
    #[serde(skip)]
    pub shape: AnswerShape,
}

/// Token selection. Every field is optional: absent means the provider's own default.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sampling {
    /// Upper bound of tokens to generate.
    pub max_tokens: Option<u32>,
    /// Usually 0 to 2.
    pub temperature: Option<f64>,
    /// Nucleus sampling, 0 to 1.
    pub top_p: Option<f64>,
    /// Only the k most likely tokens.
    pub top_k: Option<u32>,
    /// Minimum probability relative to the best token.
    pub min_p: Option<f64>,
    /// −2 to 2.
    pub presence_penalty: Option<f64>,
    /// −2 to 2.
    pub frequency_penalty: Option<f64>,
    /// A multiplicative penalty, 1 means none.
    pub repeat_penalty: Option<f64>,
    /// For reproducible answers, as far as the provider can.
    pub seed: Option<i64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// The author.
    pub role: Role,
    /// The parts, in order.
    pub content: Vec<Part>,
    /// The author's name, if the client sent one.
    pub name: Option<String>,
}

impl Message {
    /// A message of one text.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, content: vec![Part::Text(text.into())], name: None }
    }

    /// The text parts, joined by line feeds.
    #[must_use]
    pub fn joined_text(&self) -> String {
        let mut texts = self.content.iter().filter_map(Part::as_text);
        let mut joined = texts.next().unwrap_or_default().to_owned();
        for text in texts {
            joined.push('\n');
            joined.push_str(text);
        }
        joined
    }
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The operator's or application's instructions.
    System,
    /// The person who asks.
    User,
    /// The model.
    Assistant,
    /// The results of tool calls.
    Tool,
}

impl Role {
    /// The name that OpenAI, Ollama and the native dialect use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One piece of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Part {
    /// Plain text.
    Text(String),
    /// An image.
    Image(Image),
    /// The model's earlier reasoning, with the provider's signature if there is one.
    Reasoning {
        /// The text.
        text: String,
        /// Opaque proof for the provider that made it; void at any other.
        signature: Option<String>,
    },
    /// A call that the model made.
    ToolCall(ToolCall),
    /// The answer of a called tool.
    ToolResult(ToolResult),
    /// Marks the prompt up to here as worth caching: Anthropic's `cache_control` of the part before
    /// it, as sent.
    CacheMark(Value),
    /// A document.
    Document(Document),
    /// A part that only the client's own API knows.
    Foreign(Foreign),
}

/// An image in a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Image {
    /// The source of its bytes.
    pub source: ImageSource,
    /// The resolution: OpenAI's `detail`.
    pub detail: Option<String>,
}

/// The source of an image's bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum ImageSource {
    /// In the request: standard base64 without line breaks.
    Inline {
        /// For example `image/png`.
        media_type: String,
        /// The base64 text.
        base64: String,
    },
    /// At a URL. The gateway never fetches it.
    Url(String),
}

/// A document in a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// The source of its bytes.
    pub source: DocumentSource,
    /// Its title or file name.
    pub title: Option<String>,
    /// The client's remark about it, which is not part of it.
    pub context: Option<String>,
    /// Anthropic's setting for citations, as sent.
    pub citations: Option<Value>,
}

/// The source of a document's bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum DocumentSource {
    /// In the request: standard base64 without line breaks, of anything but plain text.
    Inline {
        /// For example `application/pdf`.
        media_type: String,
        /// The base64 text.
        base64: String,
    },
    /// In the request, as text.
    Text(String),
    /// At a URL. The gateway never fetches it.
    Url(String),
    /// Uploaded before, under this id, to a provider of the client's own API.
    Upload(String),
}

/// A block, an item or a part that the canonical model does not know. A provider of its API gets it
/// unchanged; all others get its text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Foreign {
    /// Its API.
    pub api: Api,
    /// Its own `type`.
    pub kind: String,
    /// Its content as plain text; `None` if it has none.
    pub text: Option<String>,
    /// Whether an answer would be wrong without it: it is refused in the latest message, and noted
    /// in the text if it is history.
    pub is_decisive: bool,
    /// As sent.
    pub value: Value,
}

/// A call to a tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCall {
    /// Links the call to its result; absent if the client's API has no ids.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

/// The answer of a tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolResult {
    /// The call it answers; absent if the client's API matches by position.
    pub call_id: Option<String>,
    /// The tool's name, if known.
    pub name: Option<String>,
    /// Text and images.
    pub content: Vec<Part>,
    /// Whether the tool failed.
    pub is_error: bool,
}

/// A function that the model may call.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its purpose, for the model.
    pub description: Option<String>,
    /// A JSON Schema of its arguments; `None` means no arguments.
    pub parameters: Option<Value>,
    /// Whether arguments must follow the schema exactly.
    pub strict: Option<bool>,
    /// Anthropic's `cache_control` of the tool, as sent; see [`Part::CacheMark`].
    pub cache_mark: Option<Value>,
    /// Whether it is declared in the middle of the conversation, in a [`Part::Foreign`] that a
    /// provider of the same API reads.
    pub is_late: bool,
    /// Fields of the client's own API that the canonical model has no field for.
    pub extra: Option<Extra>,
}

/// A tool that only the client's own API has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostedTool {
    /// Its API.
    pub api: Api,
    /// Its position: how many of [`ChatRequest::tools`] come before it.
    pub at: usize,
    /// Its own `type`.
    pub kind: String,
    /// The name by which a call can be forced.
    pub name: String,
    /// As sent.
    pub value: Value,
}

/// Whether the model must call tools, and which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// No calls.
    None,
    /// At least one call.
    Required,
    /// A call of this tool.
    Named(String),
}

/// The format of the answer's text.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub enum Format {
    /// Free text.
    #[default]
    Text,
    /// Some JSON object.
    Json,
    /// JSON that fits a schema.
    Schema {
        /// OpenAI's name for the schema.
        name: Option<String>,
        /// What the schema is for.
        description: Option<String>,
        /// The JSON Schema.
        schema: Value,
        /// Whether the answer must follow it exactly.
        strict: Option<bool>,
    },
}

/// How much a model should think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Not at all.
    None,
    /// Thinking is on, the amount is left to the model.
    On,
    /// Almost none.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// A lot.
    High,
    /// More than a lot.
    XHigh,
    /// As much as possible.
    Max,
    /// At most this many tokens.
    Budget(u32),
}

/// The APIs that a client or a provider may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// The gateway's own.
    Native,
    /// OpenAI's chat completions and related APIs.
    OpenAi,
    /// Ollama's own.
    Ollama,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's generateContent.
    Gemini,
}

/// Request fields that the canonical model has no field for, kept for a provider of the same API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Extra {
    /// Their API.
    pub api: Api,
    /// Top-level fields, as sent.
    pub fields: Map<String, Value>,
}
