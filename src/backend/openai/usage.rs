//! Reads token counts wherever and however an imitator writes them.
//!
//! The trap: `llama-server` counts in its `timings` only what it has read as `prompt_n`, while the
//! prompt of `usage` includes what was in its cache.

use serde_json::{Map, Value};

use crate::backend::lenient::as_count;
use crate::chat::{Durations, Usage};

/// The counts in a chunk's `usage`; a count that is missing is unknown.
pub(in crate::backend) fn read(counts: &Map<String, Value>) -> Usage {
    let first = |paths: &[&[&str]]| {
        paths.iter().find_map(|path| {
            let (last, before) = path.split_last()?;
            let mut fields = counts;
            for name in before {
                fields = fields.get(*name)?.as_object()?;
            }
            as_count(fields.get(*last)?)
        })
    };
    Usage {
        // The second names are those of OpenAI's newer API, which some imitators use here too.
        prompt: first(&[&["prompt_tokens"], &["input_tokens"]]),
        completion: first(&[&["completion_tokens"], &["output_tokens"]]),
        cached: first(&[
            &["prompt_tokens_details", "cached_tokens"],
            &["input_tokens_details", "cached_tokens"],
            // DeepSeek and Moonshot.
            &["prompt_cache_hit_tokens"],
            &["cached_tokens"],
        ]),
        cache_written: first(&[
            &["prompt_tokens_details", "cache_write_tokens"],
            &["input_tokens_details", "cache_write_tokens"],
        ]),
        reasoning: first(&[
            &["completion_tokens_details", "reasoning_tokens"],
            &["output_tokens_details", "reasoning_tokens"],
            &["reasoning_tokens"],
        ]),
        durations: None,
    }
}

/// What `llama-server` measures of a call.
#[derive(Clone, Copy, Default)]
pub(super) struct Timings {
    /// Tokens of the prompt that were in its cache; newer servers tell it.
    cached: Option<u64>,
    /// Tokens of the prompt that were read.
    read: Option<u64>,
    /// Tokens of the answer.
    written: Option<u64>,
    /// How long both took.
    durations: Durations,
}

impl Timings {
    /// The ones in a chunk's `timings`.
    pub(super) fn read(fields: &Map<String, Value>) -> Self {
        let count = |name: &str| as_count(fields.get(name)?);
        let nanoseconds = |name: &str| {
            let milliseconds = fields.get(name).and_then(Value::as_f64).unwrap_or(0.0);
            // Negative ones become 0.
            (milliseconds * 1e6) as u64
        };
        let (prompt, answer) = (nanoseconds("prompt_ms"), nanoseconds("predicted_ms"));
        Self {
            cached: count("cache_n"),
            read: count("prompt_n"),
            written: count("predicted_n"),
            durations: Durations { prompt, answer, ..Durations::default() },
        }
    }

    /// Adds what the counts of an answer do not tell.
    pub(super) fn complete(self, usage: Usage) -> Usage {
        let prompt = || self.cached?.checked_add(self.read?);
        let cached = || usage.prompt?.checked_sub(self.read?);
        let durations = (self.durations != Durations::default()).then_some(self.durations);
        Usage {
            prompt: usage.prompt.or_else(prompt),
            completion: usage.completion.or(self.written),
            cached: usage.cached.or(self.cached).or_else(cached),
            durations: usage.durations.or(durations),
            ..usage
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn timings_tell_what_was_in_the_cache_and_how_long_reading_took() {
        let complete = |timings: Value, usage: Usage| {
            Timings::read(timings.as_object().unwrap()).complete(usage)
        };
        let (prompt, completion, cached) = (Some(2_500), Some(7), Some(2_400));
        let durations =
            Some(Durations { prompt: 51_250_000, answer: 70_000_000, ..Durations::default() });
        let expected = Usage { prompt, completion, cached, durations, ..Usage::default() };
        let timings = json!({"cache_n": 2400, "prompt_n": 100, "prompt_ms": 51.25,
            "predicted_n": 7, "predicted_ms": 70});
        let counted = Usage { prompt, completion, ..Usage::default() };
        assert_eq!(complete(timings.clone(), counted), expected);
        assert_eq!(complete(timings, Usage::default()), expected, "usage was not asked for");
        // Before `cache_n` was added.
        let older = json!({"prompt_n": 100, "prompt_ms": 51.25, "predicted_n": 7,
            "predicted_ms": 70.0});
        assert_eq!(complete(older.clone(), counted), expected);
        let alone = complete(older, Usage::default());
        assert_eq!((alone.prompt, alone.cached), (None, None));
        let odd = json!({"cache_n": null, "prompt_n": 9000, "prompt_ms": -1, "predicted_ms": "1"});
        assert_eq!(complete(odd, counted), counted);
    }

    #[test]
    fn counts_are_found_under_every_name() {
        let expected = Usage {
            prompt: Some(9),
            completion: Some(3),
            cached: Some(4),
            cache_written: None,
            reasoning: Some(2),
            durations: None,
        };
        for counts in [
            json!({"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 2}}),
            json!({"input_tokens": 9.0, "output_tokens": "3", "input_tokens_details": {"cached_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 2}}),
            json!({"prompt_tokens": 9, "completion_tokens": 3, "prompt_cache_hit_tokens": 4,
                "prompt_tokens_details": null, "reasoning_tokens": 2, "completion_tokens_details": []}),
        ] {
            assert_eq!(read(counts.as_object().unwrap()), expected, "{counts}");
        }
        let nothing = json!({"prompt_tokens": null, "prompt_tokens_details": 1});
        assert_eq!(read(nothing.as_object().unwrap()), Usage::default());
    }
}
