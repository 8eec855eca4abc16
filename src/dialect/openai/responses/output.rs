//! The items of a response while it grows.
//!
//! It owns the order of items and their JSON form. An item is written three times, when it is added, when it is
//! done and within the whole response, and always by the same function.
//!
//! The one thing to know: an item's own id and a call's `call_id` differ. Results name the latter.

use serde_json::{Value, json};

use crate::chat::TokenLogprob;
use crate::dialect::openai::Logprob;

/// How far an item or a response has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// More of it comes.
    InProgress,
    /// All of it is there.
    Completed,
    /// It was cut at the token limit or by a filter.
    Incomplete,
    /// It failed midway.
    Failed,
}

impl Status {
    /// The API's word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// One item of the output.
pub(super) struct Item {
    /// Its id, unique within the response.
    pub(super) id: String,
    /// How far it has come.
    pub(super) status: Status,
    /// What it is.
    pub(super) kind: Kind,
}

/// What an item is.
pub(super) enum Kind {
    /// Visible text.
    Message {
        /// So far.
        text: String,
        /// Of its tokens.
        logprobs: Vec<TokenLogprob>,
    },
    /// Thinking, given as a summary, which is what clients show.
    Reasoning {
        /// So far.
        text: String,
    },
    /// A call of a function.
    Call {
        /// Links the call to its result.
        call_id: String,
        /// The function.
        name: String,
        /// JSON text, so far.
        arguments: String,
    },
}

impl Item {
    /// The item in the API's form.
    pub(super) fn value(&self) -> Value {
        let status = self.status.as_str();
        match &self.kind {
            Kind::Message { .. } => {
                // A message begins without parts; its only part is announced after it.
                let begins = self.status == Status::InProgress;
                let content = if begins { json!([]) } else { json!([self.part()]) };
                json!({
                    "id": self.id, "type": "message", "role": "assistant", "status": status,
                    "content": content,
                })
            }
            Kind::Reasoning { text } => {
                let summary = if text.is_empty() { json!([]) } else { json!([self.part()]) };
                json!({"id": self.id, "type": "reasoning", "summary": summary})
            }
            Kind::Call { call_id, name, arguments } => json!({
                "id": self.id, "type": "function_call", "call_id": call_id, "name": name,
                "arguments": arguments, "status": status,
            }),
        }
    }

    /// Whether it is a call whose arguments are an empty text so far.
    pub(super) fn lacks_arguments(&self) -> bool {
        match &self.kind {
            Kind::Call { arguments, .. } => arguments.is_empty(),
            Kind::Message { .. } | Kind::Reasoning { .. } => false,
        }
    }

    /// The only part of a message or of a summary.
    pub(super) fn part(&self) -> Value {
        match &self.kind {
            Kind::Message { text, .. } => json!({
                "type": "output_text", "text": text, "annotations": [], "logprobs": self.logprobs(),
            }),
            Kind::Reasoning { text } => json!({"type": "summary_text", "text": text}),
            Kind::Call { .. } => Value::Null,
        }
    }

    /// Log probabilities in the API's form; a list even when there are none.
    pub(super) fn logprobs(&self) -> Value {
        match &self.kind {
            Kind::Message { logprobs, .. } => {
                logprobs.iter().map(|token| json!(Logprob::from(token))).collect()
            }
            Kind::Reasoning { .. } | Kind::Call { .. } => json!([]),
        }
    }
}
