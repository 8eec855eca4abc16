//! The conversations that a server is believed to have in its prompt cache.
//!
//! Owns their digests, the least recently used first, and what they are looked up by. It knows
//! nothing of tokens, rates or time; sizes are bytes.
//!
//! Invariants: no more than [`MOST`] conversations and [`MOST_BEGINNINGS`] digests are held; every
//! beginning of a held conversation can be found, so that of a chain's beginnings those that are
//! known come first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::chat::{Beginning, Chain};

/// How many conversations are held.
const MOST: usize = 1024;
/// How many digests all of them may have together.
const MOST_BEGINNINGS: usize = 65_536;

/// See the module's introduction.
#[derive(Debug, Default)]
pub struct Memory {
    held: HashMap<Number, Held>,
    /// By last use.
    order: BTreeMap<u64, Number>,
    /// Every beginning of every held conversation.
    known: HashMap<u64, Known>,
    /// Whole conversations by their digest.
    whole: HashMap<u64, Number>,
    bytes: u64,
    beginnings: usize,
    last: u64,
}

/// Names a held conversation; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number(u64);

#[derive(Debug)]
struct Held {
    chain: Arc<Chain>,
    caller: Arc<str>,
    /// The size of the answer that follows.
    answer: u64,
    used: u64,
    /// When its last call ended, until it comes again.
    ended: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    /// How many held conversations begin so.
    held: u32,
    /// One of them.
    by: Number,
}

/// What was known of a conversation when it was sent.
#[derive(Debug)]
pub struct Entered {
    /// The conversation.
    pub number: Number,
    /// The size of its longest known beginning.
    pub known: u32,
    /// The same of the caller's own conversations.
    pub own: u32,
    /// The size of all that were used since it was used last; of everything if it is new.
    pub distance: u64,
    /// What was held of it before; `None` if nothing.
    pub before: Option<Arc<Chain>>,
}

impl Memory {
    /// The size of the chain's longest known beginning.
    pub fn known(&self, chain: &Chain) -> u32 {
        size(self.known_of(chain))
    }

    /// The held conversation that this one continues.
    pub fn find(&self, chain: &Chain) -> Option<Number> {
        self.continued(self.known_of(chain))
    }

    /// Takes the time at which the conversation's last call ended; `None` when it was taken.
    pub fn take_end(&mut self, number: Number) -> Option<Instant> {
        self.held.get_mut(&number)?.ended.take()
    }

    /// The conversation is sent to the server.
    pub fn enter(&mut self, chain: &Arc<Chain>, caller: &Arc<str>) -> Entered {
        let known = self.known_of(chain);
        let (own, found) = (self.own(known, caller), self.continued(known));
        let known = size(known);
        let distance = match found.and_then(|number| self.held.get(&number)) {
            Some(held) => self.since(held.used),
            None => self.bytes,
        };
        let number = found.unwrap_or_else(|| self.number());
        let before = found.map(|_| self.replace(number, chain));
        if before.is_none() {
            let caller = Arc::clone(caller);
            let chain = Arc::clone(chain);
            self.bytes += u64::from(chain.size());
            self.held.insert(number, Held { chain, caller, answer: 0, used: 0, ended: None });
            self.index(number, 0);
        }
        self.touch(number, caller);
        self.keep(u64::MAX);
        Entered { number, known, own, distance, before }
    }

    /// The conversation's call has ended with an answer of this size.
    pub fn answered(&mut self, number: Number, answer: u64, now: Instant) {
        if let Some(held) = self.held.get_mut(&number) {
            self.bytes = self.bytes - held.answer + answer;
            (held.answer, held.ended) = (answer, Some(now));
        }
    }

    /// The conversation was not read: only what was held before is.
    pub fn withdraw(&mut self, number: Number, before: Option<&Arc<Chain>>) {
        match before {
            Some(before) => drop(self.replace(number, before)),
            None => self.remove(number),
        }
    }

    /// Forgets those used longest ago until all have no more than this size; one stays.
    pub fn keep(&mut self, most: u64) {
        while self.held.len() > 1
            && (self.bytes > most || self.held.len() > MOST || self.beginnings > MOST_BEGINNINGS)
        {
            let Some(number) = self.order.values().next().copied() else { return };
            self.remove(number);
        }
    }

