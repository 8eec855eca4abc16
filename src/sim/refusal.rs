//! Refusals: their status, and Ollama's words for them.
//!
//! Owns the texts that more than one place needs. The endpoint chooses the envelope: `/api` wraps
//! the text in `{"error": "…"}`, `/v1` in OpenAI's error object.

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The message for the client.
    pub text: String,
}

impl Refusal {
    /// The request is invalid: 400.
    pub fn bad(text: impl Into<String>) -> Self {
        Self { status: 400, text: text.into() }
    }

    /// The model is not installed: 404, with the name as the client wrote it.
    pub fn not_found(model: &str) -> Self {
        Self { status: 404, text: format!("model '{model}' not found") }
    }

    /// The queue of calls that need a load is full: 503, with the two spaces of Ollama's text.
    pub fn busy() -> Self {
        let text = "server busy, please try again.  maximum pending requests exceeded";
        Self { status: 503, text: text.to_owned() }
    }
}
