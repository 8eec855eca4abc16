//! What the waiting jobs of one lane say about its model.
//!
//! Owns nothing: it reads and changes the line for the rule that loads models.

use std::time::Instant;

use super::{Entry, Flow, Key, Lane, Line, Share};
use crate::admission::cost::Turn;

/// The most jobs that are charged at one time: where jobs take next to no time, a load is worth any
/// number of them.
const MOST_CHARGED: f64 = 10_000.0;

impl<T> Line<T> {
    /// The lowest virtual time among the callers that wait in this lane; the clock if none
    /// waits. The higher it is, the more they have had.
    pub fn level(&self, lane: Lane) -> u64 {
        let ready = self.lanes.get(&lane).map(|waiters| &waiters.ready);
        let heads = ready.and_then(|ready| {
            ready.interactive.first().into_iter().chain(ready.batch.first()).min()
        });
        heads.map_or(self.clock, |(pass, _)| *pass)
    }

    /// Whether jobs wait in this lane and all of them are batch work.
    pub fn is_all_batch(&self, lane: Lane) -> bool {
        self.lanes.get(&lane).is_some_and(|waiters| waiters.ready.interactive.is_empty())
    }

    /// Whether a job waits in this lane that is no newer than this key.
    pub fn came_before(&self, lane: Lane, key: Key) -> bool {
        let first = self.lanes.get(&lane).and_then(|waiters| waiters.keys.first());
        first.is_some_and(|first| *first <= key)
    }

    /// The most jobs of the same lane that are served before this one if no other job comes.
    pub fn ahead_in_lane(&self, key: Key) -> Option<u64> {
        let (flow, entry) = self.jobs.get(&key)?;
        let own = self.queues.get(flow)?.lanes.get(&entry.lane)?;
        let before = own.range(..key).count() as u64;
        let others = self.waiting_in(entry.lane).saturating_sub(own.range(key..).count());
        Some(self.ahead(before, entry.share.weight, self.weights, others as u64))
    }

    /// The same for a newcomer.
    pub fn ahead_of_newcomer_in_lane(&self, share: &Share, lane: Lane) -> u64 {
        let queue = self.queue_of(share).filter(|queue| queue.waiting > 0);
        let own = queue.and_then(|queue| queue.lanes.get(&lane)).map_or(0, |keys| keys.len());
        let joining = if queue.is_none() { u64::from(share.weight.max(1)) } else { 0 };
        let all = self.waiting_in(lane) as u64;
        self.ahead(own as u64, share.weight, self.weights + joining, all)
    }

    /// The newest key that was given out.
    pub fn newest(&self) -> Key {
        Key(self.last_key)
    }

    /// Charges this many jobs to the callers that wait in this lane, by weight.
    pub fn charge(&mut self, lane: Lane, jobs: f64) {
        let Some(waiters) = self.lanes.get(&lane) else { return };
        let ready = waiters.ready.interactive.iter().chain(&waiters.ready.batch);
        let flows: Vec<Flow> = ready.map(|(_, flow)| *flow).collect();
        let weights = flows.iter().filter_map(|flow| self.queues.get(flow)).map(|q| q.weight);
        let weights: u64 = weights.map(u64::from).sum();
        // A caller's part is jobs × weight ÷ weights, and a job costs it 1 ÷ weight.
        let jobs = jobs.clamp(0.0, MOST_CHARGED);
        let each = (jobs * Turn::MEAN.0 as f64 / weights.max(1) as f64) as u64;
        for flow in flows {
            if let Some(queue) = self.queues.get(&flow) {
                self.advance(flow, queue.pass.saturating_add(each));
            }
        }
    }

    /// Gives the jobs of this lane another end of their longest wait.
    pub fn change_patience(&mut self, lane: Lane, until: impl Fn(&Entry<T>) -> Instant) {
        let Some(waiters) = self.lanes.get_mut(&lane) else { return };
        for key in &waiters.keys {
            let Some((_, entry)) = self.jobs.get_mut(key) else { continue };
            let until = until(entry);
            let patience = if entry.movable { &mut waiters.movable } else { &mut waiters.staying };
            patience.remove(&(entry.until, *key));
            patience.insert((until, *key));
            entry.until = until;
        }
    }

    /// Changes the gate's own data of the jobs of this lane.
    pub fn each_in(&mut self, lane: Lane, change: impl Fn(&mut T)) {
        let Some(waiters) = self.lanes.get(&lane) else { return };
        for key in &waiters.keys {
            if let Some((_, entry)) = self.jobs.get_mut(key) {
                change(&mut entry.load);
            }
        }
    }
}
