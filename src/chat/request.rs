//! What a client asks, free of the API it asked in.
//!
//! It owns the shapes of a conversation: messages, tools, sampling, the wanted format. It refuses nothing:
//! dialects check what clients send, backends refuse by name what their provider cannot express.
//!
//! A reader may expect text content to be one string. It is a list of parts, because three of the four APIs
//! mix text, images and tool traffic in one message.

use serde::Serialize;
use serde_json::{Map, Value};

use super::shape::AnswerShape;

/// One chat completion, as asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ChatRequest {
    /// The name the client asked for: a model, `provider/model`, or a generic name such as `local`.
    pub model: Option<String>,
    /// A routing hint such as `local`, `secure` or `fast`.
    pub hint: Option<String>,
    /// The conversation, oldest first. Empty only where the dialect gives that a meaning (loading a model).
    pub messages: Vec<Message>,
    /// The text behind a gap: what is wanted is the text between the last message, the user's, and this.
    pub suffix: Option<String>,
    /// Whether it came as a bare prompt and not as a conversation. A provider whose own API of bare prompts gives all that a
    /// model writes, its thinking included, is then read so.
    pub is_prompt: bool,
    /// Whether the client wants the answer piece by piece.
    pub stream: bool,
    /// How the provider is to choose tokens.
    pub sampling: Sampling,
    /// Functions the model may call.
    pub tools: Vec<Tool>,
    /// Tools that only the client's own API has, such as a search that its provider runs.
    pub hosted: Vec<HostedTool>,
    /// Whether and which of the tools must be called.
    pub tool_choice: ToolChoice,
    /// Whether several calls in one answer are welcome; `None` leaves it to the provider.
    pub parallel_tool_calls: Option<bool>,
    /// The shape of the answer's text.
    pub format: Format,
    /// How much the model is to think; `None` leaves it to the model.
    pub effort: Option<Effort>,
    /// Whether thinking is to be shown, in Anthropic's words: `summarized` or `omitted`.
    pub thinking_display: Option<String>,
    /// Log probabilities wanted, with this many alternatives per token (0 to 20).
    pub logprobs: Option<u8>,
    /// How many answers are wanted; `None` and 1 mean one.
    pub n: Option<u32>,
    /// Fields of the client's own API that the canonical model has no place for.
    pub extra: Option<Extra>,
    /// Fields of the client's own route, by name, that no provider could be told.
    pub untold: Vec<String>,
    /// What the client's dialect needs again to write the answer. It changes nothing of what is asked, so no
    /// backend reads it and it is no part of what is serialised.
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
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub content: Vec<Part>,
    /// The speaker's name, where the client gave one.
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

/// The speaker of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The operator's or application's instructions.
    System,
    /// The person asking.
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
    /// A picture.
    Image(Image),
    /// The model's earlier thinking, with the provider's signature if it gave one.
    Reasoning {
        /// The thinking itself.
        text: String,
        /// Opaque proof for the provider that made it; void at any other.
        signature: Option<String>,
    },
    /// A call the model made.
    ToolCall(ToolCall),
    /// What a called tool answered.
    ToolResult(ToolResult),
    /// Up to here the prompt is worth keeping: Anthropic's `cache_control` of the part before it, as sent.
    CacheMark(Value),
    /// A document.
    Document(Document),
    /// What only the client's own API has a word for.
    Foreign(Foreign),
}

/// A picture in a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Image {
    /// Where its bytes are.
    pub source: ImageSource,
    /// How closely to look: OpenAI's `detail`.
    pub detail: Option<String>,
}

/// Where a picture's bytes are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum ImageSource {
    /// In the request: standard base64 without line breaks.
    Inline {
        /// For example `image/png`.
        media_type: String,
        /// The base64 text.
        base64: String,
    },
    /// At an address. The gateway never fetches it.
    Url(String),
}

/// A document in a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// Where its bytes are.
    pub source: DocumentSource,
    /// Its title or the name of its file.
    pub title: Option<String>,
    /// What the client says about it, which is no part of it.
    pub context: Option<String>,
    /// Anthropic's wish for citations, as sent.
    pub citations: Option<Value>,
}

/// Where a document's bytes are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum DocumentSource {
    /// In the request: standard base64 without line breaks, of something that is no plain text.
    Inline {
        /// For example `application/pdf`.
        media_type: String,
        /// The base64 text.
        base64: String,
    },
    /// In the request, as text.
    Text(String),
    /// At an address. The gateway never fetches it.
    Url(String),
    /// Uploaded before, under this id, to a provider of the client's own API.
    Upload(String),
}

/// A block, an item or a part that the canonical model has no word for. It goes back as it came to a provider of its
/// API; for all others it is its text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Foreign {
    /// The API that knows it.
    pub api: Api,
    /// Its own `type`.
    pub kind: String,
    /// What it says, in words that any model understands; `None` where it says nothing.
    pub text: Option<String>,
    /// Whether an answer without it would be one to another question: it is refused where it was asked just now,
    /// and noted in the text where it is history.
    pub is_decisive: bool,
    /// As sent.
    pub value: Value,
}

/// A call to a tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCall {
    /// Links the call to its result; absent where the client's API has no ids.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

/// A tool's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolResult {
    /// The call it answers; absent where the client's API matches by position.
    pub call_id: Option<String>,
    /// The tool's name, where known.
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
    /// When to use it.
    pub description: Option<String>,
    /// A JSON Schema of its arguments; `None` means it takes none.
    pub parameters: Option<Value>,
    /// Whether arguments must follow the schema exactly.
    pub strict: Option<bool>,
    /// Anthropic's `cache_control` of the tool, as sent; see [`Part::CacheMark`].
    pub cache_mark: Option<Value>,
    /// Whether the conversation declares it on its way, in a [`Part::Foreign`] that a provider of the same API reads.
    pub is_late: bool,
    /// Fields of the client's own API that have no place here.
    pub extra: Option<Extra>,
}

/// A tool that only the client's own API has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostedTool {
    /// The API that has it.
    pub api: Api,
    /// How many of [`ChatRequest::tools`] stand before it.
    pub at: usize,
    /// Its own `type`.
    pub kind: String,
    /// The name by which it may be forced.
    pub name: String,
    /// As sent.
    pub value: Value,
}

/// Whether and which tools must be called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// No call.
    None,
    /// At least one call.
    Required,
    /// A call of this tool.
    Named(String),
}

/// The shape of the answer's text.
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

/// How much a model is to think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Not at all.
    None,
    /// Thinking on, the amount left to the model.
    On,
    /// Next to nothing.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// More than much.
    XHigh,
    /// As much as it can.
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
    /// Chat completions and their relatives.
    OpenAi,
    /// Ollama's own.
    Ollama,
    /// Messages.
    Anthropic,
    /// generateContent.
    Gemini,
}

/// Request fields with no place in the canonical model, kept for a provider that speaks the same API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Extra {
    /// The API they belong to.
    pub api: Api,
    /// Top-level fields, as sent.
    pub fields: Map<String, Value>,
}
