//! Who may run, who waits, and which models are in memory: Ollama's scheduler as a state machine.
//!
//! Owns the loaded models with their slots and lines, the one call in the scheduler's hand, the bounded
//! queue of calls whose model is not loaded, and the counters. It has no clock, timer or waker:
//! `now` is an argument, [`Scheduler::next_change`] says when to look again, and rights to run
//! are collected with [`Scheduler::take_grants`]. Refuses a call only when the queue is full.
//!
//! It is as bad as the real one (`server/sched.go` of version 0.33), where that can be seen from outside:
//!
//! - A call for a loaded model goes to it past everybody who waits for a load. All others go through one
//!   queue, strictly in order; while one of them is loaded, or waits for room, nobody behind it moves.
//! - The victim is the idle model with the shortest keep-alive, not the one that was used longest ago; if none is
//!   idle, the busy one with the shortest keep-alive, and exactly that one is waited for. It goes on serving
//!   meanwhile, and a newcomer's keep-alive replaces the end that was set for it.
//! - A load is its first client's: when that client leaves, it is given up, and the next in the queue begins anew.
//!   Whether a client has left is looked at when its turn comes, not while another model is evicted for it.
//! - After an unload its memory comes back late, and until then no end of any call is seen.
//!
//! What a reader would get wrong: there are two lines. `max_queue` bounds only calls that need a
//! load; calls for a model that is loaded wait on that model's own line, which has no bound.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use self::runner::{Call, Runner};
use super::name::ModelKey;
use super::runner_options::RunnerOptions;

mod runner;

#[cfg(test)]
mod tests;

/// How long "forever" is: the longest duration that Go can write, 292 years.
pub const FOREVER: Duration = Duration::from_nanos(i64::MAX as u64);

/// Names one call for as long as it waits or runs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CallId(u64);

/// The bounds the scheduler keeps.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Calls waiting for a load, besides the one being loaded or waiting for room.
    pub max_queue: usize,
    /// Models in memory at one time, at least 1.
    pub max_loaded: usize,
    /// How long a load takes.
    pub load: Duration,
    /// How long memory takes to come back after an unload.
    pub recovery: Duration,
}

/// What a call needs in order to run.
#[derive(Clone, Debug)]
pub struct Want {
    /// The model.
    pub model: ModelKey,
    /// What the model is to be loaded with: other options than the loaded model has mean a reload.
    pub options: RunnerOptions,
    /// The context length that this makes, in tokens.
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
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
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
    /// Loads given up because the client that began them left.
    pub aborted_loads: u64,
    /// Models taken out of memory to be loaded again with other options.
    pub reloads: u64,
    /// Models taken out of memory: to make room, to reload, on request, or idle for too long.
    pub unloads: u64,
}

/// See the module's introduction.
#[derive(Debug)]
pub struct Scheduler {
    bounds: Bounds,
    runners: Vec<Runner>,
    hand: Option<Hand>,
    pending: VecDeque<Call>,
    /// Until when the memory of an unloaded model has not come back.
    recovering: Option<Instant>,
    grants: Vec<Grant>,
    last_id: u64,
    counts: SimSnapshot,
}

/// The call that the scheduler is busy with.
#[derive(Debug)]
struct Hand {
    call: Call,
    step: Step,
}

/// What the scheduler does for the call in its hand.
#[derive(Debug)]
enum Step {
    /// Waits until this model is unloaded and its memory is back.
    Evicts(ModelKey),
    /// Loads until then.
    Loads(Instant),
}

