//! What is particular to one provider of a kind, where its kind alone does not tell.
//!
//! It owns the words for it in the configuration. What needs no word, because an answer or a model's name tells it, is
//! not here.

use serde::{Deserialize, Serialize};

/// What is particular to one provider. The default is what is usual for its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Whether a server that speaks OpenAI's API is not asked to count the tokens of streams, because it refuses to be.
    pub no_stream_usage: bool,
    /// Whether such a server is given back what its model thought in earlier turns; `None`: by the model's name.
    pub reasoning_back: Option<bool>,
    /// How such a server calls the limit of tokens.
    pub limit_field: LimitField,
    /// The limit of tokens for requests without one; `None`: the API's own.
    pub default_max_tokens: Option<u32>,
    /// The version of Anthropic's API.
    pub api_version: ApiVersion,
    /// Where a server that speaks OpenAI's API takes system texts.
    pub system: SystemPlace,
    /// Whether it is the service of the vendor whose API it is, and not one that speaks the same.
    pub is_vendor: bool,
    /// Whether the operator runs it.
    pub is_local: bool,
}

/// Where a server takes system texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemPlace {
    /// In any number, at any place.
    #[default]
    Anywhere,
    /// One, at the beginning: what the templates of many models insist on.
    First,
}

/// How a server that speaks OpenAI's API calls the limit of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitField {
    /// By the model's name: the newer word for OpenAI's own models, the older one for all others.
    #[default]
    Auto,
    /// The older word, which every server knows, but not every model takes.
    MaxTokens,
    /// The newer word.
    MaxCompletionTokens,
}

/// A version of Anthropic's API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiVersion {
    /// What nearly all clients speak.
    #[default]
    #[serde(rename = "2023-06-01")]
    V2023,
    /// The later one, which has no `temperature`, `top_p` and `top_k`.
    #[serde(rename = "2026-10-21")]
    V2026,
}

impl ApiVersion {
    /// As it stands in the header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2023 => "2023-06-01",
            Self::V2026 => "2026-10-21",
        }
    }

    /// Whether answers can be tuned by temperature and its like.
    #[must_use]
    pub fn has_sampling(self) -> bool {
        match self {
            Self::V2023 => true,
            Self::V2026 => false,
        }
    }
}
