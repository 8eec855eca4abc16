//! The waiting line of one provider: who is next, fairly.
//!
//! Owns the waiting jobs and their order: first come, first served within a caller; between callers
//! by weight. It knows nothing of slots, breakers or time: the gate says which lanes (models) are
//! open and whether batch callers may start.
//!
//! Between callers it uses start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996), not a
//! rotating ring: every caller has a virtual time that advances by `cost / weight` per served job,
//! and the lowest goes first. For jobs of equal cost this gives exactly the shares of deficit round
//! robin, but interleaved, and skipping a caller whose models are all closed costs nothing. The
//! trap: a caller that leaves the line must keep its virtual time until the others have caught up,
//! or a caller with one job at a time would be served first each time it comes back, whatever its
//! weight.
//!
//! Every operation is O(log n) in the number of waiting jobs; [`Line::next`] also looks at each
//! lane that has waiters.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

pub use entry::{Entry, Key, Lane, Share};

use super::cost::Turn;
use crate::policy::Priority;
use by_priority::ByPriority;

mod by_priority;
mod entry;
mod lanes;
mod owing;

/// The line. See the module for the order it keeps.
#[derive(Debug)]
pub struct Line<T> {
    jobs: BTreeMap<Key, (Flow, Entry<T>)>,
    queues: HashMap<Flow, Queue>,
    flows: ByPriority<HashMap<Arc<str>, Flow>>,
    lanes: BTreeMap<Lane, Waiters>,
    /// Queues by weighted length, for finding a job to push out.
    lengths: ByPriority<BTreeSet<(u64, Flow)>>,
    /// Batch jobs, the newest last.
    batch: BTreeSet<Key>,
    /// Empty queues whose virtual time is still ahead of `clock`.
    ahead: BTreeSet<(u64, Flow)>,
    /// Virtual time: the start tag of the job served last.
    clock: u64,
    /// Sum of the weights of callers with waiting jobs.
    weights: u64,
    last_key: i64,
    last_again: i64,
    last_flow: u64,
}

/// A caller within a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Flow(u64);

/// The waiting jobs of one caller.
#[derive(Debug)]
struct Queue {
    caller: Arc<str>,
    priority: Priority,
    weight: u32,
    /// Virtual time at which its next job starts.
    pass: u64,
    /// What its jobs took beside what they were charged, in the time of its turns, until that is
    /// worth half a turn.
    owed: i64,
    waiting: u64,
    lanes: BTreeMap<Lane, BTreeSet<Key>>,
}

/// The waiting jobs of one model.
#[derive(Debug, Default)]
struct Waiters {
    /// Callers with a job here, by virtual time.
    ready: ByPriority<BTreeSet<(u64, Flow)>>,
    /// Jobs by the end of their longest wait.
    staying: BTreeSet<(Instant, Key)>,
    movable: BTreeSet<(Instant, Key)>,
    /// All jobs.
    keys: BTreeSet<Key>,
}

impl<T> Line<T> {
    /// An empty line.
    pub fn new() -> Self {
        Self {
            jobs: BTreeMap::new(),
            queues: HashMap::new(),
            flows: ByPriority::default(),
            lanes: BTreeMap::new(),
            lengths: ByPriority::default(),
            batch: BTreeSet::new(),
            ahead: BTreeSet::new(),
            clock: 0,
            weights: 0,
            last_key: 0,
            last_again: 0,
            last_flow: 0,
        }
    }

