//! Reasoning with its signatures, sealed for the way through a client.
//!
//! Anthropic and Gemini need a model's reasoning back with their signature, and clients of this API
//! send back `encrypted_content` unchanged. It is sealed only against mistakes: its content is what
//! the client was shown anyway, and a provider checks its own signature.
//!
//! The one thing to know: only content that begins with [`MARK`] is this gateway's. What OpenAI or
//! others encrypted is not opened.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::chat::Part;

/// The prefix of everything that this gateway sealed; it names the form.
const MARK: &str = "gateway-1.";

/// A piece of reasoning up to its signature.
#[derive(Serialize, Deserialize)]
struct Thought<'a> {
    text: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<std::borrow::Cow<'a, str>>,
}

/// A provider's signature of reasoning.
pub(super) struct Signature {
    /// How many bytes of the reasoning it signs, including those of earlier signatures.
    pub(super) until: usize,
    /// As the provider sent it.
    pub(super) signature: String,
}

/// Seals the reasoning with its signatures.
pub(super) fn seal(text: &str, signatures: &[Signature]) -> String {
    let mut thoughts = Vec::with_capacity(signatures.len() + 1);
    let mut from = 0;
    for Signature { until, signature } in signatures {
        let text = text.get(from..*until).unwrap_or_default().into();
        thoughts.push(Thought { text, signature: Some(signature.into()) });
        from = *until;
    }
    let rest = text.get(from..).unwrap_or_default();
    if !rest.is_empty() {
        thoughts.push(Thought { text: rest.into(), signature: None });
    }
    let thoughts = serde_json::to_vec(&thoughts).unwrap_or_default();
    format!("{MARK}{}", STANDARD_NO_PAD.encode(thoughts))
}

/// Opens what [`seal`] sealed; `None` for anything else.
pub(super) fn open(sealed: &str) -> Option<Vec<Part>> {
    let thoughts = STANDARD_NO_PAD.decode(sealed.strip_prefix(MARK)?).ok()?;
    let thoughts: Vec<Thought<'_>> = serde_json::from_slice(&thoughts).ok()?;
    let part = |Thought { text, signature }: Thought<'_>| Part::Reasoning {
        text: text.into_owned(),
        signature: signature.map(std::borrow::Cow::into_owned),
    };
    Some(thoughts.into_iter().map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sealed_content_is_opened() {
        let signature =
            |until, signature: &str| Signature { until, signature: signature.to_owned() };
        let sealed = seal("héy you", &[signature(4, "sig=="), signature(4, "redacted:x")]);
        let part = |text: &str, signature: Option<&str>| Part::Reasoning {
            text: text.to_owned(),
            signature: signature.map(str::to_owned),
        };
        let parts = [part("héy", Some("sig==")), part("", Some("redacted:x")), part(" you", None)];
        assert_eq!(open(&sealed).unwrap(), parts);
        for other in ["", "gAAAAAB", "gateway-1.", "gateway-1.!!", "gateway-1.e30"] {
            assert!(open(other).is_none(), "{other}");
        }
    }
}