impl Scheduler {
    /// An empty machine.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds: Bounds { max_loaded: bounds.max_loaded.max(1), ..bounds },
            runners: Vec::new(),
            hand: None,
            pending: VecDeque::new(),
            recovering: None,
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
        self.advance(now);
        self.counts.requests += 1;
        self.last_id += 1;
        let id = CallId(self.last_id);
        let call = Call { id, want, arrived: now, has_left: false };
        if let Some(runner) = self.runners.iter_mut().find(|runner| runner.serves(&call.want)) {
            runner.enter(now, call, &mut self.grants, &mut self.counts);
        } else {
            // An empty hand takes the head of the queue.
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

    /// A call ends, or its client leaves. Its slot goes to the next in line at once; a load that it began is given up; its
    /// place in the queue stays taken until its turn comes. A call already out changes nothing.
    pub fn leave(&mut self, now: Instant, id: CallId, end: End) {
        let in_hand = self.hand.as_mut().map(|hand| &mut hand.call);
        let mut waiting = self.pending.iter_mut().chain(in_hand);
        let gone = match waiting.find(|call| call.id == id && !call.has_left) {
            Some(call) => {
                call.has_left = true;
                true
            }
            None => self.runners.iter_mut().any(|runner| runner.leave(id)),
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

    /// Unloads a model as soon as nobody uses it; not loaded is fine too.
    pub fn unload(&mut self, now: Instant, model: &ModelKey) {
        for runner in self.runners.iter_mut().filter(|runner| runner.model == *model) {
            runner.keep_alive = Duration::ZERO;
        }
        self.advance(now);
    }

    /// Does all that has become possible: slots to the lines, idle models out, pending calls to
    /// their models, and the next load.
    pub fn advance(&mut self, now: Instant) {
        self.see_memory(now);
        for runner in &mut self.runners {
            runner.fill(&mut self.grants);
        }
        loop {
            self.expire(now);
            let Some(hand) = self.hand.take() else {
                let Some(call) = self.pending.pop_front() else { break };
                // Whoever has left by now is passed over.
                if !call.has_left {
                    self.decide(now, call);
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

    /// When time alone changes something.
    pub fn next_change(&self) -> Option<Instant> {
        let loaded = self.hand.as_ref().and_then(|hand| match hand.step {
            Step::Loads(until) => Some(until),
            Step::Evicts(_) => None,
        });
        // While memory comes back no model is unloaded.
        let expires = match self.recovering {
            Some(until) => Some(until),
            None => self.runners.iter().filter_map(Runner::expires).min(),
        };
        loaded.into_iter().chain(expires).min()
    }

    /// Takes the rights to run given since the last time.
    pub fn take_grants(&mut self) -> Vec<Grant> {
        std::mem::take(&mut self.grants)
    }

    /// The models in memory, longest-lived first. One that is loading is not among them.
    pub fn residents(&mut self, now: Instant) -> Vec<Resident> {
        self.advance(now);
        let resident = |runner: &Runner| Resident {
            model: runner.model.clone(),
            num_ctx: runner.num_ctx,
            stays: runner.stays(now),
        };
        let mut residents: Vec<Resident> = self.runners.iter().map(resident).collect();
        residents.sort_by_key(|resident| std::cmp::Reverse(resident.stays));
        residents
    }

    /// The numbers now.
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

    /// Takes a call into the hand, or to its model when that is loaded by now.
    fn decide(&mut self, now: Instant, call: Call) {
        let same = self.runners.iter().position(|runner| runner.model == call.want.model);
        if let Some(runner) = same.and_then(|at| self.runners.get_mut(at)) {
            if runner.serves(&call.want) {
                runner.enter(now, call, &mut self.grants, &mut self.counts);
                return;
            }
            // Loaded with other options: it has to go first, whoever uses it.
            runner.keep_alive = Duration::ZERO;
            self.counts.reloads += 1;
            let step = Step::Evicts(runner.model.clone());
            self.hand = Some(Hand { call, step });
        } else if self.runners.len() < self.bounds.max_loaded {
            self.hand = Some(Hand { call, step: Step::Loads(now + self.bounds.load) });
        } else {
            let victim = self.runners.iter_mut().min_by(|a, b| {
                let rank = |runner: &Runner| (!runner.is_idle(), runner.keep_alive);
                rank(a).cmp(&rank(b)).then_with(|| a.model.short().cmp(b.model.short()))
            });
            let Some(victim) = victim else { return };
            victim.keep_alive = Duration::ZERO;
            let step = Step::Evicts(victim.model.clone());
            self.hand = Some(Hand { call, step });
        }
    }

    /// Goes on with the call in the hand; gives it back while there is something to wait for.
    fn go_on(&mut self, now: Instant, hand: Hand) -> Option<Hand> {
        let Hand { call, step } = hand;
        match step {
            Step::Evicts(ref victim) => {
                let is_there = self.runners.iter().any(|runner| runner.model == *victim);
                if is_there || self.recovering.is_some() {
                    return Some(Hand { call, step });
                }
                // Who has left meanwhile is found out by the load, which is given up at once.
                self.decide(now, call);
            }
            Step::Loads(_) if call.has_left => self.counts.aborted_loads += 1,
            Step::Loads(until) if until <= now => {
                self.counts.loads += 1;
                let mut runner = Runner::new(now, &call.want);
                runner.enter(now, call, &mut self.grants, &mut self.counts);
                self.runners.push(runner);
            }
            Step::Loads(_) => return Some(Hand { call, step }),
        }
        None
    }

    /// Sees the ends of calls, unless the memory of a model has not come back yet.
    fn see_memory(&mut self, now: Instant) {
        if self.recovering.is_some_and(|until| until > now) {
            return;
        }
        self.recovering = None;
        self.runners.iter_mut().for_each(|runner| runner.see_ends(now));
    }

    /// Unloads what was idle for its whole keep-alive, one model after the other as memory comes back.
    fn expire(&mut self, now: Instant) {
        while self.recovering.is_none() {
            let due = |runner: &Runner| runner.expires().is_some_and(|until| until <= now);
            let Some(at) = self.runners.iter().position(due) else { return };
            self.runners.remove(at);
            self.counts.unloads += 1;
            self.recovering = Some(now + self.bounds.recovery).filter(|until| *until > now);
        }
    }

    fn running(&self) -> usize {
        self.runners.iter().map(|runner| runner.running.len()).sum()
    }
}
