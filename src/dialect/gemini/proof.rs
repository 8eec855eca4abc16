//! Proofs of thinking as `thoughtSignature`.
//!
//! The one thing to know: Google's clients read the field as bytes and write them again, so it must be base64. Gemini's
//! own proofs are; those of others go out wrapped, with their maker's mark inside.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::wire::image::standard_base64;
use crate::wire::signature::{geminis, of_gemini};

/// Opens the proof of somebody else, before it is made base64.
const WRAPPED: &[u8] = b"llm-gateway:";

/// The proof as a client of this API is given it.
pub(super) fn write(proof: &str) -> String {
    match geminis(proof) {
        Some(own) => own.to_owned(),
        None => STANDARD.encode([WRAPPED, proof.as_bytes()].concat()),
    }
}

/// The proof that a client gave back; `None` when it is none.
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
    fn proofs_come_back_as_their_makers_gave_them() {
        for proof in ["gemini:Zml4dHVyZQ==", "EqQBCkgIARABGAIiQL8=", "redacted:abc"] {
            let written = write(proof);
            assert_eq!(standard_base64(written.clone()), Some(written.clone()));
            // A client writes the bytes in the other alphabet and may leave out the padding.
            let again = written.replace('+', "-").replace('/', "_");
            let again = again.trim_end_matches('=').to_owned();
            assert_eq!(read(again).as_deref(), Some(proof));
        }
        assert_eq!(read("no base64!".to_owned()), None);
    }
}
