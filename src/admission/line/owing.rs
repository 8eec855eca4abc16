//! What jobs really cost, where that is known only after they have run or waited for nothing.

use super::{Entry, Flow, Key, Lane, Line, Share};
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
        self.charge_turn(flow, pass.max(self.clock), turn);
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
            let weight = i64::from(queue.weight);
            // What it is given back does not bring it behind the clock, where it would be lost: the
            // rest makes its next jobs cheaper.
            let most = i64::try_from(queue.pass.saturating_sub(self.clock)).unwrap_or(i64::MAX);
            let each = (queue.owed / weight).max(-most);
            queue.owed -= each * weight;
            let after = queue.pass.saturating_add_signed(each);
            self.advance(flow, after);
        }
        if is_idle {
            self.leave(flow);
        }
    }

    /// Charges a caller for one job that starts at this virtual time, less what it is owed.
    pub(super) fn charge_turn(&mut self, flow: Flow, start: u64, turn: Turn) {
        let Some(queue) = self.queues.get_mut(&flow) else { return };
        let (weight, stride) = (u64::from(queue.weight), turn.stride(queue.weight));
        let credit = queue.owed.min(0).unsigned_abs() / weight;
        let used = credit.min(stride);
        queue.owed = queue.owed.saturating_add_unsigned(used * weight);
        self.advance(flow, start + stride - used);
    }

    /// A turn is worth `factor` times as many turns as so far: what callers have had keeps its worth.
    pub fn rescale(&mut self, factor: f64) {
        let flows: Vec<Flow> = self.queues.keys().copied().collect();
        for flow in flows {
            let Some(queue) = self.queues.get_mut(&flow) else { continue };
            let (before, is_idle) = (queue.pass, queue.waiting == 0);
            let lead = before as f64 - self.clock as f64;
            let after = self.clock.saturating_add_signed((lead * factor) as i64);
            queue.owed = (queue.owed as f64 * factor) as i64;
            self.advance(flow, after);
            if is_idle {
                self.ahead.remove(&(before, flow));
                self.leave(flow);
            }
        }
    }
}

/// A job is charged for at most this many turns more, or less.
const MOST_OWED: f64 = 10_000.0;
/// What is owed is settled when it is worth half a turn: so that jobs that take about the same time
/// are served in turn, whatever the last of them took exactly.
const SETTLED: u64 = Turn::MEAN.0 / 2;
