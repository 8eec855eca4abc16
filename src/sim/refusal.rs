//! A request that will not be answered: its status and Ollama's own words for it.
//!
//! Owns the texts that more than one place needs. The envelope is the endpoint's: `/api` wraps
//! the text in `{"error": "…"}`, `/v1` in OpenAI's error object.

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// What the client reads.
    pub text: String,
}

impl Refusal {
    /// A request that is wrong in itself: 400.
    pub fn bad(text: impl Into<String>) -> Self {
        Self { status: 400, text: text.into() }
    }

    /// A model that is not installed: 404, with the name as the client wrote it.
    pub fn not_found(model: &str) -> Self {
        Self { status: 404, text: format!("model '{model}' not found") }
    }

    /// The queue of calls that need a load is full: 503, with the two spaces Ollama has.
    pub fn busy() -> Self {
        let text = "server busy, please try again.  maximum pending requests exceeded";
        Self { status: 503, text: text.to_owned() }
    }
}
