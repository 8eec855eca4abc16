//! What a client asks for: a chat, or one of the questions beside it.
//!
//! It owns the requests that are no chat, and what all requests have in common: a model, perhaps a hint, and whether
//! the answer comes piece by piece. It refuses nothing, as requests do.
//!
//! The one thing to know: every kind takes the same way through router, gate and provider. Only the dialect that
//! reads it, the backend that writes it, and the router's choice of capable providers tell the kinds apart.

use serde::Serialize;

use super::{ChatRequest, Extra, ReasoningField};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Ask {
    /// An answer to a conversation.
    Chat(ChatRequest),
    /// Vectors of texts.
    Embed(EmbedRequest),
    /// What is known about a model: Ollama's `/api/show`.
    Show(ShowRequest),
    /// How many tokens the prompt of a conversation has.
    CountTokens(ChatRequest),
}

/// Texts whose vectors are wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EmbedRequest {
    /// The name the client asked for.
    pub model: Option<String>,
    /// A routing hint.
    pub hint: Option<String>,
    /// The texts, in order; none where the dialect gives that a meaning (loading a model).
    pub input: Vec<String>,
    /// To how many numbers the vectors are cut; `None` leaves it to the model.
    pub dimensions: Option<u32>,
    /// Fields of the client's own API that have no place here.
    pub extra: Option<Extra>,
    /// Whether the client reads vectors as base64 of little-endian 32-bit floats. No backend reads it.
    #[serde(skip)]
    pub as_base64: bool,
}

/// A model about which everything is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ShowRequest {
    /// The name the client asked for.
    pub model: String,
    /// Whether the long parts are wanted too.
    pub verbose: bool,
}

impl Ask {
    /// The name the client asked for.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Chat(chat) | Self::CountTokens(chat) => chat.model.as_deref(),
            Self::Embed(embed) => embed.model.as_deref(),
            Self::Show(show) => Some(&show.model),
        }
    }

    /// The routing hint.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Chat(chat) | Self::CountTokens(chat) => chat.hint.as_deref(),
            Self::Embed(embed) => embed.hint.as_deref(),
            Self::Show(_) => None,
        }
    }

    /// Whether the client wants the answer piece by piece.
    #[must_use]
    pub fn stream(&self) -> bool {
        match self {
            Self::Chat(chat) => chat.stream,
            Self::Embed(_) | Self::Show(_) | Self::CountTokens(_) => false,
        }
    }

    /// Says under which names the answer tells what the model thought.
    pub fn tell_reasoning(&mut self, field: ReasoningField) {
        match self {
            Self::Chat(chat) => chat.shape.reasoning = field,
            Self::Embed(_) | Self::Show(_) | Self::CountTokens(_) => {}
        }
    }

    /// The chat, where it is one.
    #[must_use]
    pub fn chat(&self) -> Option<&ChatRequest> {
        match self {
            Self::Chat(chat) => Some(chat),
            Self::Embed(_) | Self::Show(_) | Self::CountTokens(_) => None,
        }
    }
}
