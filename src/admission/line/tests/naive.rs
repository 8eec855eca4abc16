//! The line without any index: it looks at every job to answer a question.

use super::*;

/// All jobs in one list, and the virtual time of every caller since the line was last empty.
#[derive(Default)]
pub struct Naive {
    jobs: Vec<(Key, Entry<u32>)>,
    callers: Vec<Caller>,
    clock: u64,
    callers_seen: usize,
}

struct Caller {
    name: (Arc<str>, Priority),
    weight: u32,
    pass: u64,
    /// Breaks ties: the caller that came first wins.
    number: usize,
}

impl Naive {
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    pub fn nth(&self, index: usize) -> Option<Key> {
        self.jobs.get(index).map(|(key, _)| *key)
    }

    pub fn waiting_in(&self, lane: Lane) -> usize {
        self.jobs.iter().filter(|(_, entry)| entry.lane == lane).count()
    }

    pub fn weights(&self) -> u64 {
        let waiting = self.callers.iter().filter(|caller| self.waiting(&caller.name) > 0);
        waiting.map(|caller| u64::from(caller.weight)).sum()
    }

    pub fn insert(&mut self, key: Key, entry: Entry<u32>) {
        let name = (Arc::clone(&entry.share.caller), entry.share.priority);
        let waiting = self.waiting(&name);
        let clock = self.clock;
        self.callers.retain(|caller| caller.name != name || waiting > 0 || caller.pass > clock);
        match self.callers.iter_mut().find(|caller| caller.name == name) {
            Some(caller) => caller.weight = entry.share.weight,
            None => {
                self.callers_seen += 1;
                let number = self.callers_seen;
                self.callers.push(Caller { name, weight: entry.share.weight, pass: clock, number });
            }
        }
        self.jobs.push((key, entry));
    }

    pub fn next(&self, open: impl Fn(Lane) -> bool, batch: bool) -> Option<Key> {
        let may = self.jobs.iter().filter(|(_, entry)| {
            open(entry.lane) && (batch || entry.share.priority == Priority::Interactive)
        });
        may.map(|(key, entry)| {
            let caller = self.caller(entry);
            ((caller.pass, caller.number), *key)
        })
        .min()
        .map(|(_, key)| key)
    }

    pub fn serve(&mut self, key: Key) -> Option<u32> {
        let entry = entry_copy(&self.jobs.iter().find(|(other, _)| *other == key)?.1);
        let start = self.caller(&entry).pass.max(self.clock);
        self.clock = start;
        let name = (entry.share.caller, entry.share.priority);
        let caller = self.callers.iter_mut().find(|caller| caller.name == name)?;
        caller.pass = start + (1 << 20) / u64::from(caller.weight);
        self.remove(key)
    }

    pub fn remove(&mut self, key: Key) -> Option<u32> {
        let index = self.jobs.iter().position(|(other, _)| *other == key)?;
        let load = self.jobs.remove(index).1.load;
        if self.jobs.is_empty() {
            self.callers.clear();
            self.clock = 0;
        }
        Some(load)
    }

    pub fn giving_way_to(&self, newcomer: &Share) -> Option<Key> {
        let class =
            |priority| self.jobs.iter().filter(move |(_, entry)| entry.share.priority == priority);
        if newcomer.priority == Priority::Interactive {
            let newest = class(Priority::Batch).map(|(key, _)| *key).max();
            if let Some(newest) = newest.filter(|key| key.0 > 0) {
                return Some(newest);
            }
        }
        let length = |entry: &Entry<u32>| {
            let caller = self.caller(entry);
            (self.waiting(&caller.name) * ((1 << 20) / u64::from(caller.weight)), caller.number)
        };
        let longest = class(newcomer.priority).map(|(_, entry)| length(entry)).max()?;
        let own = (Arc::clone(&newcomer.caller), newcomer.priority);
        let own = (self.waiting(&own) + 1) * ((1 << 20) / u64::from(newcomer.weight));
        let of_longest = class(newcomer.priority).filter(|(_, entry)| length(entry) == longest);
        let newest = of_longest.map(|(key, _)| *key).max()?;
        (longest.0 > own && newest.0 > 0).then_some(newest)
    }

    pub fn impatient(&self, lane: Lane, until: Instant, movable: bool) -> Vec<Key> {
        let impatient = self.jobs.iter().filter(|(_, entry)| {
            entry.lane == lane && (entry.until < until || movable && entry.movable)
        });
        impatient.map(|(key, _)| *key).collect()
    }

    fn waiting(&self, name: &(Arc<str>, Priority)) -> u64 {
        let own = self
            .jobs
            .iter()
            .filter(|(_, entry)| entry.share.caller == name.0 && entry.share.priority == name.1);
        own.count() as u64
    }

    fn caller(&self, entry: &Entry<u32>) -> &Caller {
        let own = |caller: &&Caller| {
            caller.name.0 == entry.share.caller && caller.name.1 == entry.share.priority
        };
        self.callers.iter().find(own).unwrap()
    }
}
