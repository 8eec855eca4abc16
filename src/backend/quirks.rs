//! Settings of one provider that differ from what is usual for its kind.
//!
//! It owns their words in the configuration. Differences that an answer or a model's name tells
//! need no setting and are not here.

use serde::{Deserialize, Serialize};

/// The settings particular to one provider. The default is what is usual for its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Whether a server with OpenAI's API refuses to count the tokens of streams, so that it is not
    /// asked to.
    pub no_stream_usage: bool,
    /// Whether such a server gets the thinking of earlier turns; `None` decides by the model's
    /// name.
    pub reasoning_back: Option<bool>,
    /// The name of the limit of tokens at such a server.
    pub limit_field: LimitField,
    /// The limit of tokens for requests without one; `None` leaves it to the API.
    pub default_max_tokens: Option<u32>,
    /// The version of Anthropic's API.
    pub api_version: ApiVersion,
    /// Where a server with OpenAI's API accepts system messages.
    pub system: SystemPlace,
    /// Whether it gets what a client varies with every call and only the client's own vendor reads.
    pub keeps_volatile: bool,
}

/// Where a server accepts system messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemPlace {
    /// Any number of them, anywhere.
    #[default]
    Anywhere,
    /// One, as the first message: the templates of many models demand it.
    First,
}

/// The name of the limit of tokens at a server with OpenAI's API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitField {
    /// By the model's name: the newer name for OpenAI's own models, the older one for all others.
    #[default]
    Auto,
    /// The older name, which every server knows but not every model accepts.
    MaxTokens,
    /// The newer name.
    MaxCompletionTokens,
}

/// A version of Anthropic's API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiVersion {
    /// The version that nearly all clients use.
    #[default]
    #[serde(rename = "2023-06-01")]
    V2023,
    /// The later version, without `temperature`, `top_p` and `top_k`.
    #[serde(rename = "2026-10-21")]
    V2026,
}

impl ApiVersion {
    /// The version as written in the header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2023 => "2023-06-01",
            Self::V2026 => "2026-10-21",
        }
    }

    /// Whether requests may set the temperature and other sampling.
    #[must_use]
    pub fn has_sampling(self) -> bool {
        match self {
            Self::V2023 => true,
            Self::V2026 => false,
        }
    }
}
