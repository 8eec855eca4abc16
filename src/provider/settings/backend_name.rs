//! The kinds of provider APIs: their names in the configuration, their code, and their usual
//! values.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::backend::{Anthropic, Backend, Gemini, Ollama, OpenAi};
use crate::chat::{ApiWord, Endpoint};
use crate::policy::Trust;

/// A kind of provider API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendName {
    /// Ollama's own API.
    #[default]
    Ollama,
    /// OpenAI's chat completions, and compatible APIs.
    Openai,
    /// Google's Gemini API.
    Gemini,
    /// Anthropic's Messages API.
    Anthropic,
}

impl BackendName {
    /// Every backend, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Ollama, Self::Openai, Self::Gemini, Self::Anthropic];

    /// The names of the backends, as listed in a message.
    pub fn all() -> String {
        Self::ALL.map(Self::as_str).join(" or ")
    }

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::Openai => "openai",
            Self::Gemini => "gemini",
            Self::Anthropic => "anthropic",
        }
    }

    /// The name in OpenTelemetry's conventions for generative AI, which have none for Ollama.
    pub fn system(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::Openai => "openai",
            Self::Gemini => "gcp.gemini",
            Self::Anthropic => "anthropic",
        }
    }

    /// The code for this backend: the table of all backends.
    pub fn spoken(self) -> &'static dyn Backend {
        match self {
            Self::Ollama => &Ollama,
            Self::Openai => &OpenAi,
            Self::Gemini => &Gemini,
            Self::Anthropic => &Anthropic,
        }
    }

    /// The address that the provider's own clients use by default.
    pub fn base_url(self) -> &'static str {
        match self {
            Self::Ollama => "http://localhost:11434",
            Self::Openai => "https://api.openai.com/v1",
            Self::Gemini => "https://generativelanguage.googleapis.com",
            Self::Anthropic => "https://api.anthropic.com",
        }
    }

    /// The model for requests that name none, where the original service had one; else empty.
    pub fn default_model(self) -> &'static str {
        match self {
            Self::Ollama => "llama3.1",
            Self::Gemini => "gemini-2.5-flash",
            Self::Openai | Self::Anthropic => "",
        }
    }

    /// The APIs that such a provider usually speaks as their vendors do. OpenAI itself has one
    /// more.
    pub fn apis(self, base_url: &str) -> &'static [ApiWord] {
        use ApiWord::{
            Chat, Completions, CountTokens, Embed, EmbedContent, Embeddings, Generate,
            GenerateContent, Messages, Responses,
        };
        let is_openai = base_url.starts_with("https://api.openai.com/");
        match self {
            Self::Ollama => &[Chat, Generate, Embed],
            Self::Openai if is_openai => &[Chat, Completions, Embeddings, Responses],
            Self::Openai => &[Chat, Completions, Embeddings],
            Self::Anthropic => &[Messages, CountTokens],
            Self::Gemini => &[GenerateContent, CountTokens, EmbedContent],
        }
    }

    /// Whether requests in this API can be passed on to its providers.
    pub fn may_speak(self, word: ApiWord) -> bool {
        let spoken = self.spoken();
        Endpoint::ALL.iter().any(|one| one.word() == word && spoken.path(*one).is_some())
    }

    /// Whether its providers install models when they are asked to.
    pub fn installs_models(self) -> bool {
        match self {
            Self::Ollama => true,
            Self::Openai | Self::Gemini | Self::Anthropic => false,
        }
    }

    /// The usual trust: the operator runs Ollama, other companies run the rest.
    pub fn trust(self) -> Trust {
        match self {
            Self::Ollama => Trust::Local,
            Self::Openai | Self::Gemini | Self::Anthropic => Trust::Cloud,
        }
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_written_as_it_prints() {
        for backend in BackendName::ALL {
            assert_eq!(serde_json::json!(backend), serde_json::json!(backend.to_string()));
        }
    }
}
