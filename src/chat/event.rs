//! One event of an answer, independent of the API it came in.
//!
//! A backend's decoder turns a provider's bytes into these events, and a dialect's encoder turns
//! them into the client's bytes. A unary answer is the same sequence, all of it at the end.
//!
//! The one thing to know: an answer is complete only after [`ChatEvent::Done`]. A sequence that
//! stops without it was cut off.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Carried;

/// One event of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ChatEvent {
    /// More of the visible text; never empty.
    Text(String),
    /// More of the model's reasoning; never empty.
    Reasoning(String),
    /// The provider's signature of the reasoning so far; void at any other provider.
    Signature(String),
    /// More of a tool call.
    ToolCall(ToolCallPiece),
    /// Log probabilities of the tokens of the text before it.
    Logprobs(Vec<TokenLogprob>),
    /// The undivided result of a request that is not a chat.
    Whole(Whole),
    /// Bytes for the client. The events behind it repeat what they say.
    Carried(Carried),
    /// The end. Nothing follows.
    Done(Completion),
}

/// An undivided result.
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
/// The first piece of an index carries `id` and `name`, later ones only arguments. Indexes count
/// from 0 without gaps. A call is complete when the next index or the end appears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCallPiece {
    /// The number of the call within its answer.
    pub index: u32,
    /// Set on the first piece; unique within the answer.
    pub id: Option<String>,
    /// Set on the first piece.
    pub name: Option<String>,
    /// A fragment of the arguments' JSON text.
    pub arguments: String,
}

/// The log probability of one token, with its alternatives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// Its UTF-8 bytes, if the provider sends them or the token is complete text.
    pub bytes: Option<Vec<u8>>,
    /// The most likely tokens at this position; their own alternatives are empty.
    pub top: Vec<TokenLogprob>,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Why it ended.
    pub finish: Finish,
    /// The stop text that was hit, if the provider reports it.
    pub stop_sequence: Option<String>,
    /// Its token counts.
    pub usage: Usage,
}

/// How long the phases of an answer took by the provider's own clock, in nanoseconds; 0 if unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// The whole call.
    pub total: u64,
    /// Loading the model.
    pub load: u64,
    /// Evaluating the prompt.
    pub prompt: u64,
    /// Generating the answer.
    pub answer: u64,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// By itself, or at a stop text.
    Stop,
    /// At the token limit.
    Length,
    /// So that the client runs tools.
    ToolCalls,
    /// A content filter stopped it, or the model refused.
    ContentFilter,
    /// The provider's own tools take long: it continues when the client sends back the answer so
    /// far.
    Paused,
    /// The prompt was empty: the model was only loaded.
    Load,
    /// The prompt was empty: the model was unloaded.
    Unload,
}

/// Token counts. `None` is unknown, which is not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The whole prompt, cached tokens included.
    pub prompt: Option<u64>,
    /// The whole answer, reasoning included.
    pub completion: Option<u64>,
    /// The part of the prompt that was read from a cache.
    pub cached: Option<u64>,
    /// The part of the prompt that was written to a cache.
    pub cache_written: Option<u64>,
    /// The part of the answer that was reasoning.
    pub reasoning: Option<u64>,
    /// How long it took by the provider's own clock, if it reports that: Ollama and
    /// `llama-server`.
    #[serde(default)]
    pub durations: Option<Durations>,
}

impl Usage {
    /// Prompt and completion together; unknown counts are 0.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.prompt.unwrap_or(0).saturating_add(self.completion.unwrap_or(0))
    }

    /// Takes later counts. Counts are cumulative, so the later one replaces the earlier; a missing
    /// or zero count replaces nothing.
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

/// The count that is valid after `later` arrived.
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
                // Even a piece without text takes memory.
                64 + piece.arguments.len() + named.sum::<usize>()
            }
            Self::Logprobs(tokens) => tokens.iter().map(|token| 64 * (1 + token.top.len())).sum(),
            Self::Whole(Whole::Embeddings(vectors)) => {
                vectors.iter().map(|vector| vector.len() * size_of::<f32>()).sum()
            }
            Self::Carried(carried) => carried.bytes.len(),
            // A document's size was checked when it was read.
            Self::Whole(Whole::Document(_) | Whole::Tokens(_)) | Self::Done(_) => 0,
        }
    }

    /// For carried bytes, how many of the following events repeat them.
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

    /// The completion, if this is the end of the answer.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_count_replaces_an_earlier_one_unless_it_is_missing_or_zero() {
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
