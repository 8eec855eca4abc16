//! What a server still has in its prompt cache, and what that means for the order of the line.
//!
//! An agent sends its whole conversation with every call, and a server reads it again whenever its
//! cache has lost it, which takes many times longer than the answer. A line in the order of arrival
//! is the cache's worst case: with one conversation more than it holds, every one of them is read
//! whole each time. So a job whose conversation is remembered may start before one that came
//! earlier, within bounds ([`choice`]), and a slot stays free for a moment for a conversation that
//! is about to go on.
//!
//! Owns the beliefs about each model's cache and speed, the callers' pauses, the jobs that run and
//! the slots that are kept free. Pure: `now` is an argument. Nothing of any text is held.
//!
//! The one thing to know: beliefs are corrected by answers. A cache is believed to hold everything
//! until a conversation is read that it should have held; then it holds no more than was used since
//! that conversation was used last. If others that were used even longer ago were still there, the
//! server has not run out of room but lost everything, as when it was restarted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::line::Lane;
use crate::chat::Chain;
use crate::policy::Priority;
use memory::Number;
use model::{Model, Read};
use pauses::Pauses;

pub mod affinity;
pub mod choice;
mod memory;
mod model;
mod pauses;
mod reading;
mod ring;
pub mod view;

pub use choice::{Candidate, RememberPolicy};
pub use model::Share;
pub use reading::Counts;

/// See the module's introduction.
#[derive(Debug)]
pub struct Remembered {
    policy: RememberPolicy,
    models: BTreeMap<Lane, Model>,
    pauses: Pauses,
    running: HashMap<Call, Running>,
    kept: Vec<Kept>,
    last: u64,
    /// Seconds that count as one turn of the line, where slot time is charged.
    pub turn: Option<f64>,
}

/// Names a running job; never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Call(u64);

/// How long a job holds a slot, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// If nothing of it is remembered.
    pub cold: f64,
    /// With what is remembered.
    pub cost: f64,
    /// The part of `cost` in which its prompt is read.
    pub reading: f64,
}

/// A job that is about to start.
#[derive(Clone, Copy, Debug)]
pub struct Starting<'a> {
    /// Its model.
    pub lane: Lane,
    /// Its conversation, if it has one.
    pub chain: Option<&'a Arc<Chain>>,
    /// Whose it is.
    pub caller: &'a Arc<str>,
    /// Its class.
    pub priority: Priority,
    /// Seconds for which a job of its model holds a slot, where nothing else is known.
    pub hold: f64,
}

#[derive(Debug)]
struct Running {
    lane: Lane,
    caller: Arc<str>,
    priority: Priority,
    since: Instant,
    estimate: Estimate,
    /// Whether its caller was charged for `estimate.cost`.
    is_charged: bool,
    read: Option<Read>,
    counts: Option<Counts>,
}

/// A slot that stays free for a conversation.
#[derive(Debug)]
struct Kept {
    lane: Lane,
    number: Number,
    caller: Arc<str>,
    until: Instant,
    stay: Duration,
}

/// How a job has ended, as far as its server's cache is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadEnd {
    /// With a complete answer.
    Answered,
    /// At some point after it was sent.
    Broken,
    /// Before the server read it.
    Unread,
    /// The server could not be reached: it is probably being started again, without its cache.
    Gone,
    /// The model crashed: its cache is lost.
    Crashed,
}

impl Estimate {
    /// That of a job of which nothing but its slot time is known.
    pub fn plain(hold: f64) -> Self {
        Self { cold: hold, cost: hold, reading: 0.0 }
    }
}

impl Remembered {
    /// Nothing is known of the server.
    pub fn new(policy: RememberPolicy) -> Self {
        Self::after(policy, Call::default())
    }

    /// The same, after another one whose calls up to `last` may still run.
    pub fn after(policy: RememberPolicy, last: Call) -> Self {
        let (models, pauses) = (BTreeMap::new(), Pauses::default());
        let (running, kept) = (HashMap::new(), Vec::new());
        Self { policy, models, pauses, running, kept, last: last.0, turn: None }
    }

    /// Uses another policy; beliefs are kept, unless they were learnt for another purpose.
    pub fn change(&mut self, policy: RememberPolicy) {
        if self.policy.orders != policy.orders {
            self.forget_server();
        }
        self.policy = policy;
    }

