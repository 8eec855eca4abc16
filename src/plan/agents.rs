//! Agents whose conversations grow: what an order by the servers' prompt caches is worth.
//!
//! Owns the workload, and the comparison of three ways to serve it: in the order of arrival, with
//! conversations sent to the host that has them, and with the line ordered by what is remembered.
//! The gates are the real ones, each host has the simulator's prompt cache, and time is simulated.
//!
//! The one thing to know: an agent sends its next turn only when it has the answer to the last one.
//! A slow order therefore makes the whole work longer, and not only the waits.

pub mod options;
pub mod recorded;
pub mod report;
pub mod sources;
pub mod table;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::admission::remembered::RememberPolicy;
use crate::plan::report::quantile;
use crate::policy::Priority;
use world::World;

/// The most turns of a plan.
const MOST: usize = 200_000;

/// A host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Host {
    /// How many calls it runs at one time.
    pub slots: u32,
    /// Tokens that it reads in a second.
    pub read: f64,
    /// Tokens that it writes in a second.
    pub write: f64,
    /// Tokens for which its prompt cache has room beside those in its slots.
    pub cache: u64,
}

/// An agent with one conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Whose it is.
    pub key: Arc<str>,
    /// The key's share.
    pub weight: u32,
    /// The key's class.
    pub priority: Priority,
    /// When its first turn comes.
    pub at: Duration,
    /// A beginning that it has in common with all agents that name the same, and its tokens.
    pub common: Option<(u64, u32)>,
    /// Its turns.
    pub steps: Vec<Step>,
}

/// A turn of an agent, as it is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The tokens that it adds to the conversation.
    pub grows: u32,
    /// The tokens of its answer.
    pub answer: u32,
    /// Whether the next turn says the answer again.
    pub is_repeated: bool,
    /// How long it takes from the last answer to this turn; the first one comes with its agent.
    pub pause: Duration,
}

/// Agents before some hosts.
#[derive(Debug, Clone)]
pub struct Agents {
    /// The hosts, equals to the router.
    pub hosts: Vec<Host>,
    /// The agents.
    pub agents: Vec<Agent>,
    /// The gateway's limits at each host.
    pub max_queue: u32,
    /// How long a turn may wait.
    pub max_wait: Duration,
    /// How far the order by what is remembered goes.
    pub policy: RememberPolicy,
    /// Whether hosts tell how many tokens they had in their cache.
    pub counts: bool,
}

/// What decides which turn is served where, and next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ordered {
    /// The line alone.
    Arrival,
    /// Each conversation goes to the host that has most of it.
    Prefix,
    /// What the hosts remember.
    Remembered,
}

/// One turn that was answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// The index of its agent.
    pub agent: usize,
    /// From when it was first asked to the beginning of its answer.
    pub waited: Duration,
    /// For how long it held a slot.
    pub held: Duration,
    /// When it ended.
    pub ended: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The answered turns, in the order of their ends.
    pub turns: Vec<Turn>,
    /// How often turns were refused, and asked again.
    pub refused: usize,
    /// The agents of the turns, in the order in which they started.
    pub started: Vec<usize>,
    /// Tokens that the hosts read.
    pub read: u64,
    /// Tokens that they had in their caches.
    pub reused: u64,
}

/// An outcome in numbers, times in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Turns that were answered.
    pub answered: usize,
    /// How often turns were refused, and asked again.
    pub refused: usize,
    /// When the last one ended.
    pub whole: f64,
    /// The mean time until an answer began.
    pub mean_wait: f64,
    /// The median.
    pub p50: f64,
    /// One in twenty waited longer.
    pub p95: f64,
    /// The longest.
    pub max: f64,
    /// Tokens that the hosts read.
    pub read_tokens: u64,
    /// Tokens that they had in their caches.
    pub reused_tokens: u64,
    /// The part of all tokens that was not read again.
    pub reused: f64,
}

/// The waits of one key's turns, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Waits {
    /// Turns that were answered.
    pub answered: usize,
    /// The mean time until an answer began.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// One in twenty waited longer.
    pub p95: f64,
    /// The longest.
    pub max: f64,
}

impl Agents {
    /// Lets it happen. `origin` is any instant: only differences matter.
    #[must_use]
    pub fn run(&self, ordered: Ordered, origin: Instant) -> Outcome {
        self.run_until(ordered, origin, Duration::MAX)
    }

    /// The same, up to this time.
    fn run_until(&self, ordered: Ordered, origin: Instant, until: Duration) -> Outcome {
        World::new(self, ordered, origin).run_until(until)
    }
}

impl Outcome {
    /// The outcome in numbers.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let Waits { answered, mean, p50, p95, max } = Waits::of(&self.turns);
        let whole = self.turns.iter().map(|turn| turn.ended).max().unwrap_or_default();
        Summary {
            answered,
            refused: self.refused,
            whole: whole.as_secs_f64(),
            mean_wait: mean,
            p50,
            p95,
            max,
            read_tokens: self.read,
            reused_tokens: self.reused,
            reused: self.reused as f64 / (self.read + self.reused).max(1) as f64,
        }
    }
}

impl Waits {
    /// The waits of some turns.
    #[must_use]
    pub fn of<'a>(turns: impl IntoIterator<Item = &'a Turn>) -> Self {
        let waits = turns.into_iter().map(|turn| turn.waited.as_secs_f64());
        let mut waits: Vec<f64> = waits.collect();
        waits.sort_by(f64::total_cmp);
        let at = |share| quantile(&waits, share);
        let mean = waits.iter().sum::<f64>() / waits.len().max(1) as f64;
        Self { answered: waits.len(), mean, p50: at(0.5), p95: at(0.95), max: at(1.0) }
    }
}

#[cfg(test)]
mod tests;