    /// How many jobs wait.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Puts a job at the end of its caller's queue, or at its head when it is a retry (`again`).
    pub fn insert(&mut self, entry: Entry<T>, again: bool) -> Key {
        let key = if again {
            self.last_again -= 1;
            Key(self.last_again)
        } else {
            self.last_key += 1;
            Key(self.last_key)
        };
        let flow = self.enter(&entry.share);
        if let Some(queue) = self.queues.get_mut(&flow) {
            let waiters = self.lanes.entry(entry.lane).or_default();
            waiters.ready.of_mut(queue.priority).insert((queue.pass, flow));
            waiters.patience(entry.movable).insert((entry.until, key));
            waiters.keys.insert(key);
            queue.lanes.entry(entry.lane).or_default().insert(key);
        }
        if entry.share.priority == Priority::Batch {
            self.batch.insert(key);
        }
        self.resize(flow, |waiting| waiting + 1);
        self.jobs.insert(key, (flow, entry));
        key
    }

    /// The next job among the lanes that `open` accepts; batch callers are skipped unless `batch`.
    pub fn next(&self, open: impl Fn(Lane) -> bool, batch: bool) -> Option<Key> {
        let mut first: Option<(u64, Flow)> = None;
        for (_, waiters) in self.lanes.iter().filter(|(lane, _)| open(**lane)) {
            let batch = waiters.ready.batch.first().filter(|_| batch);
            for head in waiters.ready.interactive.first().into_iter().chain(batch) {
                first = Some(first.map_or(*head, |first| first.min(*head)));
            }
        }
        let queue = self.queues.get(&first?.1)?;
        let open = queue.lanes.iter().filter(|(lane, _)| open(**lane));
        open.filter_map(|(_, keys)| keys.first()).min().copied()
    }

    /// Looks at a waiting job.
    pub fn get(&self, key: Key) -> Option<&Entry<T>> {
        self.jobs.get(&key).map(|(_, entry)| entry)
    }

    /// Takes a job out because its turn has come, and charges its cost to the caller's share.
    /// `first` is what [`Line::next`] said: another one when this job is served out of turn.
    ///
    /// Only a queue that was held back (closed lanes, batch) can be behind the clock. It is served
    /// first and continues from no more than `claim` behind the clock. Without a claim it does not
    /// catch up at the others' expense.
    pub fn serve(&mut self, key: Key, first: Key, turn: Turn, claim: u64) -> Option<Entry<T>> {
        let flow = self.jobs.get(&key)?.0;
        let pass_of = |key| self.queues.get(&self.jobs.get(&key)?.0).map(|queue| queue.pass);
        let earliest = self.clock.saturating_sub(claim);
        let clock = pass_of(first).map_or(self.clock, |pass| pass.max(earliest));
        if let Some(queue) = self.queues.get(&flow) {
            let start = queue.pass.max(earliest);
            self.charge_turn(flow, start, turn);
            self.clock = clock;
        }
        let entry = self.remove(key);
        self.forget_passed();
        entry
    }

    /// Takes a job out for any other reason; nothing is charged.
    pub fn remove(&mut self, key: Key) -> Option<Entry<T>> {
        let (flow, entry) = self.jobs.remove(&key)?;
        self.batch.remove(&key);
        if let (Some(queue), Some(waiters)) =
            (self.queues.get_mut(&flow), self.lanes.get_mut(&entry.lane))
        {
            waiters.patience(entry.movable).remove(&(entry.until, key));
            waiters.keys.remove(&key);
            if let Some(keys) = queue.lanes.get_mut(&entry.lane) {
                keys.remove(&key);
                if keys.is_empty() {
                    queue.lanes.remove(&entry.lane);
                    waiters.ready.of_mut(queue.priority).remove(&(queue.pass, flow));
                }
            }
            if waiters.keys.is_empty() {
                self.lanes.remove(&entry.lane);
            }
        }
        self.resize(flow, |waiting| waiting.saturating_sub(1));
        self.leave(flow);
        Some(entry)
    }

    /// How many jobs of this caller wait.
    pub fn waiting_of(&self, share: &Share) -> u64 {
        self.queue_of(share).map_or(0, |queue| queue.waiting)
    }

