//! Signatures of reasoning as `thoughtSignature`.
//!
//! The one thing to know: Google's clients decode the field to bytes and encode it again, so it
//! must be base64. Gemini's own signatures are base64; those of other providers are wrapped
//! together with the mark of their provider.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::wire::image::standard_base64;
use crate::wire::signature::{geminis, of_gemini};

/// The prefix of another provider's signature, before it is encoded.
const WRAPPED: &[u8] = b"llm-gateway:";

/// The signature in the form for clients of this API.
pub(super) fn write(signature: &str) -> String {
    match geminis(signature) {
        Some(own) => own.to_owned(),
        None => STANDARD.encode([WRAPPED, signature.as_bytes()].concat()),
    }
}

/// The signature that a client sent back; `None` if it is invalid.
pub(super) fn read(signature: String) -> Option<String> {
    let signature = standard_base64(signature)?;
    let wrapped = STANDARD.decode(&signature).ok();
    let inner = wrapped.as_deref().and_then(|bytes| bytes.strip_prefix(WRAPPED));
    match inner {
        Some(inner) => String::from_utf8(inner.to_vec()).ok(),
        None => Some(of_gemini(&signature)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_come_back_as_providers_sent_them() {
        for signature in ["gemini:Zml4dHVyZQ==", "EqQBCkgIARABGAIiQL8=", "redacted:abc"] {
            let written = write(signature);
            assert_eq!(standard_base64(written.clone()), Some(written.clone()));
            // A client encodes the bytes in the other alphabet and may omit the padding.
            let again = written.replace('+', "-").replace('/', "_");
            let again = again.trim_end_matches('=').to_owned();
            assert_eq!(read(again).as_deref(), Some(signature));
        }
        assert_eq!(read("no base64!".to_owned()), None);
    }
}
