//! Looks for an answer before a call is made, and stores it once it is complete.
//!
//! It owns the last check of an answer: whether it is complete, and under which key it is stored,
//! which is that of the model that answered. It does not store answers that were cut short,
//! refused, or given by an unknown candidate.
//!
//! The one thing to know: it also holds the call's place among those in flight, and gives it up
//! only after the answer is stored, so that a new request finds one or the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::Writer;
use super::eligible::is_worth_keeping;
use super::entry::{self, Entry};
use super::flights::Place;
use super::key::Key;
use super::memory::Memory;
use super::remote::Remote;
use crate::chat::ChatEvent;
use crate::job::{Candidate, Served};

/// Looks for and stores one answer.
#[derive(Debug)]
pub struct Keeper {
    /// The stores; `None` when answers are not cached.
    pub stores: Option<Stores>,
    /// The largest answer, in bytes.
    pub most: usize,
    /// The key for each candidate, in order.
    pub keys: Vec<(Candidate, Key)>,
    /// The call's place among those in flight, if others may join it.
    pub place: Option<Place>,
}

/// The stores of answers.
#[derive(Debug)]
pub struct Stores {
    /// The memory of this process, which had no answer.
    pub memory: Arc<Memory>,
    /// The replicas' shared Redis, if there is one and the answer may go there.
    pub remote: Option<Remote>,
    /// How long an answer is kept.
    pub ttl: Duration,
    /// Whether the client accepts a cached answer.
    pub may_look: bool,
}

impl Keeper {
    /// Looks for the answer in Redis.
    pub async fn find(&self) -> Option<(Candidate, Entry)> {
        let stores = self.stores.as_ref().filter(|stores| stores.may_look)?;
        let remote = stores.remote.as_ref()?;
        let first = self.keys.first().map(|(candidate, _)| Arc::clone(&candidate.model))?;
        let usable: Vec<&(Candidate, Key)> =
            self.keys.iter().filter(|(candidate, _)| candidate.model == first).collect();
        let keys: Vec<Key> = usable.iter().map(|(_, key)| *key).collect();
        let found = remote.get(&keys, stores.ttl).await?;
        let (candidate, key) = usable.get(found.index)?;
        // It keeps its age. A clock that has not run that long cannot express it.
        if let Some(since) = Instant::now().checked_sub(found.age) {
            stores.memory.put(*key, found.bytes, since);
        }
        Some((candidate.clone(), found.entry))
    }

    /// Stores the answer that `writer` has written and `last` ends, if it is worth keeping.
    pub fn keep(self, writer: &Writer, served: Option<&Served>, last: &ChatEvent) {
        let Some((stores, served)) = self.stores.zip(served) else { return };
        let ran = &served.candidate;
        let is_it = |one: &Candidate| one.provider == ran.provider && one.model == ran.model;
        let key = self.keys.iter().find(|(candidate, _)| is_it(candidate));
        let Some((_, key)) = key.filter(|_| is_worth_keeping(last)) else { return };
        let bytes =
            writer.all_events(|events| entry::write(&served.dropped, events, last, self.most));
        let Some(bytes) = bytes else { return };
        stores.memory.put(*key, bytes.clone(), Instant::now());
        if let Some(remote) = stores.remote {
            drop(actix::spawn(remote.put(*key, bytes, stores.ttl)));
        }
    }
}
