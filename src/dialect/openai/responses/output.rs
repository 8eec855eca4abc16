//! The items of a response while it grows.
//!
//! It owns the order of items and their JSON form. An item is written three times, when it is
//! added, when it is done and within the whole response, always by the same function.
//!
//! The one thing to know: an item's own id and a call's `call_id` differ. Results refer to the
//! latter.

use serde_json::{Value, json};

use super::call::Call;
use super::sealed::{Signature, seal};
use crate::chat::TokenLogprob;
use crate::dialect::openai::Logprob;

/// The status of an item or a response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It grows.
    InProgress,
    /// It is complete.
    Completed,
    /// It was cut off at the token limit or by a filter.
    Incomplete,
    /// It failed midway.
    Failed,
}

impl Status {
    /// The API's name.
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
    /// Its status.
    pub(super) status: Status,
    /// Its content.
    pub(super) kind: Kind,
}

/// The content of an item.
pub(super) enum Kind {
    /// Visible text.
    Message {
        /// The text so far.
        text: String,
        /// The log probabilities of its tokens.
        logprobs: Vec<TokenLogprob>,
    },
    /// Reasoning, written as a summary, which clients show.
    Reasoning {
        /// The text so far.
        text: String,
        /// The provider's signatures so far; only for clients that send them back.
        signatures: Vec<Signature>,
    },
    /// A call of a tool.
    Call(Call),
}

impl Item {
    /// The item in the API's form.
    pub(super) fn value(&self) -> Value {
        let status = self.status.as_str();
        match &self.kind {
            Kind::Message { .. } => {
                // A message begins without parts; its only part is added afterwards.
                let begins = self.status == Status::InProgress;
                let content = if begins { json!([]) } else { json!([self.part()]) };
                json!({
                    "id": self.id, "type": "message", "role": "assistant", "status": status,
                    "content": content,
                })
            }
            Kind::Reasoning { text, signatures } => {
                let summary = if text.is_empty() { json!([]) } else { json!([self.part()]) };
                let mut item = json!({"id": self.id, "type": "reasoning", "summary": summary});
                if let Some(item) = item.as_object_mut().filter(|_| !signatures.is_empty()) {
                    item.insert("encrypted_content".to_owned(), json!(seal(text, signatures)));
                }
                item
            }
            Kind::Call(call) => call.value(&self.id, status),
        }
    }

    /// The only part of a message or of a summary.
    pub(super) fn part(&self) -> Value {
        match &self.kind {
            Kind::Message { text, .. } => json!({
                "type": "output_text", "text": text, "annotations": [], "logprobs": self.logprobs(),
            }),
            Kind::Reasoning { text, .. } => json!({"type": "summary_text", "text": text}),
            Kind::Call(_) => Value::Null,
        }
    }

    /// Log probabilities in the API's form; a list even if there are none.
    pub(super) fn logprobs(&self) -> Value {
        match &self.kind {
            Kind::Message { logprobs, .. } => {
                logprobs.iter().map(|token| json!(Logprob::from(token))).collect()
            }
            Kind::Reasoning { .. } | Kind::Call(_) => json!([]),
        }
    }
}
