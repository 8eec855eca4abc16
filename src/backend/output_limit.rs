//! Tells how many tokens an answer may have, by the error of a server that refuses a larger limit.
//!
//! It owns the phrases around the numbers in these errors. It does not guess a limit that the
//! server does not tell.
//!
//! The one thing to know: some servers stop counting a prompt as soon as it is too long for the
//! requested limit. The length that they then report is only a lower bound.

use super::overflow::{ANSWER, PROMPT, number_before, numbers_of_sum};

/// Phrases before the number of tokens that prompt and answer may have together: vLLM and OpenAI,
/// SGLang, text-generation-inference.
const TOGETHER: &[&str] = &[
    "maximum context length is ",
    "maximum context length of ",
    "context length is only ",
    "max_total_tokens=",
    "must be <= ",
];

/// Phrases before the number of tokens that an answer may have: OpenAI, Groq.
const ALONE: &[&str] = &["supports at most ", "must be less than or equal to "];

/// The most tokens that an answer to a prompt of about `estimate` tokens may have, if the words
/// tell or imply it and it is more than 0.
#[must_use]
pub fn allowed_output_tokens(words: &str, estimate: u64) -> Option<u64> {
    let said = words.to_ascii_lowercase();
    // The estimate may be a quarter too low; a margin avoids another refusal.
    let estimate = estimate.saturating_add(estimate / 4);
    let both = || {
        let context = number_after(&said, TOGETHER)?;
        let prompt = match (number_before(&said, PROMPT), number_before(&said, ANSWER)) {
            (Some(prompt), Some(answer)) if prompt + answer == context + 1 => prompt.max(estimate),
            (Some(prompt), _) => prompt,
            (None, _) => estimate,
        };
        Some(context.saturating_sub(prompt))
    };
    let room = left_by_sum(&said)
        .or_else(both)
        .or_else(|| number_after(&said, ALONE))
        .or_else(|| stated_maximum(&said));
    room.filter(|room| *room > 0)
}

/// The tokens that Anthropic's sum leaves for the answer.
fn left_by_sum(said: &str) -> Option<u64> {
    let mut numbers = numbers_of_sum(said)?;
    let (prompt, _, context) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some(context.saturating_sub(prompt))
}

/// Anthropic: "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for
/// this model".
fn stated_maximum(said: &str) -> Option<u64> {
    let (_, rest) = said.split_once("max_tokens: ")?;
    rest.contains("output tokens").then(|| number_after(rest, &[" > "])).flatten()
}

/// The number after one of these phrases, in quotes or not.
fn number_after(said: &str, words: &[&str]) -> Option<u64> {
    words.iter().find_map(|words| {
        let (_, rest) = said.split_once(words)?;
        let rest = rest.trim_start_matches('`');
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_an_answer_is_read_from_every_servers_error() {
        for (said, left) in [
            // vLLM.
            (
                "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is 32768 tokens and your request has 17000 input tokens (32000 > 32768 - 17000).",
                15768,
            ),
            (
                "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (904 in the messages, 4096 in the completion). Please reduce the length of the messages or completion.",
                3192,
            ),
            (
                "This model's maximum context length is 32768 tokens. However, you requested 8192 output tokens and your prompt contains at least 24577 input tokens, for a total of at least 32769 tokens.",
                8191,
            ),
            ("max_tokens=32000 cannot be greater than max_model_len=max_total_tokens=4096.", 3971),
            // SGLang.
            (
                "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5000 tokens: 1000 tokens from the input messages and 4000 tokens for the completion.",
                3096,
            ),
            // Anthropic.
            ("input length and `max_tokens` exceed context limit: 9000 + 195000 > 200000", 191_000),
            (
                "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for this model",
                64_000,
            ),
            // OpenAI, Groq.
            (
                "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas you provided 100000.",
                16_384,
            ),
            (
                "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model",
                8192,
            ),
            // text-generation-inference.
            (
                "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 10 `inputs` tokens and 5000 `max_new_tokens`",
                4086,
            ),
        ] {
            assert_eq!(allowed_output_tokens(said, 100), Some(left), "{said}");
        }
    }

    #[test]
    fn a_prompt_that_was_not_counted_to_its_end_is_estimated() {
        let said = "You passed 769 input tokens and requested 32000 output tokens. However, the model's context length is only 32768 tokens, resulting in a maximum input length of 768 tokens.";
        assert_eq!(allowed_output_tokens(said, 10_000), Some(20_268));
        assert_eq!(allowed_output_tokens(said, 100), Some(31_999));
        assert_eq!(allowed_output_tokens(said, 40_000), None);
    }

    #[test]
    fn errors_without_numbers_tell_no_limit() {
        for said in [
            "max_tokens is too large",
            "temperature must be at most 2",
            "",
            "maximum context length is",
        ] {
            assert_eq!(allowed_output_tokens(said, 100), None, "{said}");
        }
    }
}
