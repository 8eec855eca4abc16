//! What is said of a request at its beginning and at its end, for the counters, the access line and the journal alike.
//!
//! It owns these facts and nothing that is done with them.

use std::sync::Arc;
use std::time::Duration;

use super::outcome::Outcome;
use crate::chat::Usage;

/// How to find a request's entry again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Track(pub(super) Option<(usize, u64)>);

/// A request ended: the access line.
#[derive(Debug)]
pub struct RequestEnded<'a> {
    /// Where the journal follows it, once it began.
    pub track: Option<Track>,
    /// The request's id.
    pub request_id: &'a Arc<str>,
    /// The caller's configured name, once known.
    pub caller: Option<&'a Arc<str>>,
    /// The dialect it spoke.
    pub dialect: &'static str,
    /// The provider that answered or failed last.
    pub provider: Option<&'a Arc<str>>,
    /// The model that ran or would have run.
    pub model: Option<&'a Arc<str>>,
    /// Calls made to any provider.
    pub attempts: u32,
    /// Whether another provider was called to go on with an answer that died midway.
    pub is_resumed: bool,
    /// The HTTP status; 499 when the client left before one was sent.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// The error's code, where there is one.
    pub code: Option<&'static str>,
    /// What went wrong inside, where there is something to say.
    pub cause: Option<&'a str>,
    /// When things happened.
    pub timing: Timing,
    /// What the provider counted.
    pub usage: Usage,
}

/// When things happened, counted from a request's arrival.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Time spent in lines.
    pub queued: Duration,
    /// Time spent waiting for providers.
    pub upstream: Duration,
    /// Until the first piece of the answer.
    pub first: Option<Duration>,
    /// Until the end.
    pub total: Duration,
}

/// A request is read, its caller is known, and it goes on its way.
#[derive(Debug)]
pub struct RequestBegan<'a> {
    /// The request's id.
    pub request_id: &'a Arc<str>,
    /// The caller's configured name.
    pub caller: &'a Arc<str>,
    /// The dialect it spoke.
    pub dialect: &'static str,
    /// The model that was asked for.
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
