//! The name of the reasoning field in answers to chat clients of OpenAI's kind.
//!
//! The one thing to know: a client that reads both names would show the reasoning twice; no such
//! client is known.

use serde::{Deserialize, Serialize};

/// `server.reasoning_field`: the names under which chat clients of OpenAI's kind get the model's
/// reasoning. OpenAI has no such field, and compatible servers use two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningField {
    /// Under both, since nearly every client reads only one of them.
    #[default]
    Both,
    /// The name that DeepSeek and llama.cpp use.
    ReasoningContent,
    /// The name that Ollama, vLLM and OpenRouter use.
    Reasoning,
}

impl ReasoningField {
    /// The text under the names `reasoning_content` and `reasoning`.
    #[must_use]
    pub fn named(self, text: &str) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Both => (Some(text), Some(text)),
            Self::ReasoningContent => (Some(text), None),
            Self::Reasoning => (None, Some(text)),
        }
    }
}
