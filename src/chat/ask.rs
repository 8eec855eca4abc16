//! What a client asks for: a chat, embeddings, facts about a model, or a token count.
//!
//! It owns the requests that are not chats, and the fields that all requests have: a model, perhaps
//! a hint, and whether the answer is streamed. It validates nothing; dialects do.
//!
//! The one thing to know: every kind of request takes the same way through router, gate and
//! provider. Only the dialect that reads it, the backend that writes it, and the router's choice of
//! capable providers distinguish the kinds.

use serde::Serialize;

use super::{ChatRequest, Extra, RawRequest, ReasoningField};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Ask {
    /// An answer to a conversation.
    Chat(ChatRequest),
    /// Embeddings of texts.
    Embed(EmbedRequest),
    /// The facts about a model: Ollama's `/api/show`.
    Show(ShowRequest),
    /// The number of tokens in the prompt of a conversation.
    CountTokens(ChatRequest),
    /// Whatever a path that is passed on means.
    Raw(RawRequest),
}

/// A request for the embeddings of texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EmbedRequest {
    /// The model name that the client sent.
    pub model: Option<String>,
    /// A routing hint.
    pub hint: Option<String>,
    /// The texts, in order; empty only if the dialect gives that a meaning (loading a model).
    pub input: Vec<String>,
    /// The number of dimensions to which the vectors are cut; `None` leaves it to the model.
    pub dimensions: Option<u32>,
    /// Fields of the client's own API that the canonical model has no field for.
    pub extra: Option<Extra>,
    /// Whether the client wants vectors as base64 of little-endian 32-bit floats. No backend reads
    /// it.
    #[serde(skip)]
    pub as_base64: bool,
}

/// A request for the facts about a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ShowRequest {
    /// The model name that the client sent.
    pub model: String,
    /// Whether the client wants the long parts too.
    pub verbose: bool,
}

impl Ask {
    /// The model name that the client sent.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Chat(chat) | Self::CountTokens(chat) => chat.model.as_deref(),
            Self::Embed(embed) => embed.model.as_deref(),
            Self::Show(show) => Some(&show.model),
            Self::Raw(raw) => raw.model.as_deref(),
        }
    }

    /// The routing hint.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Chat(chat) | Self::CountTokens(chat) => chat.hint.as_deref(),
            Self::Embed(embed) => embed.hint.as_deref(),
            Self::Show(_) | Self::Raw(_) => None,
        }
    }

    /// Whether the client wants the answer streamed.
    #[must_use]
    pub fn stream(&self) -> bool {
        match self {
            Self::Chat(chat) => chat.stream,
            Self::Raw(_) => true,
            Self::Embed(_) | Self::Show(_) | Self::CountTokens(_) => false,
        }
    }

    /// Sets the names of the fields in which the answer has the model's reasoning.
    pub fn set_reasoning_field(&mut self, field: ReasoningField) {
        match self {
            Self::Chat(chat) => chat.shape.reasoning = field,
            Self::Embed(_) | Self::Show(_) | Self::CountTokens(_) | Self::Raw(_) => {}
        }
    }

    /// The chat, if it is one.
    #[must_use]
    pub fn chat(&self) -> Option<&ChatRequest> {
        match self {
            Self::Chat(chat) => Some(chat),
            Self::Embed(_) | Self::Show(_) | Self::CountTokens(_) | Self::Raw(_) => None,
        }
    }

    /// The request that is passed on without being understood, where it is one.
    #[must_use]
    pub fn raw(&self) -> Option<&RawRequest> {
        match self {
            Self::Raw(raw) => Some(raw),
            Self::Chat(_) | Self::Embed(_) | Self::Show(_) | Self::CountTokens(_) => None,
        }
    }

    /// Whether it manages models.
    #[must_use]
    pub fn manages(&self) -> bool {
        self.raw().is_some_and(RawRequest::manages)
    }
}
