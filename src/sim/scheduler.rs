//! Who may run, who waits, and which models are in memory: Ollama's scheduler as a state machine.
//!
//! Owns the loaded models with their slots and lines, the one load in progress, the bounded
//! queue of calls whose model is not loaded, and the counters. It has no clock, timer or waker:
//! `now` is an argument, a load ends when [`Scheduler::load_ended`] says so, and rights to run
//! are collected with [`Scheduler::take_grants`]. Refuses a call only when the queue is full.
//!
//! What a reader would get wrong: there are two lines. `max_queue` bounds only calls that need a
//! load; calls for a model that is loaded, or loading, wait on that model's own line, which has
//! no bound, exactly as Ollama's does (`server/sched.go`). A model is evicted only when nobody
//! runs on it or waits for it, so a busy model can keep another from ever loading.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::runner::{Call, Runner, take};
use super::name::ModelKey;

mod runner;

#[cfg(test)]
mod tests;

/// How long "forever" is: the longest duration that Go can write, 292 years.
pub const FOREVER: Duration = Duration::from_nanos(i64::MAX as u64);

/// Names one call for as long as it waits or runs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CallId(u64);

/// Names one load, so that a late timer cannot end the wrong one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoadId(u64);

/// The bounds the scheduler keeps.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Calls waiting for a load, besides the one being loaded or waiting for room.
    pub max_queue: usize,
    /// Models in memory at one time, at least 1.
    pub max_loaded: usize,
}

/// What a call needs in order to run.
#[derive(Clone, Debug)]
pub struct Want {
    /// The model.
    pub model: ModelKey,
    /// Context length in tokens: another one than the loaded model has means a reload.
    pub num_ctx: u32,
    /// Slots the model gets when this call loads it, at least 1.
    pub slots: usize,
    /// How long the model stays after its last call, at most [`FOREVER`].
    pub keep_alive: Duration,
    /// Whether the call generates; one that only loads takes no slot and is over once it is
    /// granted.
    pub generates: bool,
}

/// The right to run, given once.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// Whose it is.
    pub call: CallId,
    /// How long the call waited until its model was in memory.
    pub load: Duration,
}

/// The load in progress.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Load {
    /// Which one.
    pub id: LoadId,
    /// When it began.
    pub since: Instant,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// It said its last word.
    Finished,
    /// Its client left.
    Cancelled,
}

/// The queue of calls that need a load is full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Busy;

/// A model in memory, as `/api/ps` shows it.
#[derive(Clone, Debug)]
pub struct Resident {
    /// The model.
    pub model: ModelKey,
    /// Its context length in tokens.
    pub num_ctx: u32,
    /// How long it stays if nothing else comes.
    pub stays: Duration,
}

/// The scheduler's numbers. Always `requests = refused + finished + cancelled + waiting +
/// running`, and `loads` counts those that ended well.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SimSnapshot {
    /// Calls that asked for a model, ever.
    pub requests: u64,
    /// Calls answered "server busy".
    pub refused: u64,
    /// Calls that ran to their end.
    pub finished: u64,
    /// Calls whose client left while waiting or running.
    pub cancelled: u64,
    /// Calls waiting now: for a load, for room, or for a slot.
    pub waiting: usize,
    /// Calls holding a slot now, all models together.
    pub running: usize,
    /// Most calls that ever held a slot at one time, all models together.
    pub most_running: usize,
    /// Models in memory now.
    pub loaded: usize,
    /// Whether a load is in progress now.
    pub loading: bool,
    /// Loads that ended, ever.
    pub loads: u64,
    /// Loads given up because everybody who waited for them left.
    pub aborted_loads: u64,
    /// Models taken out of memory: to make room, to reload, on request, or idle for too long.
    pub unloads: u64,
}

/// See the module's introduction.
#[derive(Debug)]
pub struct Scheduler {
    bounds: Bounds,
    runners: Vec<Runner>,
    loading: Option<Loading>,
    pending: VecDeque<Call>,
    grants: Vec<Grant>,
    last_id: u64,
    counts: SimSnapshot,
}

#[derive(Debug)]
struct Loading {
    load: Load,
    calls: VecDeque<Call>,
}

