//! Where an answer is looked for before a call is made, and what becomes of it once it is whole.
//!
//! It owns the last look at an answer: whether it came to its own end, and under which key it is kept, which is that
//! of the model that really answered. It refuses what was cut short, refused, or answered by somebody it does not know.
//!
//! The one thing to know: it also holds the call's place among those in flight, and gives it up only after the answer
//! is kept, so that whoever comes finds one or the other.

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

/// Looks for and keeps one answer.
#[derive(Debug)]
pub struct Keeper {
    /// Where; `None` when answers are not kept.
    pub stores: Option<Stores>,
    /// The largest answer, in bytes.
    pub most: usize,
    /// The key for each model that may answer, the first one first.
    pub keys: Vec<(Candidate, Key)>,
    /// The call's place among those in flight, where others may join it.
    pub place: Option<Place>,
}

/// Where answers are kept.
#[derive(Debug)]
pub struct Stores {
    /// In this process, where nothing was found.
    pub memory: Arc<Memory>,
    /// In the Redis that replicas share, where there is one and the answer may go there.
    pub remote: Option<Remote>,
    /// How long.
    pub ttl: Duration,
    /// Whether the client takes an answer that was kept.
    pub may_look: bool,
}

impl Keeper {
    /// Looks for the answer where others have kept it.
    pub async fn find(&self) -> Option<(Candidate, Entry)> {
        let stores = self.stores.as_ref().filter(|stores| stores.may_look)?;
        let remote = stores.remote.as_ref()?;
        let first = self.keys.first().map(|(candidate, _)| Arc::clone(&candidate.model))?;
        let usable: Vec<&(Candidate, Key)> =
            self.keys.iter().filter(|(candidate, _)| candidate.model == first).collect();
        let keys: Vec<Key> = usable.iter().map(|(_, key)| *key).collect();
        let found = remote.get(&keys, stores.ttl).await?;
        let (candidate, key) = usable.get(found.index)?;
        // It is not younger for having been found. A clock that has not run that long cannot say so.
        if let Some(since) = Instant::now().checked_sub(found.age) {
            stores.memory.put(*key, found.bytes, since);
        }
        Some((candidate.clone(), found.entry))
    }

    /// Keeps the answer that `writer` has carried and `last` ends, if it is one to keep.
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
