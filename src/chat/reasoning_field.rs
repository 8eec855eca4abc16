//! What a model's thinking is called in answers to chat clients of OpenAI's kind.
//!
//! The one thing to know: a client that read both names would show the thinking twice; none is known that does.

use serde::{Deserialize, Serialize};

/// `server.reasoning_field`: under which names chat clients of OpenAI's kind read what the model thought. OpenAI has none,
/// and their servers have two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningField {
    /// Under both, since nearly every client reads only one of them.
    #[default]
    Both,
    /// DeepSeek's and llama.cpp's name.
    ReasoningContent,
    /// Ollama's, vLLM's and OpenRouter's name.
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
