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

/// Whether it is one of Mistral's, whose templates take no ids of calls but those of nine letters and digits.
pub(super) fn is_mistrals(model: &str) -> bool {
    let name = model.to_ascii_lowercase();
    ["mistral", "mixtral", "ministral", "magistral", "devstral", "codestral", "pixtral"]
        .iter()
        .any(|part| name.contains(part))
}

/// Whether a model reasons and takes a word for how much, by what its server says, else by its name. Whatever is
/// not known to reason is taken not to: OpenAI's own models refuse the word then.
pub(super) fn reasons(model: &str, known: Option<bool>) -> bool {
    /// Parts of names, by whom: OpenAI, DeepSeek, Qwen, xAI, Google, Mistral, Zhipu, Moonshot, MiniMax, Anthropic,
    /// NVIDIA, ByteDance, LG, and what many call the variant of a model that reasons.
    const NAMED: &[&str] = &[
        "gpt-oss",
        "deepseek-r",
        "deepseek-v3.",
        "deepseek-v4",
        "qwen3",
        "qwq",
        "grok-3-mini",
        "grok-4",
        "gemini-2.5",
        "gemini-3",
        "magistral",
        "glm-4.5",
        "glm-4.6",
        "glm-4.7",
        "glm-5",
        "kimi-k2-thinking",
        "kimi-k2.",
        "minimax-m",
        "claude-3-7",
        "claude-3.7",
        "claude-opus-4",
        "claude-sonnet-4",
        "claude-haiku-4",
        "nemotron",
        "seed-oss",
        "exaone",
        "reason",
        "think",
    ];
    if let Some(known) = known {
        return known;
    }
    match Family::of(model) {
        Family::OpenAiReasoning => true,
        Family::OpenAi => false,
        Family::Other => {
            let name = model.to_ascii_lowercase();
            NAMED.iter().any(|part| name.contains(part))
        }
    }
}

/// Whether it is a model with open weights, which run on servers that know texts and pictures only.
pub(super) fn is_open(model: &str) -> bool {
    const NAMED: &[&str] = &[
        "qwen",
        "qwq",
        "llama",
        "mistral",
        "mixtral",
        "devstral",
        "codestral",
        "magistral",
        "gemma",
        "deepseek",
        "phi",
        "glm",
        "kimi",
        "gpt-oss",
        "minimax",
        "granite",
        "command",
        "nemotron",
        "smol",
        "starcoder",
        "yi-",
        "internlm",
        "exaone",
        "seed-oss",
        "olmo",
        "falcon",
        "vicuna",
        "hermes",
    ];
    let name = model.to_ascii_lowercase();
    NAMED.iter().any(|part| name.contains(part))
}
