//! Distinguishes a prompt that is too long from a requested limit that is too large.
//!
//! It owns the phrases by which servers say that tokens do not fit: far more phrases than there are
//! APIs.
//!
//! The one thing to know: a client that is told that its prompt is too long shortens it, again and
//! again if that was not the cause. If a server counts prompt and answer together, the larger of
//! the two is to blame, and if it names `max_tokens`, that limit is.

use super::report::Report;

/// Whether an error says that the prompt does not fit the model. The status is `None` for an error
/// within an answer.
pub(super) fn is_prompt_too_long(report: &Report, status: Option<u16>) -> bool {
    /// Codes and types of OpenAI, llama.cpp and others.
    const CODES: &[&str] = &[
        "context_length",
        "context_window",
        "exceed_context_size",
        "prompt_too_long",
        "input_too_long",
        "max_prompt_tokens",
    ];
    // Some servers answer 500 to every failure while they read a prompt.
    if !matches!(status, None | Some(400 | 413 | 422 | 500)) {
        return false;
    }
    let said = report.message.to_ascii_lowercase();
    if LIMITS.contains(&report.param.as_str()) || blames_limit(&said) {
        return false;
    }
    report.has_code(CODES) || is_about_length(&said) && is_prompt_larger(&said)
}

/// The names of the limit of an answer's tokens.
const LIMITS: &[&str] =
    &["max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "num_predict"];

/// Whether the words are about that limit itself: vLLM, OpenAI, Groq.
fn blames_limit(said: &str) -> bool {
    const WRONG: &[&str] = &["is too large", "is too high", "must be less", "must be at most"];
    let mut named = LIMITS.iter().filter_map(|limit| said.find(limit));
    // A sentence that begins with the limit's name, in quotes or not, is about the limit.
    named.any(|at| at <= 1 || contains_any(said, WRONG))
}

/// Whether the words are about the length of the prompt.
fn is_about_length(said: &str) -> bool {
    /// Phrases that suffice alone, from Anthropic, Bedrock, Cohere, LM Studio, xAI, SGLang,
    /// Mistral, Qwen, Zhipu, Moonshot, GitHub and text-generation-inference.
    const PHRASES: &[&str] = &[
        "prompt is too long",
        "prompt too long",
        "input is too long",
        "input too long",
        "too many tokens",
        "reduce the length of the",
        "tokens to keep from the initial prompt",
        "maximum prompt length",
        "maximum input length",
        "maximum allowed length",
        "maximum allowed input length",
        "maximum model length",
        "maximum context",
        "input token count",
        "prompt token count",
        "range of input length",
        "prompt exceeds max",
        "exceeded model token limit",
        "`inputs` must have less than",
        "max_new_tokens` must be <=",
    ];
    /// Phrases for the room that a prompt must fit into, and for not fitting.
    const ROOM: &[&str] = &["context length", "context window", "context size", "context limit"];
    const MISFIT: &[&str] = &[
        "exceed",
        "longer than",
        "larger than",
        "greater than",
        "more than",
        "too long",
        "too large",
        "too small",
        "not enough",
        "does not fit",
        "overflow",
        "only",
        "reached",
    ];
    contains_any(said, PHRASES)
        || contains_any(said, ROOM) && contains_any(said, MISFIT)
        || said.contains("context overflow")
}

/// Phrases after the number of the prompt's tokens.
pub(super) const PROMPT: &[&str] = &[
    " in the messages",
    " in your prompt",
    " input tokens",
    " tokens from the input",
    " of text input",
    " `inputs` tokens",
];

/// Phrases after the number of tokens that the answer may have.
pub(super) const ANSWER: &[&str] = &[
    " in the completion",
    " for the completion",
    " output tokens",
    " tokens for the completion",
    " in the output",
    " `max_new_tokens`",
];

/// Whether the prompt is to blame if the words count its tokens and the answer's separately, as in
/// "8000 in the messages, 500 in the completion".
fn is_prompt_larger(said: &str) -> bool {
    let sum = || {
        let mut numbers = numbers_of_sum(said)?;
        Some((numbers.next()?, numbers.next()?))
    };
    let told = || Some((number_before(said, PROMPT)?, number_before(said, ANSWER)?));
    told().or_else(sum).is_none_or(|(prompt, answer)| prompt >= answer || fills(said, prompt))
}

/// Whether the prompt alone fills the context that the words name.
fn fills(said: &str, prompt: u64) -> bool {
    const BEFORE: &[&str] =
        &["context length is only ", "context length is ", "context length of ", "must be <= "];
    let context = BEFORE.iter().find_map(|words| {
        let (_, rest) = said.split_once(words)?;
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse::<u64>().ok()
    });
    context.is_some_and(|context| prompt >= context)
}

/// Anthropic's numbers of the prompt, the answer and the context, in this order, as in "exceed
/// context limit: 190000 + 21333 > 200000".
pub(super) fn numbers_of_sum(said: &str) -> Option<impl Iterator<Item = u64>> {
    let (_, rest) = said.split_once("exceed context limit: ")?;
    let words = rest.split(|letter: char| !letter.is_ascii_digit());
    Some(words.filter_map(|word| word.parse().ok()))
}

/// The number before one of these phrases.
pub(super) fn number_before(said: &str, words: &[&str]) -> Option<u64> {
    words.iter().find_map(|words| {
        said.match_indices(words).find_map(|(at, _)| {
            let before = said.get(..at)?;
            let digits = before.trim_end_matches(|letter: char| letter.is_ascii_digit());
            before.get(digits.len()..)?.parse::<u64>().ok()
        })
    })
}

fn contains_any(said: &str, words: &[&str]) -> bool {
    words.iter().any(|words| said.contains(words))
}

#[cfg(test)]
mod tests;
