//! A request that is passed on as it came, because a provider speaks the client's own API.
//!
//! It owns the list of the paths that can be carried and what travels beside a request's bytes. It
//! refuses nothing: a request that cannot be translated holds the refusal, for the case that a
//! provider needs a translation.
//!
//! The one thing to know: a carried request is parsed all the same, for what the gateway decides
//! by: model, stream, limits. Whether a request is carried is decided for each provider separately.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::GatewayError;

/// A path of a vendor's API whose requests can be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Endpoint {
    /// OpenAI's chat completions.
    OpenAiChat,
    /// OpenAI's legacy completions.
    OpenAiCompletions,
    /// OpenAI's embeddings.
    OpenAiEmbeddings,
    /// OpenAI's responses.
    OpenAiResponses,
    /// Anthropic's messages.
    AnthropicMessages,
    /// Anthropic's count of a conversation's tokens.
    AnthropicCount,
    /// Ollama's `/api/chat`.
    OllamaChat,
    /// Ollama's `/api/generate`.
    OllamaGenerate,
    /// Ollama's `/api/embed`.
    OllamaEmbed,
    /// Gemini's `:generateContent`.
    GeminiGenerate,
    /// Gemini's `:streamGenerateContent`.
    GeminiStream,
    /// Gemini's `:countTokens`.
    GeminiCount,
    /// Gemini's `:embedContent`.
    GeminiEmbed,
    /// Gemini's `:batchEmbedContents`.
    GeminiBatchEmbed,
}

/// The names of such paths in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiWord {
    /// Chat completions, or Ollama's `/api/chat`.
    Chat,
    /// Completions of prompts.
    Completions,
    /// OpenAI's embeddings.
    Embeddings,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// Anthropic's count of tokens, or Gemini's.
    CountTokens,
    /// Ollama's `/api/generate`.
    Generate,
    /// Ollama's `/api/embed`.
    Embed,
    /// Gemini's `:generateContent` and `:streamGenerateContent`.
    GenerateContent,
    /// Gemini's `:embedContent` and `:batchEmbedContents`.
    EmbedContent,
}

impl Endpoint {
    /// All endpoints.
    pub const ALL: [Self; 14] = [
        Self::OpenAiChat,
        Self::OpenAiCompletions,
        Self::OpenAiEmbeddings,
        Self::OpenAiResponses,
        Self::AnthropicMessages,
        Self::AnthropicCount,
        Self::OllamaChat,
        Self::OllamaGenerate,
        Self::OllamaEmbed,
        Self::GeminiGenerate,
        Self::GeminiStream,
        Self::GeminiCount,
        Self::GeminiEmbed,
        Self::GeminiBatchEmbed,
    ];

    /// Its name in the configuration.
    #[must_use]
    pub fn word(self) -> ApiWord {
        match self {
            Self::OpenAiChat | Self::OllamaChat => ApiWord::Chat,
            Self::OpenAiCompletions => ApiWord::Completions,
            Self::OpenAiEmbeddings => ApiWord::Embeddings,
            Self::OpenAiResponses => ApiWord::Responses,
            Self::AnthropicMessages => ApiWord::Messages,
            Self::AnthropicCount | Self::GeminiCount => ApiWord::CountTokens,
            Self::OllamaGenerate => ApiWord::Generate,
            Self::OllamaEmbed => ApiWord::Embed,
            Self::GeminiGenerate | Self::GeminiStream => ApiWord::GenerateContent,
            Self::GeminiEmbed | Self::GeminiBatchEmbed => ApiWord::EmbedContent,
        }
    }

    /// Whether the answer is streamed when the request does not say.
    #[must_use]
    pub fn streams_by_default(self) -> bool {
        match self {
            Self::OllamaChat | Self::OllamaGenerate | Self::GeminiStream => true,
            Self::OpenAiChat
            | Self::OpenAiCompletions
            | Self::OpenAiEmbeddings
            | Self::OpenAiResponses
            | Self::AnthropicMessages
            | Self::AnthropicCount
            | Self::OllamaEmbed
            | Self::GeminiGenerate
            | Self::GeminiCount
            | Self::GeminiEmbed
            | Self::GeminiBatchEmbed => false,
        }
    }

    /// Whether a model generates text, streamed if the client wants that.
    #[must_use]
    pub fn generates(self) -> bool {
        match self {
            Self::OpenAiChat
            | Self::OpenAiCompletions
            | Self::OpenAiResponses
            | Self::AnthropicMessages
            | Self::OllamaChat
            | Self::OllamaGenerate
            | Self::GeminiGenerate
            | Self::GeminiStream => true,
            Self::OpenAiEmbeddings
            | Self::AnthropicCount
            | Self::OllamaEmbed
            | Self::GeminiCount
            | Self::GeminiEmbed
            | Self::GeminiBatchEmbed => false,
        }
    }

    /// Whether it is one of Gemini's, where the path has the model and the method, and the body
    /// neither.
    #[must_use]
    pub fn is_gemini(self) -> bool {
        match self {
            Self::GeminiGenerate
            | Self::GeminiStream
            | Self::GeminiCount
            | Self::GeminiEmbed
            | Self::GeminiBatchEmbed => true,
            Self::OpenAiChat
            | Self::OpenAiCompletions
            | Self::OpenAiEmbeddings
            | Self::OpenAiResponses
            | Self::AnthropicMessages
            | Self::AnthropicCount
            | Self::OllamaChat
            | Self::OllamaGenerate
            | Self::OllamaEmbed => false,
        }
    }
}

impl ApiWord {
    /// All names.
    pub const ALL: [Self; 10] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::Generate,
        Self::Embed,
        Self::GenerateContent,
        Self::EmbedContent,
    ];

    /// The name as written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Generate => "generate",
            Self::Embed => "embed",
            Self::GenerateContent => "generate_content",
            Self::EmbedContent => "embed_content",
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Carry {
    /// Whether the request changes something at the provider, so that a repetition is another
    /// request.
    pub changes_state: bool,
    /// The endpoint of the request.
    pub endpoint: Endpoint,
    /// Its body, a JSON object.
    pub body: Bytes,
    /// The headers that matter to the provider, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The query without the question mark; empty if there is none.
    pub query: String,
    /// Whether its answer is to be streamed.
    pub stream: bool,
    /// A digest of everything beside the question that the bytes of the answer depend on: the form
    /// that the client reads.
    pub form: u64,
    /// Whether the gateway's own parse of the body may hold everything the request says: no header
    /// and no query parameter adds to it.
    pub may_be_plain: bool,
    /// Why the request can only be carried, if the gateway cannot translate it.
    pub refusal: Option<GatewayError>,
}

/// Bytes of an answer that go to the client unchanged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The bytes: complete pieces of a stream, or a whole answer.
    pub bytes: Vec<u8>,
    /// How many of the events right behind it repeat its content, for observers.
    pub covers: u32,
    /// The form of the bytes; see [`Carry::form`].
    pub form: u64,
    /// Whether the bytes may hold a part of the answer that those events lack.
    pub has_more: bool,
}

impl Carry {
    /// Whether its stream is a JSON list instead of events.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.endpoint == Endpoint::GeminiStream && is_list(&self.query)
    }
}

/// Whether a client of Gemini's API reads a stream as a JSON list, according to the query.
#[must_use]
pub fn is_list(query: &str) -> bool {
    !query.split('&').any(|pair| pair == "alt=sse")
}

impl std::fmt::Debug for Carried {
    /// Without the bytes, which are a client's conversation.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (bytes, covers) = (self.bytes.len(), self.covers);
        write!(formatter, "Carried({bytes} bytes, {covers} events)")
    }
}
