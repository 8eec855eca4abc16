//! The shapes of whole and streamed messages.
//!
//! The one thing to know: `input_tokens` excludes tokens that were read from a cache or written to
//! one, while the gateway's own count of the prompt includes them.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::chat::{ChatRequest, Completion, Effort, Finish, Usage};
use crate::dialect::AnswerHead;

/// What is known about a message before its first block.
pub(super) struct Head {
    pub(super) id: String,
    /// The model's name for the client.
    pub(super) model: String,
    /// Whether the client gets thinking at all.
    pub(super) wants_thinking: bool,
    /// Whether the client gets its text.
    pub(super) shows_thinking: bool,
}

impl Head {
    pub(super) fn new(request: &ChatRequest, head: &AnswerHead) -> Self {
        let wants_thinking = request.effort.is_some_and(|effort| effort != Effort::None);
        Self {
            id: format!("msg_{}", head.id.simple()),
            model: head.model_for(request.model.as_deref()),
            wants_thinking,
            shows_thinking: wants_thinking
                && request.thinking_display.as_deref() != Some("omitted"),
        }
    }

    pub(super) fn message<'a>(
        &'a self,
        content: &'a [Block],
        ending: Ending<'a>,
        usage: Counts,
    ) -> Message<'a> {
        Message {
            id: &self.id,
            kind: "message",
            role: "assistant",
            model: &self.model,
            content,
            ending,
            usage,
        }
    }

    /// An id for the call `index`, for a provider that sent none.
    pub(super) fn call_id(&self, index: u32) -> String {
        format!("toolu_{}_{index}", self.id.trim_start_matches("msg_"))
    }
}

#[derive(Serialize)]
pub(super) struct Message<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: &'a [Block],
    #[serde(flatten)]
    ending: Ending<'a>,
    usage: Counts,
}

/// One block of a message; empty in a stream's announcement.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block {
    Text { text: String },
    Thinking { thinking: String, signature: String },
    RedactedThinking { data: String },
    ToolUse { id: String, name: String, input: Map<String, Value> },
}

/// Why a message ended; empty at its start.
#[derive(Default, Serialize)]
pub(super) struct Ending<'a> {
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
}

impl<'a> Ending<'a> {
    /// The ending of a message, which depends on whether it calls a tool.
    pub(super) fn new(done: &'a Completion, calls: bool) -> Self {
        let stop_sequence = done.stop_sequence.as_deref();
        let (stop_reason, stop_sequence) = match done.finish {
            Finish::Length => ("max_tokens", None),
            Finish::ContentFilter => ("refusal", None),
            Finish::ToolCalls => ("tool_use", None),
            Finish::Paused => ("pause_turn", None),
            Finish::Stop if calls => ("tool_use", None),
            Finish::Stop if stop_sequence.is_some() => ("stop_sequence", stop_sequence),
            Finish::Stop | Finish::Load | Finish::Unload => ("end_turn", None),
        };
        Self { stop_reason: Some(stop_reason), stop_sequence }
    }
}

#[derive(Serialize)]
pub(super) struct Counts {
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_input_tokens: Option<u64>,
    output_tokens: u64,
}

impl Counts {
    /// The counts of a message, whose shape requires numbers: an unknown one is 0.
    pub(super) fn of_message(usage: &Usage) -> Self {
        let counts = Self::of_end(usage);
        Self {
            input_tokens: counts.input_tokens.or(Some(0)),
            cache_creation_input_tokens: counts.cache_creation_input_tokens.or(Some(0)),
            cache_read_input_tokens: counts.cache_read_input_tokens.or(Some(0)),
            ..counts
        }
    }

    /// The counts at the end of a stream, where an unknown one does not replace the one at its
    /// start.
    pub(super) fn of_end(usage: &Usage) -> Self {
        let through_cache =
            usage.cached.unwrap_or(0).saturating_add(usage.cache_written.unwrap_or(0));
        Self {
            input_tokens: usage.prompt.map(|prompt| prompt.saturating_sub(through_cache)),
            cache_creation_input_tokens: usage.cache_written,
            cache_read_input_tokens: usage.cached,
            output_tokens: usage.completion.unwrap_or(0),
        }
    }
}
