//! Whose model a name says it is.
//!
//! It owns the guess by the name, since nothing else tells. It refuses to know models one by one: families only.
//!
//! The one thing to know: whatever is not known to be OpenAI's own is taken for an imitator's, which knows the older
//! words only. `max_tokens_field` in the configuration overrules it.

use crate::backend::LimitField;

/// Whose model a name says it is, which decides about a few fields.
///
/// OpenAI's own models take `max_completion_tokens`, and the reasoning ones refuse the older `max_tokens`, which
/// is all that many imitators know. The reasoning ones also refuse any sampling but the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    OpenAi,
    OpenAiReasoning,
    Other,
}

impl Family {
    pub(super) fn of(model: &str) -> Self {
        // Aggregators put the vendor first: `openai/gpt-5`. A fine-tune says so first: `ft:gpt-4o:…`.
        let name = model.rsplit('/').next().unwrap_or(model);
        let name = name.strip_prefix("ft:").unwrap_or(name);
        if name.starts_with("gpt-oss") {
            return Self::Other;
        }
        if let Some(version) = name.strip_prefix("gpt-") {
            let number = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            let reasons = number.parse::<u32>().is_ok_and(|number| number >= 5);
            let chats = version.contains("chat");
            return if reasons && !chats { Self::OpenAiReasoning } else { Self::OpenAi };
        }
        if name.starts_with("chatgpt-") {
            return Self::OpenAi;
        }
        match name.as_bytes() {
            [b'o', digit, ..] if digit.is_ascii_digit() => Self::OpenAiReasoning,
            _ => Self::Other,
        }
    }

    /// Whether the limit of tokens goes by its newer name.
    pub(super) fn has_newer_limit(self, field: LimitField) -> bool {
        match field {
            LimitField::Auto => self != Self::Other,
            LimitField::MaxTokens => false,
            LimitField::MaxCompletionTokens => true,
        }
    }
}
