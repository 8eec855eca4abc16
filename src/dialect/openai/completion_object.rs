//! The object that chat and legacy completions write, as a whole answer or as one piece of a
//! stream.
//!
//! The one thing to know: if a stream's counts were requested, every piece has `usage`: null
//! everywhere but in the last piece, which has no choices.

use std::time::UNIX_EPOCH;

use serde::Serialize;

use super::Counts;
use crate::chat::{ChatRequest, Usage};
use crate::dialect::AnswerHead;
use crate::wire::{json, sse};

/// The fields that all pieces of one answer have in common.
pub(super) struct Identity {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    with_usage: bool,
}

impl Identity {
    /// The identity of an answer whose id begins with `prefix`.
    pub(super) fn new(
        prefix: &str,
        object: &'static str,
        request: &ChatRequest,
        head: &AnswerHead,
    ) -> Self {
        Self {
            id: format!("{prefix}-{}", head.id.simple()),
            object,
            created: created(head),
            model: head.model_for(request.model.as_deref()),
            with_usage: request.shape.stream_usage,
        }
    }

    /// Writes a whole answer.
    pub(super) fn whole<C: Serialize>(&self, choice: C, usage: &Usage, out: &mut Vec<u8>) {
        json::write(out, &self.completion(&[choice], Some(Some(Counts::from(usage)))));
    }

    /// Writes one piece of a stream.
    pub(super) fn piece<C: Serialize>(&self, choice: C, out: &mut Vec<u8>) {
        sse::write("", &self.completion(&[choice], self.with_usage.then_some(None)), out);
    }

    /// Ends a stream, with the counts if they were requested.
    pub(super) fn end(&self, usage: &Usage, out: &mut Vec<u8>) {
        if self.with_usage {
            let choices: [(); 0] = [];
            sse::write("", &self.completion(&choices, Some(Some(Counts::from(usage)))), out);
        }
        out.extend_from_slice(sse::DONE);
    }

    fn completion<'a, C>(
        &'a self,
        choices: &'a [C],
        usage: Option<Option<Counts>>,
    ) -> Completion<'a, C> {
        let Self { id, object, created, model, .. } = self;
        Completion { id, object, created: *created, model, choices, usage }
    }
}

/// The Unix time in seconds at which the answer began.
pub(super) fn created(head: &AnswerHead) -> u64 {
    head.created.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[derive(Serialize)]
struct Completion<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [C],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Counts>>,
}
