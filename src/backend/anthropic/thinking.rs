//! Deciding whether a request may think, and how much.
//!
//! The rules are the API's: a budget is at least 1024 tokens and below `max_tokens`; thinking allows no forced
//! tool call; and while a tool loop runs, the turn that called must begin with its signed thinking, unless the model
//! decides by itself when to think.

use serde_json::{Value, json};

use super::DEFAULT_MAX_TOKENS;
use super::thinking_style::ThinkingStyle;
use crate::chat::{ChatRequest, Effort, Message, Part, Role, ToolChoice};
use crate::wire::signature::REDACTED;

/// The least budget that the API takes, in tokens.
const LEAST: u32 = 1024;

/// What was decided.
#[derive(Debug, Clone)]
pub(super) struct Thinking {
    how: How,
    /// Whether it is to be shown, as the client said.
    display: Option<String>,
    /// The limit of the whole answer, thinking included.
    pub(super) max_tokens: u32,
    /// Whether thinking was wanted and cannot be.
    pub(super) is_dropped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Nothing is said about it.
    Untold,
    Off,
    /// At most so many tokens.
    Budget(u32),
    /// As the model sees fit, guided by a word.
    Adaptive(Option<&'static str>),
}

impl Thinking {
    /// `usual` is the operator's limit for requests without one.
    pub(super) fn of(request: &ChatRequest, style: ThinkingStyle, usual: Option<u32>) -> Self {
        let usual = usual.unwrap_or(DEFAULT_MAX_TOKENS);
        let limit = request.sampling.max_tokens;
        let untold = Self {
            how: How::Untold,
            display: None,
            max_tokens: limit.unwrap_or(usual),
            is_dropped: false,
        };
        let Some(effort) = request.effort else { return untold };
        let dropped = Self { is_dropped: true, ..untold.clone() };
        // The numbers are those by which Google reads efforts; Anthropic names none.
        let wanted = match effort {
            // Not to think is what a plain model does anyway.
            Effort::None if style == ThinkingStyle::Plain => return untold,
            Effort::None => return Self { how: How::Off, ..untold },
            Effort::Minimal | Effort::Low => LEAST,
            Effort::On | Effort::Medium => 8192,
            Effort::High | Effort::XHigh | Effort::Max => 24_576,
            Effort::Budget(tokens) => tokens.max(LEAST),
        };
        let is_forced = match request.tool_choice {
            ToolChoice::Auto | ToolChoice::None => false,
            ToolChoice::Required | ToolChoice::Named(_) => true,
        };
        let max_tokens = limit.unwrap_or_else(|| usual.saturating_add(wanted));
        let how = match style {
            _ if is_forced => return dropped,
            ThinkingStyle::Plain => return dropped,
            ThinkingStyle::Budget => {
                let budget = wanted.min(max_tokens.saturating_sub(1));
                if budget < LEAST || is_in_unsigned_loop(&request.messages) {
                    return dropped;
                }
                How::Budget(budget)
            }
            ThinkingStyle::Adaptive => How::Adaptive(word(effort)),
        };
        let display = request.thinking_display.clone();
        Self { how, display, max_tokens, is_dropped: false }
    }

    pub(super) fn is_on(&self) -> bool {
        match self.how {
            How::Untold | How::Off => false,
            How::Budget(_) | How::Adaptive(_) => true,
        }
    }

    /// The request's field.
    pub(super) fn field(&self) -> Option<Value> {
        let mut field = match self.how {
            How::Untold => return None,
            How::Off => return Some(json!({"type": "disabled"})),
            How::Budget(budget) => json!({"type": "enabled", "budget_tokens": budget}),
            How::Adaptive(_) => json!({"type": "adaptive"}),
        };
        if let (Some(display), Some(fields)) = (&self.display, field.as_object_mut()) {
            fields.insert("display".to_owned(), json!(display));
        }
        Some(field)
    }

    /// The effort, where it is a word.
    pub(super) fn effort(&self) -> Option<&'static str> {
        match self.how {
            How::Untold | How::Off | How::Budget(_) => None,
            How::Adaptive(effort) => effort,
        }
    }
}

/// The API's word for an effort; `None` is the model's own choice.
fn word(effort: Effort) -> Option<&'static str> {
    match effort {
        Effort::None | Effort::On => None,
        Effort::Minimal | Effort::Low | Effort::Budget(..=1024) => Some("low"),
        Effort::Medium | Effort::Budget(1025..=8192) => Some("medium"),
        Effort::High | Effort::Budget(8193..) => Some("high"),
        Effort::XHigh => Some("xhigh"),
        Effort::Max => Some("max"),
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
