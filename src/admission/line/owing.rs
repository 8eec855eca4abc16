//! What jobs really cost, where that is known only after they have run or waited for nothing.

use super::{Entry, Key, Lane, Line, Share};
use crate::admission::cost::Turn;
use crate::policy::Priority;

impl<T> Line<T> {
    /// The waiting jobs in the lanes that `open` accepts, with the virtual times of their callers;
    /// those of batch callers only if `batch`.
    pub fn waiting<'a>(
        &'a self,
        open: impl Fn(Lane) -> bool + 'a,
        batch: bool,
    ) -> impl Iterator<Item = (Key, &'a Entry<T>, u64)> + 'a {
        let lanes = self.lanes.iter().filter(move |(lane, _)| open(**lane));
        let keys = lanes.flat_map(|(_, waiters)| waiters.keys.iter());
        keys.filter_map(move |key| {
            let (flow, entry) = self.jobs.get(key)?;
            let queue = self.queues.get(flow)?;
            let may_run = batch || queue.priority == Priority::Interactive;
            may_run.then_some((*key, entry, queue.pass))
        })
    }

    /// The virtual time of a caller whose job arrives now.
    pub fn level_of(&self, share: &Share) -> u64 {
        match self.queue_of(share) {
            Some(queue) if queue.waiting > 0 => queue.pass,
            Some(queue) => queue.pass.max(self.clock),
            None => self.clock,
        }
    }

    /// The key that the next job will have that does not come again.
    pub fn next_key(&self) -> Key {
        Key(self.last_key + 1)
    }

    /// Charges a job that starts without having waited, while others wait.
    pub fn pay(&mut self, share: &Share, turn: Turn) {
        if self.jobs.is_empty() {
            return;
        }
        let flow = self.enter(share);
        let Some(queue) = self.queues.get(&flow) else { return };
        let (is_idle, pass) = (queue.waiting == 0, queue.pass);
        let after = pass.max(self.clock) + turn.stride(queue.weight);
        self.advance(flow, after);
        if is_idle {
            self.leave(flow);
        }
    }

    /// A job that was charged for one turn has held its slot for `turns` more, or less if negative.
    pub fn correct(&mut self, share: &Share, turns: f64) {
        let owed = (turns.clamp(-MOST_OWED, MOST_OWED) * Turn::MEAN.0 as f64) as i64;
        if self.jobs.is_empty() || (owed <= 0 && self.queue_of(share).is_none()) {
            return;
        }
        let flow = self.enter(share);
        let Some(queue) = self.queues.get_mut(&flow) else { return };
        queue.owed = queue.owed.saturating_add(owed);
        let is_idle = queue.waiting == 0;
        if queue.owed.unsigned_abs() >= SETTLED {
            let each = std::mem::take(&mut queue.owed) / i64::from(queue.weight);
            let after = queue.pass.saturating_add_signed(each);
            self.advance(flow, after);
        }
        if is_idle {
            self.leave(flow);
        }
    }
}

/// A job is charged for at most this many turns more, or less.
const MOST_OWED: f64 = 10_000.0;
/// What is owed is settled when it is worth half a turn: so that jobs that take about the same time
/// are served in turn, whatever the last of them took exactly.
const SETTLED: u64 = Turn::MEAN.0 / 2;
