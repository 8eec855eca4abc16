//! Marks which provider made a signature of reasoning.
//!
//! Signatures are opaque texts that only their provider understands. Clients get Gemini's with a
//! mark, so that a conversation that moves between providers never sends one provider's signature
//! to another: Anthropic's are bare base64, which has no colon.

/// Marks the placeholder for redacted thinking of Anthropic, so that it can be sent back.
pub const REDACTED: &str = "redacted:";

/// Marks a signature as Gemini's.
const GEMINI: &str = "gemini:";

/// Gemini's signature in the form that clients get.
#[must_use]
pub fn of_gemini(signature: &str) -> String {
    format!("{GEMINI}{signature}")
}

/// The signature in Gemini's form, if it is Gemini's.
#[must_use]
pub fn geminis(signature: &str) -> Option<&str> {
    signature.strip_prefix(GEMINI)
}
