//! A request that is passed on as it came, because a provider speaks the very API that it was made in.
//!
//! It owns the list of the paths that can be carried and what of a request travels beside its bytes. It refuses
//! nothing: whoever is asked to translate the request after all finds the refusal in it, where there is one.
//!
//! The one thing to know: a carried request is read all the same, for what the gateway decides: model, stream, limits.
//! Whether one is carried is decided for each provider by itself.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::GatewayError;

/// A path of a vendor's API whose requests can be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Endpoint {
    /// OpenAI's chat completions.
    OpenAiChat,
    /// OpenAI's completions of prompts.
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
}

/// The words for such paths in the configuration.
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
    /// Anthropic's count of tokens.
    CountTokens,
    /// Ollama's `/api/generate`.
    Generate,
    /// Ollama's `/api/embed`.
    Embed,
}

impl Endpoint {
    /// Every one of them.
    pub const ALL: [Self; 9] = [
        Self::OpenAiChat,
        Self::OpenAiCompletions,
        Self::OpenAiEmbeddings,
        Self::OpenAiResponses,
        Self::AnthropicMessages,
        Self::AnthropicCount,
        Self::OllamaChat,
        Self::OllamaGenerate,
        Self::OllamaEmbed,
    ];

    /// Its word in the configuration.
    #[must_use]
    pub fn word(self) -> ApiWord {
        match self {
            Self::OpenAiChat | Self::OllamaChat => ApiWord::Chat,
            Self::OpenAiCompletions => ApiWord::Completions,
            Self::OpenAiEmbeddings => ApiWord::Embeddings,
            Self::OpenAiResponses => ApiWord::Responses,
            Self::AnthropicMessages => ApiWord::Messages,
            Self::AnthropicCount => ApiWord::CountTokens,
            Self::OllamaGenerate => ApiWord::Generate,
            Self::OllamaEmbed => ApiWord::Embed,
        }
    }

    /// Whether the answer is streamed when the request does not say.
    #[must_use]
    pub fn streams_by_default(self) -> bool {
        match self {
            Self::OllamaChat | Self::OllamaGenerate => true,
            Self::OpenAiChat
            | Self::OpenAiCompletions
            | Self::OpenAiEmbeddings
            | Self::OpenAiResponses
            | Self::AnthropicMessages
            | Self::AnthropicCount
            | Self::OllamaEmbed => false,
        }
    }

    /// Whether a model writes something, streamed if that is wanted.
    #[must_use]
    pub fn generates(self) -> bool {
        match self {
            Self::OpenAiChat
            | Self::OpenAiCompletions
            | Self::OpenAiResponses
            | Self::AnthropicMessages
            | Self::OllamaChat
            | Self::OllamaGenerate => true,
            Self::OpenAiEmbeddings | Self::AnthropicCount | Self::OllamaEmbed => false,
        }
    }
}

impl ApiWord {
    /// Every one of them.
    pub const ALL: [Self; 8] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::Generate,
        Self::Embed,
    ];

    /// As it is written.
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
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Carry {
    /// Whether a repetition is another request: it changes something at the provider.
    pub changes_state: bool,
    /// Where it was asked.
    pub endpoint: Endpoint,
    /// Its body, a JSON object.
    pub body: Bytes,
    /// Its headers that mean something to the provider, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Its query, without the question mark; empty without one.
    pub query: String,
    /// Whether its answer is to be streamed.
    pub stream: bool,
    /// A digest of all that the bytes of its answer depend on beside what is asked: the form that the client reads.
    pub form: u64,
    /// Whether nothing beside its body says that the gateway's own reading of it is not all that it says.
    pub may_be_plain: bool,
    /// Why it can only be carried, where the gateway has no words to translate it.
    pub refusal: Option<GatewayError>,
}

/// Bytes of an answer that go to the client as they are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The bytes: whole pieces of a stream, or all of an answer.
    pub bytes: Vec<u8>,
    /// How many of the events right behind it say the same again, for those who watch.
    pub covers: u32,
    /// The form that they have; see [`Carry::form`].
    pub form: u64,
    /// Whether they may hold a part of the answer that those events do not tell.
    pub has_more: bool,
}

impl std::fmt::Debug for Carried {
    /// Without the bytes, which are somebody's conversation.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (bytes, covers) = (self.bytes.len(), self.covers);
        write!(formatter, "Carried({bytes} bytes, {covers} events)")
    }
}
