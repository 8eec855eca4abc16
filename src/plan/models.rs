//! Several models on one server: what scheduling their loads is worth.
//!
//! Owns the workload, and the comparison of three ways to serve it: by the server alone, by the
//! gateway in the order of its line, and by the gateway with loads scheduled. The gate is the real
//! one, the server is the simulator's scheduler, and time is simulated.
//!
//! The one thing to know: a call takes a moment on its way. Without that, a model would never be
//! idle between two calls that follow each other, and the server would behave better than it does.

pub mod log;
pub mod recorded;
pub mod report;
pub mod sources;
pub mod table;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::chat::RefusalReason;
use crate::plan::report::quantile;
use crate::policy::Priority;
use world::World;

/// A model of the workload.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedModel {
    /// Its name.
    pub name: Arc<str>,
    /// How long it takes to load.
    pub load: Duration,
    /// The memory that it takes in bytes, 0 if only the number of models is bounded.
    pub size: u64,
}

/// One request of the workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// When it arrives, from the start.
    pub at: Duration,
    /// Whose it is.
    pub key: Arc<str>,
    /// The key's class.
    pub priority: Priority,
    /// The index of its model.
    pub model: usize,
    /// How long its answer takes once it has begun.
    pub hold: Duration,
    /// How long its client waits for the whole answer.
    pub patience: Duration,
}

/// A server, its models and the requests that arrive.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The models.
    pub models: Vec<PlannedModel>,
    /// How many of them may be in memory.
    pub room: usize,
    /// The memory for them in bytes; `None` bounds only their number.
    pub memory: Option<u64>,
    /// How many calls a loaded model runs at one time.
    pub slots: u32,
    /// The gateway's limits.
    pub limits: crate::admission::Limits,
    /// How long after a call the gateway knows of its end, and the server of the next.
    pub latency: Duration,
    /// The requests in the order of their arrival.
    pub requests: Vec<Request>,
}

/// What decides which request is served next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Served {
    /// The server alone.
    Alone,
    /// The gateway's line.
    Fair,
    /// The gateway, by what is loaded.
    Warm,
}

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// It was answered, and its answer began after this wait.
    Answered {
        /// From its arrival.
        waited: Duration,
    },
    /// Its client gave up.
    GaveUp,
    /// The gateway refused it.
    Refused(RefusalReason),
    /// The server's own queue was full.
    Busy,
}

/// What came of a workload.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Of each request, in the order of arrival.
    pub fates: Vec<Fate>,
    /// The requests in the order in which their answers began.
    pub begun: Vec<usize>,
    /// Loads that were completed.
    pub loads: u64,
    /// Loads that were begun and given up.
    pub aborted: u64,
    /// Models that were loaded again with other options.
    pub reloads: u64,
}

/// How long the answered requests waited, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Waits {
    /// How many there were.
    pub answered: usize,
    /// Of so many requests.
    pub of: usize,
    /// The median.
    pub p50: f64,
    /// One in twenty waited longer.
    pub p95: f64,
    /// The longest.
    pub max: f64,
}

impl Workload {
    /// Lets it happen. `origin` is any instant: only differences matter.
    #[must_use]
    pub fn run(&self, served: Served, origin: Instant) -> Outcome {
        World::new(self, served, origin).run()
    }

    /// The waits of all requests, and of those of each key.
    #[must_use]
    pub fn waits(&self, outcome: &Outcome) -> (Waits, BTreeMap<Arc<str>, Waits>) {
        let mut by_key: BTreeMap<Arc<str>, Vec<Fate>> = BTreeMap::new();
        for (request, fate) in self.requests.iter().zip(&outcome.fates) {
            by_key.entry(Arc::clone(&request.key)).or_default().push(*fate);
        }
        let by_key = by_key.into_iter().map(|(key, fates)| (key, Waits::of(&fates))).collect();
        (Waits::of(&outcome.fates), by_key)
    }
}

impl Waits {
    fn of(fates: &[Fate]) -> Self {
        let waited = fates.iter().filter_map(|fate| match fate {
            Fate::Answered { waited } => Some(waited.as_secs_f64()),
            Fate::GaveUp | Fate::Refused(_) | Fate::Busy => None,
        });
        let mut waited: Vec<f64> = waited.collect();
        waited.sort_by(f64::total_cmp);
        let at = |share| quantile(&waited, share);
        Self { answered: waited.len(), of: fates.len(), p50: at(0.5), p95: at(0.95), max: at(1.0) }
    }
}

#[cfg(test)]
mod tests;
