//! What is known about a request at its beginning and at its end, for the counters, the access line
//! and the journal.
//!
//! It owns these structs and does nothing with them.

use std::sync::Arc;
use std::time::Duration;

use super::outcome::Outcome;
use crate::chat::{Reason, Usage};

/// Identifies a request's journal entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Track(pub(super) Option<(usize, u64)>);

/// A request ended: the access line.
#[derive(Debug)]
pub struct RequestEnded<'a> {
    /// Its journal entry, if it has begun.
    pub track: Option<Track>,
    /// The request's id.
    pub request_id: &'a Arc<str>,
    /// The name of the caller's key, if known.
    pub caller: Option<&'a Arc<str>>,
    /// Its dialect.
    pub dialect: &'static str,
    /// The provider that answered or failed last.
    pub provider: Option<&'a Arc<str>>,
    /// The model that ran or would have run.
    pub model: Option<&'a Arc<str>>,
    /// Calls made to any provider.
    pub attempts: u32,
    /// Whether another call continued an answer that broke off.
    pub is_resumed: bool,
    /// The HTTP status; 499 if the client disconnected before one was sent.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// The error's code, if there is one.
    pub code: Option<&'static str>,
    /// The reason, if it was turned away.
    pub reason: Option<Reason>,
    /// The internal cause, if there is one; it begins with the reason.
    pub cause: Option<&'a str>,
    /// Its times.
    pub timing: Timing,
    /// The provider's token counts.
    pub usage: Usage,
}

/// The times of a request, from its arrival.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Time spent in lines.
    pub queued: Duration,
    /// The part of it that was spent waiting for loads of the model; `None` if there was no load.
    pub load: Option<Duration>,
    /// Time spent waiting for providers.
    pub upstream: Duration,
    /// Until the first piece of the answer.
    pub first: Option<Duration>,
    /// Until the end.
    pub total: Duration,
}

/// A request was read, its caller is known, and it goes to the router.
#[derive(Debug)]
pub struct RequestBegan<'a> {
    /// The request's id.
    pub request_id: &'a Arc<str>,
    /// The name of the caller's key.
    pub caller: &'a Arc<str>,
    /// Its dialect.
    pub dialect: &'static str,
    /// The model name that the client sent.
    pub asked: Option<&'a str>,
}

/// The kinds of actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// Hands jobs to providers on one worker.
    Router,
    /// Decides for one provider on one worker.
    Provider,
}

impl ActorKind {
    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Provider => "provider",
        }
    }
}
