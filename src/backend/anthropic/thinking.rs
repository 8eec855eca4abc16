//! Deciding whether a request may think, and how much.
//!
//! The rules are the API's: a budget is at least 1024 tokens and below `max_tokens`; thinking allows no forced
//! tool call; and while a tool loop runs, the turn that called must begin with its signed thinking.

use serde_json::{Value, json};

use super::DEFAULT_MAX_TOKENS;
use crate::chat::{ChatRequest, Effort, Message, Part, Role, ToolChoice};

/// Opens the stand-in for thinking that Anthropic shows to nobody, so that it finds its way back.
pub(super) const REDACTED: &str = "redacted:";

/// The least budget that the API takes, in tokens.
const LEAST: u32 = 1024;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thinking {
    /// The budget in tokens; 0 is off.
    budget: u32,
    /// Whether the request says anything about thinking.
    is_told: bool,
    /// The limit of the whole answer, thinking included.
    pub(super) max_tokens: u32,
    /// Whether thinking was wanted and cannot be.
    pub(super) is_dropped: bool,
}

impl Thinking {
    /// `usual` is the operator's limit for requests without one.
    pub(super) fn of(request: &ChatRequest, usual: Option<u32>) -> Self {
        let usual = usual.unwrap_or(DEFAULT_MAX_TOKENS);
        let limit = request.sampling.max_tokens;
        let off = Self {
            budget: 0,
            is_told: false,
            max_tokens: limit.unwrap_or(usual),
            is_dropped: false,
        };
        // The numbers are those by which Google reads efforts; Anthropic names none.
        let wanted = match request.effort {
            None => return off,
            Some(Effort::None) => return Self { is_told: true, ..off },
            Some(Effort::Minimal | Effort::Low) => LEAST,
            Some(Effort::On | Effort::Medium) => 8192,
            Some(Effort::High | Effort::XHigh | Effort::Max) => 24_576,
            Some(Effort::Budget(tokens)) => tokens.max(LEAST),
        };
        let max_tokens = limit.unwrap_or_else(|| usual.saturating_add(wanted));
        let budget = wanted.min(max_tokens.saturating_sub(1));
        let is_forced = match request.tool_choice {
            ToolChoice::Auto | ToolChoice::None => false,
            ToolChoice::Required | ToolChoice::Named(_) => true,
        };
        if budget < LEAST || is_forced || is_in_unsigned_loop(&request.messages) {
            return Self { is_dropped: true, ..off };
        }
        Self { budget, is_told: true, max_tokens, is_dropped: false }
    }

    pub(super) fn is_on(self) -> bool {
        self.budget > 0
    }

    /// The request's field.
    pub(super) fn field(self) -> Option<Value> {
        match self.budget {
            0 => self.is_told.then(|| json!({"type": "disabled"})),
            budget => Some(json!({"type": "enabled", "budget_tokens": budget})),
        }
    }
}

/// Whether Anthropic gave the signature: its are base64, other providers' are marked with a colon.
pub(super) fn is_own(signature: &str) -> bool {
    !signature.is_empty() && (signature.starts_with(REDACTED) || !signature.contains(':'))
}

/// Whether tools have just answered a turn that did not think, or not here.
fn is_in_unsigned_loop(messages: &[Message]) -> bool {
    let mut latest = messages.iter().rev().filter(|message| message.role != Role::System);
    if latest.next().is_none_or(|message| message.role != Role::Tool) {
        return false;
    }
    let caller = messages.iter().rev().find(|message| message.role == Role::Assistant);
    !caller.is_some_and(|caller| {
        caller.content.iter().any(|part| match part {
            Part::Reasoning { signature: Some(signature), .. } => is_own(signature),
            Part::Reasoning { signature: None, .. }
            | Part::Text(_)
            | Part::Image(_)
            | Part::ToolCall(_)
            | Part::ToolResult(_)
            | Part::CacheMark(_)
            | Part::Document(_)
            | Part::Foreign(_) => false,
        })
    })
}
