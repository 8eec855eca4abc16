//! Tells why an answer ended, by the finish reasons of every kind of provider.
//!
//! It owns one table for all kinds, because servers that imitate an API keep reasons of their own
//! or use those of another. It does not guess: it knows a list of reasons, and ignores case and the
//! kind of separators.
//!
//! The one thing to know: a reason that is not in the table is a failure, even after text. A client
//! believes half an answer that is reported as whole; a failed answer can be requested again.

use super::{DecodeError, Rejection, RejectionClass, shorten};
use crate::chat::Finish;

/// The answer is whole, or a stop text was reached.
const COMPLETE: &[&str] = &[
    "stop",
    "stop_sequence",
    "stop_sequences",
    "stop_string",
    "stop_token",
    "stop_word",
    "stopstringfound",
    "eos",
    "eos_token",
    "eosfound",
    "eod",
    "end",
    "end_turn",
    "end_of_turn",
    "end_of_text",
    "endoftext",
    "complete",
    "completed",
    "finished",
    "done",
    "normal",
];

/// A limit of tokens was reached: the request's, the model's or the context's.
const LENGTH: &[&str] = &[
    "length",
    "limit",
    "token_limit",
    "max_len",
    "max_length",
    "max_tokens",
    "max_tokens_reached",
    "maximum_tokens",
    "max_new_tokens",
    "max_output_tokens",
    "max_completion_tokens",
    "maxpredictedtokensreached",
    "model_length",
    "context_length",
    "context_length_exceeded",
    "contextlengthreached",
    "context_window_exceeded",
    "model_context_window_exceeded",
    "error_limit",
];

/// A filter of the provider, or the model itself, refused to continue.
const FILTERED: &[&str] = &[
    "content_filter",
    "content_filtered",
    "contentfilter",
    "content_policy",
    "content_policy_violation",
    "policy_violation",
    "moderation",
    "sensitive",
    "flagged",
    "blocked",
    "refusal",
    "guardrail",
    "guardrails",
    "guardrail_intervened",
    "error_toxic",
    "safety",
    "recitation",
    "language",
    "blocklist",
    "prohibited_content",
    "spii",
    "model_armor",
    "jailbreak",
    "image_safety",
    "image_prohibited_content",
    "image_recitation",
    "image_other",
];

/// The client should run tools.
const CALLS: &[&str] = &[
    "tool_calls",
    "tool_call",
    "toolcalls",
    "tool_use",
    "tooluse",
    "function_call",
    "function_calls",
    "functioncall",
];

/// Placeholders for a reason that is not known yet.
const NONE: &[&str] = &[
    "",
    "null",
    "none",
    "unspecified",
    "finish_reason_unspecified",
    "not_finished",
    "in_progress",
];

/// The meaning of a reason: `None` if it is a placeholder. `told` is the provider's explanation.
///
/// # Errors
///
/// [`DecodeError::Reported`] for every reason that is not known to end an answer well.
pub(super) fn finish(reason: &str, told: Option<&str>) -> Result<Option<Finish>, DecodeError> {
    let word: String = reason.trim().chars().map(normalized).collect();
    // Google's compatible endpoint adds its own word: `content_filter: RECITATION`.
    let (word, _) = word.split_once(':').unwrap_or((&word, ""));
    let is_one_of = |words: &[&str]| words.contains(&word);
    match () {
        () if is_one_of(NONE) => Ok(None),
        () if is_one_of(COMPLETE) => Ok(Some(Finish::Stop)),
        () if is_one_of(LENGTH) => Ok(Some(Finish::Length)),
        () if is_one_of(FILTERED) => Ok(Some(Finish::ContentFilter)),
        () if is_one_of(CALLS) => Ok(Some(Finish::ToolCalls)),
        () if word == "pause_turn" => Ok(Some(Finish::Paused)),
        () => Err(DecodeError::Reported(failure(reason, word, told))),
    }
}

fn failure(reason: &str, word: &str, told: Option<&str>) -> Rejection {
    let class = match word {
        // DeepSeek's reason for a server without free capacity.
        "insufficient_system_resource" | "overloaded" => RejectionClass::Overloaded,
        "timeout" | "time_limit" => RejectionClass::Timeout,
        _ => RejectionClass::Broken,
    };
    let told = told.map(|told| format!(": {told}")).unwrap_or_default();
    let message = shorten(&format!("the answer ended with {}{told}", reason.trim()));
    Rejection { class, message, retry_after: None }
}

fn normalized(letter: char) -> char {
    match letter {
        '-' | ' ' => '_',
        letter => letter.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_all_providers_are_understood_however_they_are_written() {
        for (words, meaning) in [
            (
                &["stop", "STOP", "eos_token", "end_turn", "COMPLETE", "Stop Sequence"][..],
                Finish::Stop,
            ),
            (&["length", "MAX_TOKENS", "model_length", "max-output-tokens"], Finish::Length),
            (
                &["SAFETY", "LANGUAGE", "refusal", "content_filter: RECITATION"],
                Finish::ContentFilter,
            ),
            (&["tool_calls", "TOOL_CALL", "tool_use", "function_call"], Finish::ToolCalls),
            (&["pause_turn"], Finish::Paused),
        ] {
            for word in words {
                assert_eq!(finish(word, None), Ok(Some(meaning)), "{word}");
            }
        }
        for word in ["", "null", "None", "FINISH_REASON_UNSPECIFIED"] {
            assert_eq!(finish(word, None), Ok(None), "{word}");
        }
    }

    #[test]
    fn an_unknown_reason_is_a_failure() {
        use RejectionClass as Class;
        for (word, class) in [
            ("abort", Class::Broken),
            ("cancelled", Class::Broken),
            ("error", Class::Broken),
            ("insufficient_system_resource", Class::Overloaded),
            ("timeout", Class::Timeout),
            ("OTHER", Class::Broken),
            ("MALFORMED_FUNCTION_CALL", Class::Broken),
            ("function_call_filter: UNEXPECTED_TOOL_CALL", Class::Broken),
            ("TOO_MANY_TOOL_CALLS", Class::Broken),
            ("never heard of", Class::Broken),
        ] {
            let Err(DecodeError::Reported(rejection)) = finish(word, Some("why")) else {
                panic!("{word}")
            };
            assert_eq!(rejection.class, class, "{word}");
            assert_eq!(rejection.message, format!("the answer ended with {word}: why"));
        }
    }

    #[test]
    fn no_reason_is_in_two_lists() {
        let mut seen = std::collections::HashSet::new();
        for word in [COMPLETE, LENGTH, FILTERED, CALLS, NONE].into_iter().flatten() {
            assert!(seen.insert(word), "{word}");
            assert_eq!(word.chars().map(normalized).collect::<String>(), **word);
        }
    }
}
