//! One loaded model: its slots, the unbounded line behind them, and how long it stays.
//!
//! Owns nothing that outlives the model. Refuses nobody. The line is first come, first served,
//! and a call that only loads never stands in it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{CallId, Grant, SimSnapshot, Want};
use crate::sim::name::ModelKey;

/// A call on its way to a slot.
#[derive(Debug)]
pub struct Call {
    /// Its name.
    pub id: CallId,
    /// What it needs.
    pub want: Want,
    /// When it came.
    pub arrived: Instant,
}

/// A model in memory.
#[derive(Debug)]
pub struct Runner {
    /// Which one.
    pub model: ModelKey,
    /// Context length in tokens.
    pub num_ctx: u32,
    /// Calls it runs at one time.
    pub slots: usize,
    /// How long it stays when idle.
    pub keep_alive: Duration,
    /// When a call last entered or ended.
    pub last_used: Instant,
    /// Who holds a slot.
    pub running: Vec<CallId>,
    /// Who waits for one, and how long the load kept them.
    pub line: VecDeque<(CallId, Duration)>,
}

impl Runner {
    /// A model just loaded for a call that wants this.
    pub fn new(now: Instant, want: &Want) -> Self {
        Self {
            model: want.model.clone(),
            num_ctx: want.num_ctx,
            slots: want.slots.max(1),
            keep_alive: want.keep_alive,
            last_used: now,
            running: Vec::new(),
            line: VecDeque::new(),
        }
    }

    /// Whether it is the model wanted, with the context length wanted.
    pub fn serves(&self, want: &Want) -> bool {
        self.model == want.model && self.num_ctx == want.num_ctx
    }

    /// Puts a call on the line; one that only loads is over at once.
    pub fn enter(
        &mut self,
        now: Instant,
        call: Call,
        grants: &mut Vec<Grant>,
        counts: &mut SimSnapshot,
    ) {
        // The newest call's keep-alive holds for everybody, as in Ollama.
        self.keep_alive = call.want.keep_alive;
        self.last_used = now;
        let load = now.saturating_duration_since(call.arrived);
        if call.want.generates {
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

    /// Takes a call out, waiting or running; false when it is not here.
    pub fn leave(&mut self, now: Instant, id: CallId) -> bool {
        if let Some(at) = self.running.iter().position(|running| *running == id) {
            self.running.swap_remove(at);
            self.last_used = now;
            return true;
        }
        take(&mut self.line, |(waiting, _)| *waiting == id)
    }

    /// Whether nobody runs on it or waits for it.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.line.is_empty()
    }

    /// How long it has been idle; zero while it is in use.
    pub fn idle_for(&self, now: Instant) -> Duration {
        if self.is_idle() { now.saturating_duration_since(self.last_used) } else { Duration::ZERO }
    }
}

/// Removes the first element that matches; false when none does.
pub fn take<T>(queue: &mut VecDeque<T>, matches: impl Fn(&T) -> bool) -> bool {
    let at = queue.iter().position(matches);
    at.and_then(|at| queue.remove(at)).is_some()
}
