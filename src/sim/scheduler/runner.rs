//! One loaded model: its slots, the unbounded line behind them, and how long it stays.
//!
//! Owns nothing that outlives the model. Refuses nobody. The line is first come, first served,
//! and a call that only loads never stands in it.
//!
//! What a reader would get wrong: whether it is in use is told by its references, not by its slots.
//! Ends of calls are seen late while the memory of another model comes back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{CallId, Grant, SimSnapshot, Want};
use crate::sim::name::ModelKey;
use crate::sim::runner_options::RunnerOptions;

/// A call on its way to a slot.
#[derive(Debug)]
pub struct Call {
    /// Its name.
    pub id: CallId,
    /// What it needs.
    pub want: Want,
    /// When it came.
    pub arrived: Instant,
    /// Whether its client has left. Nobody looks before its turn comes.
    pub has_left: bool,
}

/// A model in memory.
#[derive(Debug)]
pub struct Runner {
    /// Which one.
    pub model: ModelKey,
    /// What it was loaded with.
    pub options: RunnerOptions,
    /// Context length in tokens.
    pub num_ctx: u32,
    /// Calls it runs at one time.
    pub slots: usize,
    /// How long it stays when idle.
    pub keep_alive: Duration,
    /// When a call last entered or was seen to end.
    pub last_used: Instant,
    /// Who holds a slot.
    pub running: Vec<CallId>,
    /// Who waits for one, and how long the load kept them.
    pub line: VecDeque<(CallId, Duration)>,
    /// Calls that have not been seen to end.
    references: usize,
    /// Calls that have ended and have not been seen to.
    unseen: usize,
}

impl Runner {
    /// A model just loaded for a call that wants this.
    pub fn new(now: Instant, want: &Want) -> Self {
        Self {
            model: want.model.clone(),
            options: want.options.clone(),
            num_ctx: want.num_ctx,
            slots: want.slots.max(1),
            keep_alive: want.keep_alive,
            last_used: now,
            running: Vec::new(),
            line: VecDeque::new(),
            references: 0,
            unseen: 0,
        }
    }

    /// Whether it is the model wanted, loaded as it is wanted.
    pub fn serves(&self, want: &Want) -> bool {
        self.model == want.model && self.options == want.options
    }

    /// Puts a call on the line; one that only loads is over at once.
    pub fn enter(
        &mut self,
        now: Instant,
        call: Call,
        grants: &mut Vec<Grant>,
        counts: &mut SimSnapshot,
    ) {
        // The newest call's keep-alive holds for everybody, also for a model that is being evicted.
        self.keep_alive = call.want.keep_alive;
        self.last_used = now;
        let load = now.saturating_duration_since(call.arrived);
        if call.want.generates {
            self.references += 1;
            self.line.push_back((call.id, load));
            self.fill(grants);
        } else {
            counts.finished += 1;
            grants.push(Grant { call: call.id, load });
        }
    }

    /// Gives free slots to those who wait.
    pub fn fill(&mut self, grants: &mut Vec<Grant>) {
        while self.running.len() < self.slots {
            let Some((call, load)) = self.line.pop_front() else { break };
            self.running.push(call);
            grants.push(Grant { call, load });
        }
    }

    /// Takes a call out, waiting or running; false when it is not here. Its slot is free at once.
    pub fn leave(&mut self, id: CallId) -> bool {
        let at = self.running.iter().position(|running| *running == id);
        let found = match at {
            Some(at) => {
                self.running.swap_remove(at);
                true
            }
            None => take(&mut self.line, |(waiting, _)| *waiting == id),
        };
        self.unseen += usize::from(found);
        found
    }

    /// The scheduler sees who has ended.
    pub fn see_ends(&mut self, now: Instant) {
        if self.unseen > 0 {
            self.references -= std::mem::take(&mut self.unseen).min(self.references);
            self.last_used = now;
        }
    }

    /// Whether nobody is seen to run on it or wait for it.
    pub fn is_idle(&self) -> bool {
        self.references == 0
    }

    /// When it is unloaded if nothing else comes; `None` while it is in use, and for ever.
    pub fn expires(&self) -> Option<Instant> {
        self.last_used.checked_add(self.keep_alive).filter(|_| self.is_idle())
    }

    /// How much longer it stays if nothing else comes.
    pub fn stays(&self, now: Instant) -> Duration {
        let idle = match self.is_idle() {
            true => now.saturating_duration_since(self.last_used),
            false => Duration::ZERO,
        };
        self.keep_alive.saturating_sub(idle)
    }
}

/// Removes the first element that matches; false when none does.
pub fn take<T>(queue: &mut VecDeque<T>, matches: impl Fn(&T) -> bool) -> bool {
    let at = queue.iter().position(matches);
    at.and_then(|at| queue.remove(at)).is_some()
}
