//! The steps of a request between its arrival and its end, which only the journal records.

use std::sync::Arc;
use std::time::Duration;

use super::facts::{RequestBegan, Track};
use super::journal::JOURNAL;

impl RequestBegan<'_> {
    /// Begins to track the request.
    #[must_use]
    pub fn emit(self) -> Track {
        JOURNAL.began(&self)
    }
}

/// A request waits in a provider's line.
#[derive(Debug)]
pub struct RequestWaits<'a> {
    /// The request.
    pub track: Track,
    /// The provider.
    pub provider: &'a Arc<str>,
    /// The model that would answer.
    pub model: &'a Arc<str>,
}

impl RequestWaits<'_> {
    /// Updates the journal.
    pub fn emit(self) {
        JOURNAL.update(self.track, |entry| entry.waits(self.provider, self.model));
    }
}

/// A provider is called.
#[derive(Debug)]
pub struct CallBegan<'a> {
    /// The request.
    pub track: Track,
    /// The provider.
    pub provider: &'a Arc<str>,
    /// The model that will answer.
    pub model: &'a Arc<str>,
    /// How many calls were made for this request, including this one.
    pub attempts: u32,
    /// How long the request waited in lines.
    pub queued: Duration,
}

impl CallBegan<'_> {
    /// Updates the journal.
    pub fn emit(self) {
        let who = (self.provider, self.model);
        JOURNAL.update(self.track, |entry| entry.called(who, self.attempts, self.queued));
    }
}

/// The first piece of an answer arrived.
#[derive(Debug)]
pub struct AnswerBegan {
    /// The request.
    pub track: Track,
    /// The time since its arrival.
    pub after: Duration,
}

impl AnswerBegan {
    /// Updates the journal.
    pub fn emit(self) {
        JOURNAL.update(self.track, |entry| entry.answers(self.after));
    }
}
