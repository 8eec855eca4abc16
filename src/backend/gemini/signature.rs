//! Keeps thought signatures in call ids, for clients that know nothing of signatures.
//!
//! A signature is an opaque base64 text that Gemini attaches to a tool call and requires back
//! unchanged. Clients get it [marked](crate::wire::signature) as Gemini's.
//!
//! The one thing to know: ids that Gemini gave are not changed, because clients and operators
//! compare them. Only minted ids hold a signature. If the client sends a signature back in neither
//! way, [`PLACEHOLDER`] keeps the newer models from refusing the conversation.

use crate::backend::calls::MINTED;
use crate::chat::ChatEvent;
use crate::wire::signature::of_gemini;

/// The newer models accept this for calls whose signature is lost, or that another model made.
pub(super) const PLACEHOLDER: &str = "skip_thought_signature_validator";

/// Separates a minted id from the signature.
const SEPARATOR: &str = "_sig_";

/// Longer signatures are not put into ids, because ids are repeated in every later request.
const LONGEST: usize = 8 * 1024;

/// The event that gives clients the signature.
pub(super) fn event(signature: &str) -> ChatEvent {
    ChatEvent::Signature(of_gemini(signature))
}

/// A minted id with the signature appended, in the characters that all APIs allow in ids.
pub(super) fn append(id: String, signature: &str) -> String {
    let letters = signature.trim_end_matches('=');
    let is_base64 = letters
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_'));
    if id.len() != MINTED || !is_base64 || letters.is_empty() || letters.len() > LONGEST {
        return id;
    }
    let letters = letters.chars().map(|letter| match letter {
        '+' => '-',
        '/' => '_',
        other => other,
    });
    id.chars().chain(SEPARATOR.chars()).chain(letters).collect()
}

/// The id without its signature, and the signature.
pub(super) fn split(id: &str) -> (&str, Option<String>) {
    let is_minted =
        |stem: &str| stem.len() == MINTED && stem.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let joined = id.split_once(SEPARATOR).filter(|(stem, _)| is_minted(stem));
    let Some((stem, letters)) = joined else { return (id, None) };
    let mut signature: String = letters
        .chars()
        .map(|letter| match letter {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    while !signature.len().is_multiple_of(4) {
        signature.push('=');
    }
    (stem, Some(signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::call_ids::fits_as_id;
    use crate::backend::calls::mint;
    use crate::wire::signature::geminis;

    #[test]
    fn a_signature_in_an_id_comes_back_unchanged() {
        for signature in ["Zml4dHVyZS1zaWduYXR1cmU=", "+/+/", "ab==", "_sig_sig"] {
            let id = mint(3, 1);
            let joined = append(id.clone(), signature);
            assert!(fits_as_id(&joined, 100) && joined != id, "{joined}");
            let (stem, back) = split(&joined);
            let standard = signature.replace('-', "+").replace('_', "/");
            assert_eq!((stem, back), (id.as_str(), Some(standard)));
        }
    }

    #[test]
    fn other_ids_hold_no_signature_and_odd_signatures_are_not_put_into_ids() {
        for id in [
            "",
            "call_1",
            "fc_1_2_3a_sig_AAAA",
            "toolu_01ABCDEFGHIJ_sig_AAAA",
            "äääääääääääääääää",
            "call_abcdefghijkl",
        ] {
            assert_eq!(split(id), (id, None));
        }
        let id = mint(3, 1);
        for signature in ["", "a b", &"A".repeat(LONGEST + 1)] {
            assert_eq!(append(id.clone(), signature), id);
        }
        assert_eq!(append("fc-1".into(), "AAAA"), "fc-1");
    }

    #[test]
    fn a_signature_without_the_mark_is_not_geminis() {
        assert_eq!(geminis("Zml4dHVyZQ=="), None);
        let ChatEvent::Signature(marked) = event("Zml4dHVyZQ==") else { panic!("a signature") };
        assert_eq!(geminis(&marked), Some("Zml4dHVyZQ=="));
    }
}
