//! One answer for several readers, each at its own pace.
//!
//! It owns the events so far and the position of each reader. It never holds more than its bound:
//! beyond it, it forgets events that every reader has read, takes no more readers, and cuts loose
//! readers that are too far behind.
//!
//! The one thing to know: the fastest reader sets the pace. The slowest delays no other, and an
//! answer that no reader takes is not fetched.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::chat::{ChatEvent, GatewayError};

/// The size of an event beside its text.
const FRAME: usize = 96;

/// An answer and its readers.
#[derive(Debug)]
pub struct Log {
    events: VecDeque<Held>,
    /// How many events were forgotten, which is the number of the first one held.
    forgotten: u64,
    /// The size of the held events in bytes.
    held: usize,
    /// The bound in bytes.
    most: usize,
    /// How many of the next events repeat carried bytes, which are the same answer.
    covered: u32,
    readers: BTreeMap<ReaderId, Cursor>,
    /// How often the answer has begun anew.
    round: u32,
    next_reader: u64,
    failure: Option<GatewayError>,
}

/// One of a log's readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReaderId(u64);

/// The next piece for a reader.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// An event.
    Event(Arc<ChatEvent>),
    /// The answer begins anew: what was read so far is void.
    Anew,
    /// Nothing yet.
    Wait,
    /// The answer failed; nothing follows.
    Failed(GatewayError),
    /// The reader was too far behind or has left; nothing follows.
    CutLoose,
}

/// The position of a reader.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    /// The number of the next event.
    at: u64,
    /// The round that it reads.
    round: u32,
}

#[derive(Debug)]
struct Held {
    event: Arc<ChatEvent>,
    size: usize,
}

impl Log {
    /// An empty log that holds at most about `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            events: VecDeque::new(),
            forgotten: 0,
            held: 0,
            most,
            covered: 0,
            readers: BTreeMap::new(),
            round: 0,
            next_reader: 0,
            failure: None,
        }
    }

    /// Adds a reader at the beginning; `None` when the beginning is forgotten, or when the reader
    /// could not catch up before it is.
    pub fn join(&mut self) -> Option<ReaderId> {
        if !self.is_complete() || self.held > self.most / 2 || self.failure.is_some() {
            return None;
        }
        let reader = ReaderId(self.next_reader);
        self.next_reader += 1;
        self.readers.insert(reader, Cursor { at: 0, round: self.round });
        Some(reader)
    }

    /// Removes a reader. Returns whether it was the last.
    pub fn leave(&mut self, reader: ReaderId) -> bool {
        self.readers.remove(&reader);
        self.readers.is_empty()
    }

    /// Takes the next piece for the reader.
    pub fn read(&mut self, reader: ReaderId) -> Next {
        let Some(cursor) = self.readers.get_mut(&reader) else { return Next::CutLoose };
        if cursor.round != self.round {
            cursor.round = self.round;
            return Next::Anew;
        }
        let index = usize::try_from(cursor.at.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        match (self.events.get(index), &self.failure) {
            (Some(held), _) => {
                cursor.at += 1;
                Next::Event(Arc::clone(&held.event))
            }
            (None, Some(error)) => Next::Failed(error.clone()),
            (None, None) => Next::Wait,
        }
    }

    /// Adds an event, and forgets events or cuts readers loose as the bound requires. Returns
    /// whether a reader was cut loose.
    pub fn append(&mut self, event: ChatEvent) -> bool {
        let is_covered = self.covered > 0;
        self.covered = event.covers().unwrap_or(self.covered.saturating_sub(1));
        let said = if is_covered { 0 } else { event.size() };
        let size = said.saturating_add(FRAME);
        self.held = self.held.saturating_add(size);
        self.events.push_back(Held { event: Arc::new(event), size });
        let before = self.readers.len();
        while self.held > self.most {
            let Some(fastest) = self.fastest() else { break };
            if fastest == self.forgotten {
                // No reader has read the first held event. The pace keeps the unread part small.
                break;
            }
            self.readers.retain(|_, cursor| cursor.at > self.forgotten);
            self.forget_first();
        }
        self.readers.len() < before
    }

    /// Begins the answer anew for every reader.
    pub fn restart(&mut self) {
        self.events.clear();
        (self.forgotten, self.held, self.covered) = (0, 0, 0);
        self.round += 1;
        for cursor in self.readers.values_mut() {
            cursor.at = 0;
        }
    }

    /// Ends the log with a failure, which every reader gets after the earlier events.
    pub fn fail(&mut self, error: GatewayError) {
        self.failure.get_or_insert(error);
    }

    /// Whether the fastest reader has fewer than `ahead` events left to read, so that the next may
    /// be fetched.
    #[must_use]
    pub fn has_room(&self, ahead: u64) -> bool {
        let end = self.forgotten + u64::try_from(self.events.len()).unwrap_or(u64::MAX);
        self.fastest().is_none_or(|fastest| end.saturating_sub(fastest) < ahead)
    }

    /// Whether no event was forgotten yet.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.forgotten == 0
    }

    /// How many readers there are.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.readers.len()
    }

    /// The held events, in order.
    pub fn events(&self) -> impl Iterator<Item = &ChatEvent> {
        self.events.iter().map(|held| &*held.event)
    }

    fn fastest(&self) -> Option<u64> {
        self.readers.values().map(|cursor| cursor.at).max()
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.events.pop_front() {
            self.held = self.held.saturating_sub(first.size);
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests;
