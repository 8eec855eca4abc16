//! Tells by a model's name who made it.
//!
//! It owns the guess by the name, because nothing else tells. It knows families, not single models.
//!
//! The one thing to know: a model that is not known to be OpenAI's own is treated as an imitator's,
//! which knows only the older fields. `max_tokens_field` in the configuration overrides that.

use crate::backend::LimitField;

/// The maker of a model, which decides about a few fields.
///
/// OpenAI's own models take `max_completion_tokens`, and its reasoning models refuse the older
/// `max_tokens`, the only one that many imitators know. The reasoning models also refuse any
/// sampling but the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    OpenAi,
    OpenAiReasoning,
    Other,
}

impl Family {
    pub(super) fn of(model: &str) -> Self {
        // Aggregators put the vendor first: `openai/gpt-5`. Fine-tunes begin with `ft:`:
        // `ft:gpt-4o:…`.
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

    /// Whether the model takes the limit of tokens under its newer name.
    pub(super) fn has_newer_limit(self, field: LimitField) -> bool {
        match field {
            LimitField::Auto => self != Self::Other,
            LimitField::MaxTokens => false,
            LimitField::MaxCompletionTokens => true,
        }
    }
}

/// Whether it is one of Mistral's models, whose templates accept only call ids of nine letters and
/// digits.
pub(super) fn is_mistrals(model: &str) -> bool {
    let name = model.to_ascii_lowercase();
    ["mistral", "mixtral", "ministral", "magistral", "devstral", "codestral", "pixtral"]
        .iter()
        .any(|part| name.contains(part))
}

/// Whether a model reasons and accepts an effort: as its server says, else by its name. An unknown
/// model is assumed not to reason, because OpenAI's models that do not reason refuse an effort.
pub(super) fn reasons(model: &str, known: Option<bool>) -> bool {
    /// Parts of names, by maker: OpenAI, DeepSeek, Qwen, xAI, Google, Mistral, Zhipu, Moonshot,
    /// MiniMax, Anthropic, NVIDIA, ByteDance, LG, and common names for the reasoning variant of a
    /// model.
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

/// Whether it is a model with open weights; the servers that run these read only texts and
/// pictures.
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
