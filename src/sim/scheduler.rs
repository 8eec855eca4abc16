//! Ollama's scheduler as a state machine: it decides which calls run, which wait, and which models
//! are in memory.
//!
//! Owns the loaded models with their slots and lines, the call for which a model is being loaded or
//! evicted ([`Hand`]), the bounded queue of calls whose model is not loaded, and the counters. It
//! has no clock, timer or waker: `now` is an argument, [`Scheduler::next_change`] says when to call
//! it again, and the caller collects grants with [`Scheduler::take_grants`]. Refuses a call only
//! when the queue is full.
//!
//! It schedules as badly as the real one (`server/sched.go` of version 0.33) wherever a client can
//! see the difference:
//!
//! - A call for a loaded model passes all calls that wait for a load. All other calls go through
//!   one queue, strictly in order; while the first of them waits for its load, or for memory, none
//!   behind it moves.
//! - It evicts the idle model with the shortest keep-alive, not the least recently used one; if
//!   none is idle, the busy one with the shortest keep-alive, and it waits until that one, or any
//!   other, is unloaded. The model serves calls meanwhile, and the keep-alive of a new call, if it
//!   sets one, replaces the zero that was set to evict it.
//! - Where memory is bounded it evicts one model after the other until the wanted one fits, whatever
//!   their sizes are.
//! - A load belongs to the client that began it: when that client disconnects, the load is
//!   cancelled, and the next call in the queue begins a new one. The scheduler checks whether a
//!   client has disconnected when its turn comes, not while another model is evicted for it.
//! - After an unload the memory is freed late, and until then the scheduler notices the end of no
//!   call. Only who had the model evicted waits for that: another load finds the memory taken, and
//!   evicts one more model for it.
//!
//! What a reader would get wrong: there are two kinds of lines. `max_queue` bounds only calls that
//! need a load; calls for a loaded model wait in that model's own line, which has no bound.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::room::Room;
use self::runner::{Call, Runner};
pub use self::snapshot::SimSnapshot;
use super::name::ModelKey;
use super::prompt_cache::{Prompt, PromptBounds, Reading};
use super::runner_options::RunnerOptions;

mod room;
mod runner;
mod snapshot;

#[cfg(test)]
mod tests;

/// How long "forever" is: the longest duration that Go can write, 292 years.
pub const FOREVER: Duration = Duration::from_nanos(i64::MAX as u64);
/// How long a model stays if no request sets a keep-alive: `OLLAMA_KEEP_ALIVE`.
pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(300);

/// Identifies one call while it waits or runs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CallId(u64);

/// The scheduler's limits and delays.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most calls that may wait for a load, besides the one whose model is being loaded or
    /// waits for memory.
    pub max_queue: usize,
    /// The most models in memory at one time, at least 1.
    pub max_loaded: usize,
    /// The memory for models in bytes; `None` bounds only their number.
    pub memory: Option<u64>,
    /// How long an unload takes to free its memory.
    pub recovery: Duration,
    /// What each loaded model remembers of prompts, and how fast it reads.
    pub prompts: PromptBounds,
}

/// What a call needs in order to run.
#[derive(Clone, Debug)]
pub struct Want {
    /// The model. Names of the same model share what is loaded.
    pub model: ModelKey,
    /// The name by which the client asks for it.
    pub name: ModelKey,
    /// The options that the model must be loaded with: a model that was loaded with others is
    /// reloaded.
    pub options: RunnerOptions,
    /// How long the model takes to load.
    pub load: Duration,
    /// The memory that it takes, in bytes.
    pub size: u64,
    /// The slots that the model gets when this call loads it, at least 1.
    pub slots: usize,
    /// How long the model stays after its last call, at most [`FOREVER`]; `None` leaves that of a
    /// loaded model as it is, and means [`DEFAULT_KEEP_ALIVE`] for another.
    pub keep_alive: Option<Duration>,
    /// Whether the call generates; a call that only loads takes no slot and ends once it is
    /// granted.
    pub generates: bool,
    /// What the model reads for it; an empty one leaves what the model remembers as it is.
    pub prompt: Prompt,
}

/// The permission to run, given once.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// The call that may run.
    pub call: CallId,
    /// How long the call waited until its model was in memory.
    pub load: Duration,
    /// How its prompt is read from now on.
    pub reading: Reading,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Its answer is complete.
    Finished,
    /// Its client disconnected.
    Cancelled,
}

/// The queue of calls that need a load is full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Busy;

/// A model in memory, as `/api/ps` shows it.
#[derive(Clone, Debug)]
pub struct Resident {
    /// The name by which it was loaded.
    pub name: ModelKey,
    /// Its context length in tokens.
    pub num_ctx: u32,
    /// How long it stays if no other call arrives.
    pub stays: Duration,
}