impl Scheduler {
    /// An empty machine.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds: Bounds { max_loaded: bounds.max_loaded.max(1), ..bounds },
            runners: Vec::new(),
            loading: None,
            pending: VecDeque::new(),
            grants: Vec::new(),
            last_id: 0,
            counts: SimSnapshot::default(),
        }
    }

    /// Takes a call in. It is granted later, perhaps at once: see [`Scheduler::take_grants`].
    ///
    /// # Errors
    /// [`Busy`] when it needs a load and the queue for that is full; it is then forgotten.
    pub fn arrive(&mut self, now: Instant, want: Want) -> Result<CallId, Busy> {
        self.expire(now);
        self.counts.requests += 1;
        let id = CallId(self.next_id());
        let call = Call { id, want, arrived: now };
        if let Some(runner) = self.runners.iter_mut().find(|runner| runner.serves(&call.want)) {
            runner.enter(now, call, &mut self.grants, &mut self.counts);
        } else if let Some(loading) = self.loading.as_mut().filter(|it| it.serves(&call.want)) {
            loading.calls.push_back(call);
        } else {
            // Without a load in progress the head is in the scheduler's hand, not in the queue.
            let in_hand = usize::from(self.loading.is_none());
            if self.pending.len() >= self.bounds.max_queue.saturating_add(in_hand) {
                self.counts.refused += 1;
                return Err(Busy);
            }
            self.pending.push_back(call);
        }
        self.advance(now);
        Ok(id)
    }

    /// Takes a call out, wherever it is, and gives its slot to the next in line at once. A load
    /// that nobody waits for any longer is given up. A call already out changes nothing.
    pub fn leave(&mut self, now: Instant, id: CallId, end: End) {
        let gone = take(&mut self.pending, |call| call.id == id)
            || self.loading.as_mut().is_some_and(|it| take(&mut it.calls, |call| call.id == id))
            || self.runners.iter_mut().any(|runner| runner.leave(now, id));
        if !gone {
            return;
        }
        match end {
            End::Finished => self.counts.finished += 1,
            End::Cancelled => self.counts.cancelled += 1,
        }
        if self.loading.as_ref().is_some_and(|loading| loading.calls.is_empty()) {
            self.loading = None;
            self.counts.aborted_loads += 1;
        }
        self.advance(now);
    }

    /// The load is done: those who waited for it get its slots in the order they came. A load
    /// that is no longer in progress changes nothing.
    pub fn load_ended(&mut self, now: Instant, id: LoadId) {
        let Some(loading) = self.loading.take_if(|loading| loading.load.id == id) else { return };
        self.counts.loads += 1;
        let Some(first) = loading.calls.front() else { return };
        let mut runner = Runner::new(now, &first.want);
        for call in loading.calls {
            runner.enter(now, call, &mut self.grants, &mut self.counts);
        }
        self.runners.push(runner);
        self.advance(now);
    }

    /// Unloads a model as soon as nobody uses it; not loaded is fine too.
    pub fn unload(&mut self, now: Instant, model: &ModelKey) {
        for runner in self.runners.iter_mut().filter(|runner| runner.model == *model) {
            runner.keep_alive = Duration::ZERO;
        }
        self.advance(now);
    }

    /// Takes the rights to run given since the last time.
    pub fn take_grants(&mut self) -> Vec<Grant> {
        std::mem::take(&mut self.grants)
    }

    /// The load in progress.
    pub fn load(&self) -> Option<Load> {
        self.loading.as_ref().map(|loading| loading.load)
    }

    /// The models in memory, longest-lived first.
    pub fn residents(&mut self, now: Instant) -> Vec<Resident> {
        self.expire(now);
        let mut residents: Vec<Resident> = self
            .runners
            .iter()
            .map(|it| Resident {
                model: it.model.clone(),
                num_ctx: it.num_ctx,
                stays: it.keep_alive.saturating_sub(it.idle_for(now)),
            })
            .collect();
        residents.sort_by_key(|resident| std::cmp::Reverse(resident.stays));
        residents
    }

    /// The numbers now.
    pub fn snapshot(&self) -> SimSnapshot {
        let on_lines: usize = self.runners.iter().map(|runner| runner.line.len()).sum();
        let on_load = self.loading.as_ref().map_or(0, |loading| loading.calls.len());
        SimSnapshot {
            waiting: self.pending.len() + on_load + on_lines,
            running: self.running(),
            loaded: self.runners.len(),
            loading: self.loading.is_some(),
            ..self.counts
        }
    }

    /// Does all that has become possible: slots to the lines, idle models out, pending calls to
    /// their models, and the next load.
    fn advance(&mut self, now: Instant) {
        for runner in &mut self.runners {
            runner.fill(&mut self.grants);
        }
        self.expire(now);
        while self.loading.is_none() {
            let Some(head) = self.pending.pop_front() else { break };
            if let Some(runner) = self.runners.iter_mut().find(|it| it.serves(&head.want)) {
                // Loaded since it was queued, by a call before it.
                runner.enter(now, head, &mut self.grants, &mut self.counts);
            } else if self.make_room(&head.want) {
                let load = Load { id: LoadId(self.next_id()), since: now };
                self.loading = Some(Loading { load, calls: VecDeque::from([head]) });
            } else {
                // Everything in memory is in use: the head waits, and all behind it.
                self.pending.push_front(head);
                break;
            }
        }
        self.counts.most_running = self.counts.most_running.max(self.running());
    }

    /// Makes sure one more model fits, unloading the same model with another context length, or
    /// else the model idle for longest. False when those are in use.
    fn make_room(&mut self, want: &Want) -> bool {
        let same = self.runners.iter().position(|runner| runner.model == want.model);
        if same.is_none() && self.runners.len() < self.bounds.max_loaded {
            return true;
        }
        let idle = |at: &usize| self.runners.get(*at).is_some_and(Runner::is_idle);
        let victim = match same {
            Some(at) => Some(at).filter(idle),
            None => (0..self.runners.len())
                .filter(idle)
                .min_by_key(|at| self.runners.get(*at).map(|runner| runner.last_used)),
        };
        let Some(victim) = victim else { return false };
        self.runners.swap_remove(victim);
        self.counts.unloads += 1;
        true
    }

    /// Unloads what was idle for its whole keep-alive. Called before every look at what is
    /// loaded, which is why no timer is needed.
    fn expire(&mut self, now: Instant) {
        let before = self.runners.len();
        self.runners.retain(|it| !it.is_idle() || it.idle_for(now) < it.keep_alive);
        self.counts.unloads += (before - self.runners.len()) as u64;
    }

    fn running(&self) -> usize {
        self.runners.iter().map(|runner| runner.running.len()).sum()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Loading {
    fn serves(&self, want: &Want) -> bool {
        let same = |call: &Call| call.want.model == want.model && call.want.num_ctx == want.num_ctx;
        self.calls.front().is_some_and(same)
    }
}