    /// The most jobs that would be served before a newcomer of this caller if no other job came.
    pub fn ahead_of_newcomer(&self, share: &Share, again: bool) -> u64 {
        let own = if again { 0 } else { self.waiting_of(share) };
        let joining = self.queue_of(share).is_none_or(|queue| queue.waiting == 0);
        let joining = if joining { u64::from(share.weight.max(1)) } else { 0 };
        self.ahead(own, share.weight, self.weights + joining, self.jobs.len() as u64)
    }

    /// The most jobs that are served before this one if no other job comes. Linear in the caller's
    /// own queue.
    pub fn ahead_of(&self, key: Key) -> Option<u64> {
        let (flow, entry) = self.jobs.get(&key)?;
        let queue = self.queues.get(flow)?;
        let own = queue.lanes.values().map(|keys| keys.range(..key).count() as u64).sum();
        let others = (self.jobs.len() as u64).saturating_sub(1);
        Some(self.ahead(own, entry.share.weight, self.weights, others))
    }

    /// The job that is pushed out for a newcomer when the line is full, if any.
    ///
    /// For an interactive newcomer that is the newest batch job. Otherwise it is the newest job of
    /// the longest queue of the newcomer's class (lengths are divided by weights), provided that
    /// queue stays at least as long as the newcomer's own: equals never push each other out.
    /// Retries are never pushed out.
    pub fn giving_way_to(&self, newcomer: &Share) -> Option<Key> {
        if newcomer.priority == Priority::Interactive
            && let Some(newest) = self.batch.last().filter(|key| !key.is_again())
        {
            return Some(*newest);
        }
        let (longest, flow) = self.lengths.of(newcomer.priority).last()?;
        let own = (self.waiting_of(newcomer) + 1) * Turn::MEAN.stride(newcomer.weight);
        let newest = self.queues.get(flow)?.lanes.values().filter_map(|keys| keys.last()).max()?;
        (*longest > own && !newest.is_again()).then_some(*newest)
    }

    /// A job in `lane` whose longest wait ends before `instant`, or any movable job there when
    /// `movable`.
    pub fn impatient(&self, lane: Lane, instant: Instant, movable: bool) -> Option<Key> {
        let waiters = self.lanes.get(&lane)?;
        let staying = waiters.staying.first().filter(|(until, _)| *until < instant);
        let moving = waiters.movable.first().filter(|(until, _)| movable || *until < instant);
        staying.or(moving).map(|(_, key)| *key)
    }

    /// Any job, of `lane` only when one is named: for emptying the line.
    pub fn any(&self, lane: Option<Lane>) -> Option<Key> {
        match lane {
            None => self.jobs.keys().next().copied(),
            Some(lane) => self.lanes.get(&lane)?.keys.first().copied(),
        }
    }