    /// Forgets all but this one.
    pub fn keep_only(&mut self, number: Number) {
        let others: Vec<Number> = self.held.keys().filter(|it| **it != number).copied().collect();
        others.into_iter().for_each(|other| self.remove(other));
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// How many conversations are held, and their size.
    pub fn held(&self) -> (usize, u64) {
        (self.held.len(), self.bytes)
    }

    /// Those of the chain's beginnings that are known.
    fn known_of<'a>(&self, chain: &'a Chain) -> &'a [Beginning] {
        let all = chain.beginnings();
        let known = all.partition_point(|it| self.known.contains_key(&it.digest));
        all.get(..known).unwrap_or_default()
    }

    /// The held conversation that is the longest of these beginnings.
    fn continued(&self, known: &[Beginning]) -> Option<Number> {
        known.iter().rev().find_map(|beginning| self.whole.get(&beginning.digest)).copied()
    }

    /// The size of the longest of these that belongs to the caller's own conversations.
    fn own(&self, known: &[Beginning], caller: &Arc<str>) -> u32 {
        let is_own = |beginning: &&Beginning| {
            let by = self.known.get(&beginning.digest).and_then(|it| self.held.get(&it.by));
            by.is_some_and(|held| held.caller == *caller)
        };
        known.iter().rev().find(is_own).map_or(0, |beginning| beginning.bytes)
    }

    /// The size of those used after this.
    fn since(&self, used: u64) -> u64 {
        let younger = self.order.range(used + 1..).filter_map(|(_, it)| self.held.get(it));
        younger.map(Held::bytes).sum()
    }

    /// Puts another chain in the place of a conversation's, and returns that. One of them begins
    /// with the other.
    fn replace(&mut self, number: Number, chain: &Arc<Chain>) -> Arc<Chain> {
        let Some(held) = self.held.get_mut(&number) else { return Arc::clone(chain) };
        let before = std::mem::replace(&mut held.chain, Arc::clone(chain));
        let both = before.beginnings().len().min(chain.beginnings().len());
        self.bytes = self.bytes - u64::from(before.size()) - held.answer + u64::from(chain.size());
        held.answer = 0;
        self.forget(number, &before, both);
        self.index(number, both);
        before
    }

    fn touch(&mut self, number: Number, caller: &Arc<str>) {
        self.last += 1;
        if let Some(held) = self.held.get_mut(&number) {
            self.order.remove(&held.used);
            (held.used, held.caller) = (self.last, Arc::clone(caller));
            self.order.insert(self.last, number);
        }
    }

    fn remove(&mut self, number: Number) {
        let Some(held) = self.held.remove(&number) else { return };
        self.order.remove(&held.used);
        self.bytes -= held.bytes();
        self.forget(number, &held.chain, 0);
    }

    /// Makes the beginnings of a held conversation known, from the one at `from` on.
    fn index(&mut self, number: Number, from: usize) {
        let Some(held) = self.held.get(&number) else { return };
        let new = held.chain.beginnings().get(from..).unwrap_or_default();
        for beginning in new {
            let known = self.known.entry(beginning.digest);
            let known = known.or_insert(Known { held: 0, by: number });
            known.held += 1;
            known.by = number;
        }
        self.beginnings += new.len();
        if let Some(whole) = held.chain.beginnings().last() {
            self.whole.insert(whole.digest, number);
        }
    }

    /// Undoes [`Memory::index`] for this chain.
    fn forget(&mut self, number: Number, chain: &Chain, from: usize) {
        let old = chain.beginnings().get(from..).unwrap_or_default();
        for beginning in old {
            if let Some(known) = self.known.get_mut(&beginning.digest) {
                known.held -= 1;
                if known.held == 0 {
                    self.known.remove(&beginning.digest);
                }
            }
        }
        self.beginnings -= old.len();
        if let Some(whole) = chain.beginnings().last()
            && self.whole.get(&whole.digest) == Some(&number)
        {
            self.whole.remove(&whole.digest);
        }
    }

    fn number(&mut self) -> Number {
        self.last += 1;
        Number(self.last)
    }
}

/// The size of the longest of these beginnings.
fn size(known: &[Beginning]) -> u32 {
    known.last().map_or(0, |beginning| beginning.bytes)
}

impl Held {
    fn bytes(&self) -> u64 {
        u64::from(self.chain.size()) + self.answer
    }
}

#[cfg(test)]
mod tests;