/// The state machine.
#[derive(Debug)]
pub struct Scheduler {
    bounds: Bounds,
    room: Room,
    runners: Vec<Runner>,
    hand: Option<Hand>,
    pending: VecDeque<Call>,
    grants: Vec<Grant>,
    last_id: u64,
    counts: SimSnapshot,
}

/// The call for which the scheduler is evicting or loading a model.
#[derive(Debug)]
struct Hand {
    call: Call,
    step: Step,
    /// Whether the model is in memory with other options and was counted as reloaded.
    reloads: bool,
}

/// What the scheduler does for that call.
#[derive(Debug)]
enum Step {
    /// Waits until a model is unloaded, after so many, and its memory is free.
    Evicts(u64),
    /// Loads the call's model until this moment.
    Loads(Instant),
}

impl Scheduler {
    /// A scheduler without models and calls.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            room: Room::new(bounds),
            runners: Vec::new(),
            hand: None,
            pending: VecDeque::new(),
            grants: Vec::new(),
            last_id: 0,
            counts: SimSnapshot::default(),
        }
    }

    /// Accepts a call. It is granted later, perhaps at once: see [`Scheduler::take_grants`].
    ///
    /// # Errors
    /// [`Busy`] when the call needs a load and the queue for that is full; the scheduler then
    /// forgets the call.
    pub fn arrive(&mut self, now: Instant, want: Want) -> Result<CallId, Busy> {
        self.advance(now);
        self.counts.requests += 1;
        self.last_id += 1;
        let id = CallId(self.last_id);
        let call = Call { id, want, arrived: now, has_left: false };
        if let Some(runner) = self.runners.iter_mut().find(|runner| runner.serves(&call.want)) {
            runner.enter(now, call, &mut self.grants, &mut self.counts);
        } else {
            // Without a current call, the head of the queue becomes one at once.
            let in_hand = usize::from(self.hand.is_none());
            if self.pending.len() >= self.bounds.max_queue.saturating_add(in_hand) {
                self.counts.refused += 1;
                return Err(Busy);
            }
            self.pending.push_back(call);
        }
        self.advance(now);
        Ok(id)
    }

    /// Ends a call, or removes one whose client disconnected. Its slot goes to the next call in
    /// line at once, and a load that it began is cancelled; its place in the queue stays occupied
    /// until its turn comes. A call that has already ended changes nothing.
    pub fn leave(&mut self, now: Instant, id: CallId, end: End) {
        let in_hand = self.hand.as_mut().map(|hand| &mut hand.call);
        let mut waiting = self.pending.iter_mut().chain(in_hand);
        let gone = match waiting.find(|call| call.id == id && !call.has_left) {
            Some(call) => {
                call.has_left = true;
                true
            }
            None => self.runners.iter_mut().any(|runner| runner.leave(now, id, end)),
        };
        if !gone {
            return;
        }
        match end {
            End::Finished => self.counts.finished += 1,
            End::Cancelled => self.counts.cancelled += 1,
        }
        self.advance(now);
    }

    /// Unloads a model as soon as no call uses it; does nothing if it is not loaded.
    pub fn unload(&mut self, now: Instant, model: &ModelKey) {
        for runner in self.runners.iter_mut().filter(|runner| runner.model == *model) {
            runner.keep_alive = Duration::ZERO;
        }
        self.advance(now);
    }

    /// Does everything that has become possible: gives slots to waiting calls, unloads idle models,
    /// sends pending calls to their models, and begins the next load.
    pub fn advance(&mut self, now: Instant) {
        self.see_memory(now);
        for runner in &mut self.runners {
            runner.fill(now, &mut self.grants, &mut self.counts);
        }
        loop {
            self.expire(now);
            let Some(hand) = self.hand.take() else {
                let Some(call) = self.pending.pop_front() else { break };
                // Calls whose clients have disconnected are skipped.
                if !call.has_left {
                    self.decide(now, call, false);
                }
                continue;
            };
            match self.go_on(now, hand) {
                Some(waits) => {
                    self.hand = Some(waits);
                    break;
                }
                None => continue,
            }
        }
        self.counts.most_running = self.counts.most_running.max(self.running());
    }

    /// The next moment at which time alone changes something.
    pub fn next_change(&self) -> Option<Instant> {
        let loaded = self.hand.as_ref().and_then(|hand| match hand.step {
            Step::Loads(until) => Some(until),
            Step::Evicts(_) => None,
        });
        // No model is unloaded while the memory of another is not free yet.
        let expires = match self.room.settles() {
            Some(until) => Some(until),
            None => self.runners.iter().filter_map(Runner::expires).min(),
        };
        loaded.into_iter().chain(expires).min()
    }

    /// Returns the grants since the last call.
    pub fn take_grants(&mut self) -> Vec<Grant> {
        std::mem::take(&mut self.grants)
    }

    /// The models in memory, the longest-lived first, without one that is being loaded.
    pub fn residents(&mut self, now: Instant) -> Vec<Resident> {
        self.advance(now);
        let resident = |runner: &Runner| Resident {
            name: runner.name.clone(),
            num_ctx: runner.options.num_ctx,
            stays: runner.stays(now),
        };
        let mut residents: Vec<Resident> = self.runners.iter().map(resident).collect();
        residents.sort_by_key(|resident| std::cmp::Reverse(resident.stays));
        residents
    }

    /// The present counters.
    pub fn snapshot(&self) -> SimSnapshot {
        let on_lines: usize = self.runners.iter().map(|runner| runner.line.len()).sum();
        let in_hand = self.hand.iter().map(|hand| &hand.call);
        let queued = self.pending.iter().chain(in_hand).filter(|call| !call.has_left).count();
        SimSnapshot {
            waiting: queued + on_lines,
            running: self.running(),
            loaded: self.runners.len(),
            loading: self.is_loading(),
            ..self.counts
        }
    }

    fn is_loading(&self) -> bool {
        self.hand.as_ref().is_some_and(|hand| matches!(hand.step, Step::Loads(_)))
    }

    /// Begins an eviction or a load for a call, or sends it to its model if that is loaded by now.
    fn decide(&mut self, now: Instant, call: Call, reloads: bool) {
        let same = self.runners.iter_mut().find(|runner| runner.model == call.want.model);
        let evicts = Step::Evicts(self.counts.unloads);
        let (step, reloads) = if let Some(runner) = same {
            if runner.serves(&call.want) {
                runner.enter(now, call, &mut self.grants, &mut self.counts);
                return;
            }
            // Loaded with other options: it must be unloaded first, even if other calls use it.
            runner.keep_alive = Duration::ZERO;
            self.counts.reloads += u64::from(!reloads);
            (evicts, true)
        } else if self.room.fits(&self.runners, call.want.size) {
            (Step::Loads(now + call.want.load), false)
        } else {
            let victim = self.runners.iter_mut().min_by(|a, b| {
                let rank = |runner: &Runner| (!runner.is_idle(), runner.keep_alive);
                rank(a).cmp(&rank(b)).then_with(|| a.model.short().cmp(b.model.short()))
            });
            let Some(victim) = victim else { return };
            victim.keep_alive = Duration::ZERO;
            (evicts, false)
        };
        self.hand = Some(Hand { call, step, reloads });
    }

    /// Continues the work for the current call; returns it while there is something to wait for.
    fn go_on(&mut self, now: Instant, hand: Hand) -> Option<Hand> {
        let Hand { call, step, reloads } = hand;
        match step {
            Step::Evicts(before) => {
                if self.counts.unloads == before || self.room.settles().is_some() {
                    return Some(Hand { call, step, reloads });
                }
                // If the client has disconnected meanwhile, the load notices that and is cancelled
                // at once.
                self.decide(now, call, reloads);
            }
            Step::Loads(_) if call.has_left => self.counts.aborted_loads += 1,
            Step::Loads(until) if until <= now => {
                self.counts.loads += 1;
                let mut runner = Runner::new(now, &call.want, self.bounds.prompts);
                runner.enter(now, call, &mut self.grants, &mut self.counts);
                self.runners.push(runner);
            }
            Step::Loads(_) => return Some(Hand { call, step, reloads }),
        }
        None
    }

    /// Notices the ends of calls, unless the memory of an unloaded model is not free yet.
    fn see_memory(&mut self, now: Instant) {
        if self.room.is_settled(now) {
            self.runners.iter_mut().for_each(|runner| runner.see_ends(now));
        }
    }

    /// Unloads models that were idle for their whole keep-alive, one after the other as memory
    /// becomes free.
    fn expire(&mut self, now: Instant) {
        while self.room.settles().is_none() {
            let due = |runner: &Runner| runner.expires().is_some_and(|until| until <= now);
            let Some(at) = self.runners.iter().position(due) else { return };
            let runner = self.runners.remove(at);
            self.counts.unloads += 1;
            self.room.frees(now, runner.size);
        }
    }

    fn running(&self) -> usize {
        self.runners.iter().map(|runner| runner.running.len()).sum()
    }
}
