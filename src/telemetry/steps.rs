//! The steps of a request between its arrival and its end, which only the journal takes note of.

use std::sync::Arc;
use std::time::Duration;

use super::facts::{RequestBegan, Track};
use super::journal::JOURNAL;

impl RequestBegan<'_> {
    /// Has the request followed.
    #[must_use]
    pub fn emit(self) -> Track {
        JOURNAL.began(&self)
    }
}

/// A request has to wait in a provider's line.
#[derive(Debug)]
pub struct RequestWaits<'a> {
    /// Which request.
    pub track: Track,
    /// The provider.
    pub provider: &'a Arc<str>,
    /// The model that would answer.
    pub model: &'a Arc<str>,
}

impl RequestWaits<'_> {
    /// Takes note of it.
    pub fn emit(self) {
        JOURNAL.update(self.track, |entry| entry.waits(self.provider, self.model));
    }
}

/// A provider is called.
#[derive(Debug)]
pub struct CallBegan<'a> {
    /// For which request.
    pub track: Track,
    /// The provider.
    pub provider: &'a Arc<str>,
    /// The model that is to answer.
    pub model: &'a Arc<str>,
    /// How many calls that makes for this request.
    pub attempts: u32,
    /// Time the request has spent in lines.
    pub queued: Duration,
}

impl CallBegan<'_> {
    /// Takes note of it.
    pub fn emit(self) {
        let who = (self.provider, self.model);
        JOURNAL.update(self.track, |entry| entry.called(who, self.attempts, self.queued));
    }
}

/// The first piece of an answer is there.
#[derive(Debug)]
pub struct AnswerBegan {
    /// Of which request.
    pub track: Track,
    /// Since its arrival.
    pub after: Duration,
}

impl AnswerBegan {
    /// Takes note of it.
    pub fn emit(self) {
        JOURNAL.update(self.track, |entry| entry.answers(self.after));
    }
}
