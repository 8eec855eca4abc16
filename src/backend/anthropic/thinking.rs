//! Decides whether a request may think, and how much.
//!
//! The rules are the API's: a budget is at least 1024 tokens and below `max_tokens`; thinking
//! allows no forced tool call; and within a tool loop, the turn with the call must begin with its
//! signed thinking, unless the model thinks adaptively.

use serde_json::{Value, json};

use super::DEFAULT_MAX_TOKENS;
use super::thinking_style::ThinkingStyle;
use crate::chat::{ChatRequest, Effort, Message, Part, Role, ToolChoice};
use crate::wire::signature::REDACTED;

/// The smallest budget that the API accepts, in tokens.
const MIN_BUDGET: u32 = 1024;

/// The decision.
#[derive(Debug, Clone)]
pub(super) struct Thinking {
    mode: Mode,
    /// Whether the answer shows the thinking, as the client asked.
    display: Option<String>,
    /// The limit of the whole answer, including thinking.
    pub(super) max_tokens: u32,
    /// Whether the client asked for thinking that is not possible.
    pub(super) is_dropped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The field is left out.
    Unset,
    Off,
    /// At most this many tokens.
    Budget(u32),
    /// As much as the model decides, guided by an effort.
    Adaptive(Option<&'static str>),
}

impl Thinking {
    /// Decides for a model of this style. `usual` is the operator's limit for requests without one.
    pub(super) fn of(request: &ChatRequest, style: ThinkingStyle, usual: Option<u32>) -> Self {
        let usual = usual.unwrap_or(DEFAULT_MAX_TOKENS);
        let limit = request.sampling.max_tokens;
        let unset = Self {
            mode: Mode::Unset,
            display: None,
            max_tokens: limit.unwrap_or(usual),
            is_dropped: false,
        };
        let Some(effort) = request.effort else { return unset };
        let dropped = Self { is_dropped: true, ..unset.clone() };
        // Anthropic documents no numbers for efforts; these are Google's.
        let wanted = match effort {
            // A model without thinking needs no field to turn it off.
            Effort::None if style == ThinkingStyle::Plain => return unset,
            Effort::None => return Self { mode: Mode::Off, ..unset },
            Effort::Minimal | Effort::Low => MIN_BUDGET,
            Effort::On | Effort::Medium => 8192,
            Effort::High | Effort::XHigh | Effort::Max => 24_576,
            Effort::Budget(tokens) => tokens.max(MIN_BUDGET),
        };
        let is_forced = match request.tool_choice {
            ToolChoice::Auto | ToolChoice::None => false,
            ToolChoice::Required | ToolChoice::Named(_) => true,
        };
        let max_tokens = limit.unwrap_or_else(|| usual.saturating_add(wanted));
        let mode = match style {
            _ if is_forced => return dropped,
            ThinkingStyle::Plain => return dropped,
            ThinkingStyle::Budget => {
                let budget = wanted.min(max_tokens.saturating_sub(1));
                if budget < MIN_BUDGET || is_in_unsigned_loop(&request.messages) {
                    return dropped;
                }
                Mode::Budget(budget)
            }
            ThinkingStyle::Adaptive => Mode::Adaptive(effort_word(effort)),
        };
        let display = request.thinking_display.clone();
        Self { mode, display, max_tokens, is_dropped: false }
    }

    pub(super) fn is_on(&self) -> bool {
        match self.mode {
            Mode::Unset | Mode::Off => false,
            Mode::Budget(_) | Mode::Adaptive(_) => true,
        }
    }

    /// The field `thinking` of the request.
    pub(super) fn field(&self) -> Option<Value> {
        let mut field = match self.mode {
            Mode::Unset => return None,
            Mode::Off => return Some(json!({"type": "disabled"})),
            Mode::Budget(budget) => json!({"type": "enabled", "budget_tokens": budget}),
            Mode::Adaptive(_) => json!({"type": "adaptive"}),
        };
        if let (Some(display), Some(fields)) = (&self.display, field.as_object_mut()) {
            fields.insert("display".to_owned(), json!(display));
        }
        Some(field)
    }

    /// The field `effort`, for models that think adaptively.
    pub(super) fn effort(&self) -> Option<&'static str> {
        match self.mode {
            Mode::Unset | Mode::Off | Mode::Budget(_) => None,
            Mode::Adaptive(effort) => effort,
        }
    }
}

/// The API's word for an effort; `None` lets the model decide.
fn effort_word(effort: Effort) -> Option<&'static str> {
    match effort {
        Effort::None | Effort::On => None,
        Effort::Minimal | Effort::Low | Effort::Budget(..=1024) => Some("low"),
        Effort::Medium | Effort::Budget(1025..=8192) => Some("medium"),
        Effort::High | Effort::Budget(8193..) => Some("high"),
        Effort::XHigh => Some("xhigh"),
        Effort::Max => Some("max"),
    }
}

/// Whether Anthropic made the signature: its signatures are base64, those of other providers are
/// marked with a colon.
pub(super) fn is_own(signature: &str) -> bool {
    !signature.is_empty() && (signature.starts_with(REDACTED) || !signature.contains(':'))
}

/// Whether the last messages are tool results for a turn without Anthropic's signed thinking.
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
