//! One loaded model: its slots, the unbounded line behind them, and how long it stays.
//!
//! Owns nothing that outlives the model. Refuses no call. The line is first come, first served, and
//! a call that only loads never waits in it.
//!
//! What a reader would get wrong: it is in use while it has references, not while its slots are
//! taken. The scheduler notices the ends of calls late while the memory of another model is not
//! free yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{CallId, DEFAULT_KEEP_ALIVE, End, Grant, SimSnapshot, Want};
use crate::sim::name::ModelKey;
use crate::sim::prompt_cache::{Prompt, PromptBounds, PromptCache, Reading};
use crate::sim::runner_options::RunnerOptions;

/// A call that has no slot yet.
#[derive(Debug)]
pub struct Call {
    /// Its identity.
    pub id: CallId,
    /// What it needs.
    pub want: Want,
    /// When it arrived.
    pub arrived: Instant,
    /// Whether its client has disconnected. The scheduler checks this only when its turn comes.
    pub has_left: bool,
}

/// A call that waits for a slot of its model.
#[derive(Debug)]
pub struct Waiting {
    id: CallId,
    /// How long it waited for the load.
    load: Duration,
    prompt: Prompt,
}

/// A model in memory.
#[derive(Debug)]
pub struct Runner {
    /// Which it is.
    pub model: ModelKey,
    /// The name by which it was loaded.
    pub name: ModelKey,
    /// The memory that it takes, in bytes.
    pub size: u64,
    /// What it was loaded with.
    pub options: RunnerOptions,
    /// The most calls that it runs at one time.
    pub slots: usize,
    /// How long it stays when idle.
    pub keep_alive: Duration,
    /// When a call last entered, or its end was last noticed.
    pub last_used: Instant,
    /// The calls that hold a slot.
    pub running: Vec<CallId>,
    /// The calls that wait for a slot.
    pub line: VecDeque<Waiting>,
    /// What it remembers of prompts.
    memory: PromptCache<CallId>,
    /// Calls whose end was not noticed, whether they have ended or not.
    references: usize,
    /// Calls that have ended and whose end was not noticed yet.
    unseen: usize,
}

impl Runner {
    /// A model that was just loaded for a call with these needs.
    pub fn new(now: Instant, want: &Want, prompts: PromptBounds) -> Self {
        Self {
            model: want.model.clone(),
            name: want.name.clone(),
            size: want.size,
            options: want.options.clone(),
            slots: want.slots.max(1),
            keep_alive: want.keep_alive.unwrap_or(DEFAULT_KEEP_ALIVE),
            last_used: now,
            running: Vec::new(),
            line: VecDeque::new(),
            memory: PromptCache::new(want.slots.max(1), prompts),
            references: 0,
            unseen: 0,
        }
    }

    /// Whether it is the wanted model, loaded with the wanted options.
    pub fn serves(&self, want: &Want) -> bool {
        self.model == want.model && self.options == want.options
    }

    /// Adds a call to the line; a call that only loads ends at once.
    pub fn enter(
        &mut self,
        now: Instant,
        call: Call,
        grants: &mut Vec<Grant>,
        counts: &mut SimSnapshot,
    ) {
        // The newest call that has one sets the keep-alive, even of a model that is being evicted.
        self.keep_alive = call.want.keep_alive.unwrap_or(self.keep_alive);
        self.last_used = now;
        let load = now.saturating_duration_since(call.arrived);
        if call.want.generates {
            self.references += 1;
            self.line.push_back(Waiting { id: call.id, load, prompt: call.want.prompt });
            self.fill(now, grants, counts);
        } else {
            counts.finished += 1;
            grants.push(Grant { call: call.id, load, reading: Reading::default() });
        }
    }

    /// Gives free slots to waiting calls.
    pub fn fill(&mut self, now: Instant, grants: &mut Vec<Grant>, counts: &mut SimSnapshot) {
        while self.running.len() < self.slots {
            let Some(Waiting { id: call, load, prompt }) = self.line.pop_front() else { break };
            self.running.push(call);
            let forgotten = self.memory.evictions();
            let reading = self.memory.begin(now, call, &prompt);
            counts.prompt_read += reading.tokens - reading.cached;
            counts.prompt_reused += reading.cached;
            counts.prompt_evictions += self.memory.evictions() - forgotten;
            grants.push(Grant { call, load, reading });
        }
    }

    /// Removes a call, waiting or running; false if it is not here. Its slot is free at once.
    pub fn leave(&mut self, now: Instant, id: CallId, end: End) -> bool {
        let at = self.running.iter().position(|running| *running == id);
        let found = match at {
            Some(at) => {
                self.running.swap_remove(at);
                self.memory.end(now, id, end == End::Finished);
                true
            }
            None => take(&mut self.line, |waiting| waiting.id == id),
        };
        self.unseen += usize::from(found);
        found
    }

    /// Notices the ends of calls.
    pub fn see_ends(&mut self, now: Instant) {
        if self.unseen > 0 {
            self.references -= std::mem::take(&mut self.unseen).min(self.references);
            self.last_used = now;
        }
    }

    /// Whether no call counts as running or waiting here.
    pub fn is_idle(&self) -> bool {
        self.references == 0
    }

    /// When it is unloaded if no other call arrives; `None` while it is in use or stays for ever.
    pub fn expires(&self) -> Option<Instant> {
        self.last_used.checked_add(self.keep_alive).filter(|_| self.is_idle())
    }

    /// How much longer it stays if no other call arrives.
    pub fn stays(&self, now: Instant) -> Duration {
        let idle = match self.is_idle() {
            true => now.saturating_duration_since(self.last_used),
            false => Duration::ZERO,
        };
        self.keep_alive.saturating_sub(idle)
    }
}

/// Removes the first element that matches; false if none does.
pub fn take<T>(queue: &mut VecDeque<T>, matches: impl Fn(&T) -> bool) -> bool {
    let at = queue.iter().position(matches);
    at.and_then(|at| queue.remove(at)).is_some()
}