    /// The lanes with waiting jobs.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> + '_ {
        self.lanes.keys().copied()
    }

    /// How many jobs wait in this lane.
    pub fn waiting_in(&self, lane: Lane) -> usize {
        self.lanes.get(&lane).map_or(0, |waiters| waiters.keys.len())
    }

    /// Callers with waiting jobs and how many they have, in no particular order.
    pub fn callers(&self) -> impl Iterator<Item = (&Arc<str>, u64)> + '_ {
        let queues = self.queues.values().filter(|queue| queue.waiting > 0);
        queues.map(|queue| (&queue.caller, queue.waiting))
    }

    /// When the job that has waited longest began to wait. Linear in the number of waiting retries.
    pub fn oldest(&self) -> Option<Instant> {
        let retries = self.jobs.range(..Key(0)).map(|(_, (_, entry))| entry.since);
        let first = self.jobs.range(Key(0)..).next().map(|(_, (_, entry))| entry.since);
        retries.chain(first).min()
    }

    fn advance(&mut self, flow: Flow, after: u64) {
        let Some(queue) = self.queues.get_mut(&flow) else { return };
        for lane in queue.lanes.keys() {
            if let Some(waiters) = self.lanes.get_mut(lane) {
                let ready = waiters.ready.of_mut(queue.priority);
                ready.remove(&(queue.pass, flow));
                ready.insert((after, flow));
            }
        }
        queue.pass = after;
    }

    fn ahead(&self, own: u64, weight: u32, weights: u64, others: u64) -> u64 {
        let weight = u64::from(weight.max(1));
        let meanwhile = (own + 1).saturating_mul(weights.saturating_sub(weight)) / weight;
        own.saturating_add(meanwhile).min(others)
    }

    fn queue_of(&self, share: &Share) -> Option<&Queue> {
        let flow = self.flows.of(share.priority).get(&share.caller)?;
        self.queues.get(flow)
    }

    /// The caller's queue, created if it has none, at its present weight and no earlier than the
    /// clock.
    fn enter(&mut self, share: &Share) -> Flow {
        let flow = match self.flows.of(share.priority).get(&share.caller) {
            Some(flow) => *flow,
            None => {
                self.last_flow += 1;
                let flow = Flow(self.last_flow);
                self.flows.of_mut(share.priority).insert(Arc::clone(&share.caller), flow);
                flow
            }
        };
        let queue = self.queues.entry(flow).or_insert_with(|| Queue {
            caller: Arc::clone(&share.caller),
            priority: share.priority,
            weight: share.weight.max(1),
            pass: self.clock,
            owed: 0,
            waiting: 0,
            lanes: BTreeMap::new(),
        });
        if queue.waiting == 0 {
            self.ahead.remove(&(queue.pass, flow));
            queue.pass = queue.pass.max(self.clock);
        }
        self.reweigh(flow, share.weight.max(1));
        flow
    }

    /// Keeps an empty queue only while it is ahead of the clock, and nothing of an empty line.
    fn leave(&mut self, flow: Flow) {
        if self.jobs.is_empty() {
            self.queues.clear();
            self.flows = ByPriority::default();
            self.ahead.clear();
            self.clock = 0;
        } else if let Some(queue) = self.queues.get(&flow).filter(|queue| queue.waiting == 0) {
            self.ahead.insert((queue.pass, flow));
            self.forget_passed();
        }
    }

    fn forget_passed(&mut self) {
        while let Some((pass, flow)) = self.ahead.first().copied() {
            if pass > self.clock {
                return;
            }
            self.ahead.pop_first();
            if let Some(queue) = self.queues.remove(&flow) {
                self.flows.of_mut(queue.priority).remove(&queue.caller);
            }
        }
    }

    fn reweigh(&mut self, flow: Flow, weight: u32) {
        let Some(queue) = self.queues.get_mut(&flow) else { return };
        if queue.waiting > 0 && queue.weight != weight {
            let lengths = self.lengths.of_mut(queue.priority);
            lengths.remove(&(queue.waiting * Turn::MEAN.stride(queue.weight), flow));
            lengths.insert((queue.waiting * Turn::MEAN.stride(weight), flow));
            self.weights = self.weights - u64::from(queue.weight) + u64::from(weight);
        }
        queue.weight = weight;
    }

    fn resize(&mut self, flow: Flow, change: impl Fn(u64) -> u64) {
        let Some(queue) = self.queues.get_mut(&flow) else { return };
        let lengths = self.lengths.of_mut(queue.priority);
        let (before, after) = (queue.waiting, change(queue.waiting));
        if before > 0 {
            lengths.remove(&(before * Turn::MEAN.stride(queue.weight), flow));
            self.weights -= u64::from(queue.weight);
        }
        if after > 0 {
            lengths.insert((after * Turn::MEAN.stride(queue.weight), flow));
            self.weights += u64::from(queue.weight);
        }
        queue.waiting = after;
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl Waiters {
    fn patience(&mut self, movable: bool) -> &mut BTreeSet<(Instant, Key)> {
        if movable { &mut self.movable } else { &mut self.staying }
    }
}

#[cfg(test)]
mod tests;
