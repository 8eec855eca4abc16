//! What an answer tells of its prompt: how much was read, how much was remembered, how long it took.
//!
//! Owns which server tells what. Refuses to measure: the pump does. What a reader would get wrong:
//! all count the remembered tokens as part of the prompt, except llama-server's `prompt_n`.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::Answer;
use super::prompt_cache::Reading;

/// The server whose counts of remembered tokens are told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Counts {
    /// Ollama up to 0.33 counts them as read; only the duration tells.
    #[default]
    #[value(name = "ollama-0.33")]
    OlderOllama,
    /// Ollama from 0.34: `prompt_eval_cached_count`, and OpenAI's `cached_tokens`.
    Ollama,
    /// llama-server: OpenAI's `cached_tokens`, and `timings`.
    LlamaServer,
}

/// The measured durations of the parts of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// From the request's arrival to the last token.
    pub total: Duration,
    /// From the arrival until the model was in memory.
    pub load: Duration,
    /// From the slot to the first token.
    pub prompt: Duration,
    /// From the first token to the last.
    pub eval: Duration,
    /// What was read in that time.
    pub reading: Reading,
}

/// What an answer tells besides its content.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// As which server.
    pub counts: Counts,
    /// What was measured.
    pub times: Times,
}

impl Told {
    /// The remembered tokens, where they are told.
    pub fn cached(&self) -> Option<u64> {
        match self.counts {
            Counts::OlderOllama => None,
            Counts::Ollama | Counts::LlamaServer => Some(self.times.reading.cached),
        }
    }

    /// llama-server's own counts.
    pub fn timings(&self, answer: &Answer) -> Option<Value> {
        match self.counts {
            Counts::OlderOllama | Counts::Ollama => None,
            Counts::LlamaServer => {
                let Reading { tokens, cached, .. } = self.times.reading;
                let [prompt, predicted] = [self.times.prompt, self.times.eval].map(milliseconds);
                Some(json!({"cache_n": cached, "prompt_n": tokens - cached, "prompt_ms": prompt,
                    "predicted_n": answer.tokens(), "predicted_ms": predicted}))
            }
        }
    }
}

fn milliseconds(length: Duration) -> f64 {
    length.as_secs_f64() * 1000.0
}
