//! Marking whose a thought signature is.
//!
//! Signatures are opaque texts that only their maker understands. Gemini's go out marked, so that a conversation
//! that moves between providers never shows one provider's proof to another: Anthropic's are bare base64, which
//! holds no colon.

/// Opens the stand-in for thinking that Anthropic shows to nobody, so that it finds its way back.
pub const REDACTED: &str = "redacted:";

/// Marks a signature as Gemini's.
const GEMINI: &str = "gemini:";

/// Gemini's signature as clients that keep thinking are given it.
#[must_use]
pub fn of_gemini(signature: &str) -> String {
    format!("{GEMINI}{signature}")
}

/// The signature as Gemini gave it, if it was Gemini.
#[must_use]
pub fn geminis(signature: &str) -> Option<&str> {
    signature.strip_prefix(GEMINI)
}