    /// The last job that was started.
    pub fn last(&self) -> Call {
        Call(self.last)
    }

    /// The policy.
    pub fn policy(&self) -> RememberPolicy {
        self.policy
    }

    /// The lanes of which something is known.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> + '_ {
        self.models.keys().copied()
    }

    /// The lane's model was unloaded: its cache is empty.
    pub fn unload(&mut self, lane: Lane) {
        if let Some(model) = self.models.get_mut(&lane) {
            model.memory.clear();
        }
        self.kept.retain(|kept| kept.lane != lane);
    }

    /// The lane belongs to another model.
    pub fn forget(&mut self, lane: Lane) {
        self.models.remove(&lane);
        self.kept.retain(|kept| kept.lane != lane);
    }

    /// The server is another one. Running jobs still count.
    pub fn forget_server(&mut self) {
        self.models.values_mut().for_each(Model::forget_server);
        self.kept.clear();
    }

    /// How much of a conversation is believed to be remembered, in bytes.
    pub fn known(&self, lane: Lane, chain: &Chain) -> u32 {
        self.models.get(&lane).map_or(0, |model| model.memory.known(chain))
    }

    /// How long this job would hold a slot; `hold` is the answer where nothing is known.
    pub fn estimate(&self, lane: Lane, chain: Option<&Arc<Chain>>, hold: f64) -> Estimate {
        let plain = Estimate::plain(hold);
        let Some((model, chain)) = self.models.get(&lane).zip(chain) else { return plain };
        let tokens = |bytes: u32| model.reading.tokens(u64::from(bytes));
        let (total, known) = (tokens(chain.size()), tokens(model.memory.known(chain)));
        let Some(cold) = model.reading.time(total) else { return plain };
        let reading = cold * (1.0 - known / total.max(1.0));
        let writing = model.reading.writing().unwrap_or(hold);
        Estimate { cold: cold + writing, cost: reading + writing, reading }
    }

    /// Whether reading takes so long at this lane's model that callers are charged for slot time:
    /// elsewhere they are charged for turns.
    pub fn charges_time(&self, lane: Lane) -> bool {
        self.models.get(&lane).is_some_and(Model::charges_time)
    }

    /// Whether anything is known that could change the order of the line.
    pub fn knows_any(&self) -> bool {
        self.models.values().any(|model| model.reading.rate().is_some())
    }

    /// A job arrives: whether its caller has come back, and after how long.
    pub fn arrive(&mut self, lane: Lane, chain: &Chain, caller: &Arc<str>, now: Instant) {
        let Some(model) = self.models.get_mut(&lane) else { return };
        let ended = model.memory.find(chain).and_then(|number| model.memory.take_end(number));
        if let Some(ended) = ended {
            self.pauses.add(caller, now.saturating_duration_since(ended));
        }
    }

    /// A job starts. `free` is how many slots were free.
    pub fn start(&mut self, starting: Starting<'_>, free: u32, now: Instant) -> Call {
        let Starting { lane, chain, caller, priority, hold } = starting;
        let estimate = self.estimate(lane, chain, hold);
        let is_charged = self.charges_time(lane);
        let model = self.models.entry(lane).or_default();
        let read = chain.filter(|chain| chain.size() > 0).map(|chain| model.enter(chain, caller));
        let own = read.as_ref().map(|read| read.number);
        let place = self.kept.iter().position(|kept| kept.lane == lane && Some(kept.number) == own);
        let place = place.or_else(|| {
            let all_kept = self.kept_in(lane) >= free;
            self.kept.iter().position(|kept| all_kept && kept.lane == lane)
        });
        if let Some(place) = place {
            self.kept.remove(place);
        }
        self.last += 1;
        let call = Call(self.last);
        let caller = Arc::clone(caller);
        let counts = None;
        let running =
            Running { lane, caller, priority, since: now, estimate, is_charged, read, counts };
        self.running.insert(call, running);
        call
    }

    /// How much of a running job's prompt is believed to be remembered.
    pub fn share(&self, call: Call) -> Option<Share> {
        self.running.get(&call)?.read.as_ref().map(|read| read.share)
    }

    /// The server's counts for a running job.
    pub fn count(&mut self, call: Call, counts: Counts) {
        if let Some(running) = self.running.get_mut(&call) {
            running.counts = Some(counts);
        }
    }

    /// A job has ended. Returns for how many seconds its caller was charged when it started; `None`
    /// if it was charged for a turn.
    pub fn end(&mut self, call: Call, end: ReadEnd, now: Instant) -> Option<f64> {
        let running = self.running.remove(&call)?;
        if end == ReadEnd::Gone {
            self.models.values_mut().for_each(|model| model.memory.clear());
            self.kept.clear();
        }
        let model = self.models.entry(running.lane).or_default();
        let held = now.saturating_duration_since(running.since);
        if let Some(read) = &running.read {
            match (end, running.counts) {
                (ReadEnd::Answered, counts) => {
                    if let Some(counts) = counts {
                        match self.policy.orders {
                            true => model.learn(read, counts, held),
                            false => model.count(read, counts, held),
                        }
                    }
                    let answer = counts.and_then(|counts| counts.answer).unwrap_or(0);
                    model.memory.answered(read.number, model.reading.bytes(answer as f64), now);
                    self.keep(&running, now);
                }
                // Most of it was read.
                (ReadEnd::Broken, _) => model.memory.answered(read.number, 0, now),
                (ReadEnd::Unread, _) => model.memory.withdraw(read.number, read.before.as_ref()),
                (ReadEnd::Crashed | ReadEnd::Gone, _) => model.memory.clear(),
            }
        }
        let whole = self.reading_of(&running);
        if let Some(model) = self.models.get_mut(&running.lane).filter(|_| running.read.is_some()) {
            model.note_whole(whole);
        }
        running.is_charged.then_some(running.estimate.cost)
    }

    /// The seconds until the running jobs have ended, all together.
    pub fn left(&self, now: Instant) -> f64 {
        let left = |running: &Running| {
            let held = now.saturating_duration_since(running.since).as_secs_f64();
            (running.estimate.cost - held).max(0.0)
        };
        self.running.values().map(left).sum()
    }

    /// How many slots are kept free in this lane.
    pub fn kept_in(&self, lane: Lane) -> u32 {
        self.kept.iter().filter(|kept| kept.lane == lane).count() as u32
    }

    /// Whether any slot is kept free.
    pub fn keeps_any(&self) -> bool {
        !self.kept.is_empty()
    }

    /// When the next slot is kept no longer.
    pub fn next_step(&self) -> Option<Instant> {
        self.kept.iter().map(|kept| kept.until).min()
    }

    /// Nobody waits: no slot has to be kept.
    pub fn keep_none(&mut self) {
        self.kept.clear();
    }

    /// Slots are kept no longer for those that did not come back in time.
    pub fn pass(&mut self, now: Instant) {
        let Self { kept, pauses, models, .. } = self;
        kept.retain(|kept| {
            let is_over = kept.until <= now;
            if is_over {
                // It counts as one that comes late, once.
                let model = models.get_mut(&kept.lane);
                if model.and_then(|model| model.memory.take_end(kept.number)).is_some() {
                    pauses.add(&kept.caller, kept.stay * 2);
                }
            }
            !is_over
        });
    }

    /// How long the prompt of a job takes to read if nothing of it is remembered, in seconds.
    fn reading_of(&self, running: &Running) -> f64 {
        let (Some(read), Some(model)) = (&running.read, self.models.get(&running.lane)) else {
            return 0.0;
        };
        let tokens = model.reading.tokens(u64::from(read.bytes));
        model.reading.time(tokens).unwrap_or(0.0)
    }

    /// Keeps the slot of a job that has just ended, if its caller is likely to come back soon. The
    /// gate gives it up again where nobody waits, or somebody who is remembered.
    fn keep(&mut self, running: &Running, now: Instant) {
        let Some(read) = &running.read else { return };
        let stay = self.reading_of(running) * self.policy.linger;
        if running.priority == Priority::Batch || stay <= 0.0 {
            return;
        }
        let stay = Duration::from_secs_f64(stay.min(MOST_STAY));
        if !self.pauses.is_back_within(&running.caller, stay) {
            return;
        }
        let (lane, number) = (running.lane, read.number);
        let caller = Arc::clone(&running.caller);
        self.kept.push(Kept { lane, number, caller, until: now + stay, stay });
    }
}

/// No slot is kept longer than this, in seconds.
const MOST_STAY: f64 = 600.0;

#[cfg(test)]
mod tests;
