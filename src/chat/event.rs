//! One step of an answer, free of the API it came in.
//!
//! A backend's decoder turns whatever bytes arrive into these, a dialect's encoder turns these into whatever
//! the client reads. A unary answer is the same sequence, spoken at the end.
//!
//! The one thing to know: an answer is complete only when [`ChatEvent::Done`] was seen. A sequence that merely
//! stops was cut off.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Carried;

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ChatEvent {
    /// More of the visible text; never empty.
    Text(String),
    /// More of the model's thinking; never empty.
    Reasoning(String),
    /// The provider's proof for the thinking so far; void at any other provider.
    Signature(String),
    /// More of a tool call.
    ToolCall(ToolCallPiece),
    /// Log probabilities of the tokens of the text before it.
    Logprobs(Vec<TokenLogprob>),
    /// A result that comes in one piece, of a request that is no chat.
    Whole(Whole),
    /// Bytes for the client, of which the events behind it tell what they say.
    Carried(Carried),
    /// The end. Nothing follows.
    Done(Completion),
}

/// A result that comes in one piece.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Whole {
    /// One vector for each text, in the order of the texts.
    Embeddings(Vec<Vec<f32>>),
    /// A provider's own document.
    Document(Map<String, Value>),
    /// The tokens of a prompt.
    Tokens(u64),
}

/// More of a tool call.
///
/// The first piece of an index carries `id` and `name`, later ones only arguments. Indexes count from 0 without
/// holes. A call is complete when the next index or the end appears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCallPiece {
    /// Which call of this answer.
    pub index: u32,
    /// Set on the first piece; unique within the answer.
    pub id: Option<String>,
    /// Set on the first piece.
    pub name: Option<String>,
    /// A fragment of the JSON text of the arguments.
    pub arguments: String,
}

/// The log probability of one token, with its alternatives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// Its UTF-8 bytes, where the provider gives them or the token is whole text.
    pub bytes: Option<Vec<u8>>,
    /// The most likely tokens at this place; their own alternatives are empty.
    pub top: Vec<TokenLogprob>,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Why it ended.
    pub finish: Finish,
    /// The stop text that was hit, where the provider says so.
    pub stop_sequence: Option<String>,
    /// What it cost.
    pub usage: Usage,
}

/// How long the steps of an answer took by the provider's own clock, in nanoseconds; 0 where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// All of it.
    pub total: u64,
    /// Loading the model.
    pub load: u64,
    /// Reading the prompt.
    pub prompt: u64,
    /// Writing the answer.
    pub answer: u64,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// By itself, or at a stop text.
    Stop,
    /// At the token limit.
    Length,
    /// To let the client run tools.
    ToolCalls,
    /// A content filter or the model refused.
    ContentFilter,
    /// The provider's own tools take long: it goes on when it is given back what it has said so far.
    Paused,
    /// Nothing was asked: the model was only loaded.
    Load,
    /// Nothing was asked: the model was unloaded.
    Unload,
}

/// Token counts. `None` is unknown, which is not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// All of the prompt, cached tokens included.
    pub prompt: Option<u64>,
    /// All of the answer, thinking included.
    pub completion: Option<u64>,
    /// The part of the prompt that came from a cache.
    pub cached: Option<u64>,
    /// The part of the prompt that was written to a cache.
    pub cache_written: Option<u64>,
    /// The part of the answer that was thinking.
    pub reasoning: Option<u64>,
    /// How long it took by the provider's own clock, where it says so: Ollama.
    #[serde(default)]
    pub durations: Option<Durations>,
}

impl Usage {
    /// Prompt and completion together, unknown counts as 0.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.prompt.unwrap_or(0).saturating_add(self.completion.unwrap_or(0))
    }

    /// Takes counts that were told later. They are cumulative, so the later one counts; but one that is missing or 0
    /// says nothing about what was told before.
    pub fn update(&mut self, later: Self) {
        for (count, later) in [
            (&mut self.prompt, later.prompt),
            (&mut self.completion, later.completion),
            (&mut self.cached, later.cached),
            (&mut self.cache_written, later.cache_written),
            (&mut self.reasoning, later.reasoning),
        ] {
            *count = later_of(*count, later);
        }
        self.durations = later.durations.or(self.durations);
    }
}

/// The count that stands after `later` was told.
#[must_use]
pub fn later_of(count: Option<u64>, later: Option<u64>) -> Option<u64> {
    later.filter(|later| *later > 0).or(count).or(later)
}

impl ChatEvent {
    /// About how many bytes it holds.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Reasoning(text) | Self::Signature(text) => text.len(),
            Self::ToolCall(piece) => {
                let named = [&piece.id, &piece.name].into_iter().flatten().map(String::len);
                // A piece without a word in it still takes a place.
                64 + piece.arguments.len() + named.sum::<usize>()
            }
            Self::Logprobs(tokens) => tokens.iter().map(|token| 64 * (1 + token.top.len())).sum(),
            Self::Whole(Whole::Embeddings(vectors)) => {
                vectors.iter().map(|vector| vector.len() * size_of::<f32>()).sum()
            }
            Self::Carried(carried) => carried.bytes.len(),
            // One document was within bounds when it was read.
            Self::Whole(Whole::Document(_) | Whole::Tokens(_)) | Self::Done(_) => 0,
        }
    }

    /// How many of the following events say what these bytes hold, when it carries bytes.
    #[must_use]
    pub fn covers(&self) -> Option<u32> {
        match self {
            Self::Carried(carried) => Some(carried.covers),
            Self::Text(_)
            | Self::Reasoning(_)
            | Self::Signature(_)
            | Self::ToolCall(_)
            | Self::Logprobs(_)
            | Self::Whole(_)
            | Self::Done(_) => None,
        }
    }

    /// How the answer ended, when this is its end.
    #[must_use]
    pub fn done(&self) -> Option<&Completion> {
        match self {
            Self::Done(completion) => Some(completion),
            Self::Text(_)
            | Self::Reasoning(_)
            | Self::Signature(_)
            | Self::ToolCall(_)
            | Self::Logprobs(_)
            | Self::Whole(_)
            | Self::Carried(_) => None,
        }
    }
}

/// Where a request stands in its provider's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// How many are served before it, at most.
    pub ahead: u64,
    /// How long that is expected to take; zero when nothing has been measured yet.
    pub expected: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_count_stands_unless_it_is_missing_or_nothing() {
        let mut usage = Usage { prompt: Some(25), completion: Some(1), ..Usage::default() };
        usage.update(Usage {
            prompt: Some(0),
            completion: Some(9),
            cached: Some(0),
            ..Usage::default()
        });
        usage.update(Usage::default());
        let expected =
            Usage { prompt: Some(25), completion: Some(9), cached: Some(0), ..Usage::default() };
        assert_eq!(usage, expected);
    }
}
