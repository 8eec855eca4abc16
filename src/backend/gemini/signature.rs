//! Carrying thought signatures through clients that know nothing of them.
//!
//! A signature is an opaque base64 text that Gemini attaches to a tool call and wants back unchanged. It goes
//! out [marked](crate::wire::signature) as Gemini's.
//!
//! The one thing to know: ids that Gemini gave are kept as they are, because clients and operators compare them.
//! Only minted ids carry a signature. Where neither way brings it back, [`STAND_IN`] keeps the newer models from
//! refusing the conversation.

use crate::backend::calls::MINTED;
use crate::chat::ChatEvent;
use crate::wire::signature::of_gemini;

/// What the newer models accept for calls whose signature is lost, or that another model made.
pub(super) const STAND_IN: &str = "skip_thought_signature_validator";

/// Parts a minted id from the signature folded into it.
const FOLD: &str = "_sig_";

/// Longer signatures are not folded: ids are repeated in every later request.
const LONGEST: usize = 8 * 1024;

/// The signature as clients are given it.
pub(super) fn event(signature: &str) -> ChatEvent {
    ChatEvent::Signature(of_gemini(signature))
}

/// A minted id with the signature in it, in the letters that all APIs allow in ids.
pub(super) fn fold(id: String, signature: &str) -> String {
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
    id.chars().chain(FOLD.chars()).chain(letters).collect()
}

/// The id without what was folded into it, and that.
pub(super) fn unfold(id: &str) -> (&str, Option<String>) {
    let is_minted =
        |stem: &str| stem.len() == MINTED && stem.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let folded = id.split_once(FOLD).filter(|(stem, _)| is_minted(stem));
    let Some((stem, letters)) = folded else { return (id, None) };
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
    fn a_folded_signature_comes_back_unchanged() {
        for signature in ["Zml4dHVyZS1zaWduYXR1cmU=", "+/+/", "ab==", "_sig_sig"] {
            let id = mint(3, 1);
            let folded = fold(id.clone(), signature);
            assert!(fits_as_id(&folded, 100) && folded != id, "{folded}");
            let (stem, back) = unfold(&folded);
            let standard = signature.replace('-', "+").replace('_', "/");
            assert_eq!((stem, back), (id.as_str(), Some(standard)));
        }
    }

    #[test]
    fn other_ids_hold_no_signature_and_odd_signatures_are_not_folded() {
        for id in [
            "",
            "call_1",
            "fc_1_2_3a_sig_AAAA",
            "toolu_01ABCDEFGHIJ_sig_AAAA",
            "äääääääääääääääää",
            "call_abcdefghijkl",
        ] {
            assert_eq!(unfold(id), (id, None));
        }
        let id = mint(3, 1);
        for signature in ["", "a b", &"A".repeat(LONGEST + 1)] {
            assert_eq!(fold(id.clone(), signature), id);
        }
        assert_eq!(fold("fc-1".into(), "AAAA"), "fc-1");
    }

    #[test]
    fn a_foreign_signature_is_not_geminis() {
        assert_eq!(geminis("Zml4dHVyZQ=="), None);
        let ChatEvent::Signature(marked) = event("Zml4dHVyZQ==") else { panic!("a signature") };
        assert_eq!(geminis(&marked), Some("Zml4dHVyZQ=="));
    }
}
