//! Reads token counts wherever and however an imitator writes them.

use serde_json::{Map, Value};

use crate::backend::lenient::as_count;
use crate::chat::Usage;

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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
