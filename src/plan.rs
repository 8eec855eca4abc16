//! Capacity planning: an arrival pattern against a provider's limits, in simulated time.
//!
//! It owns the simulated clock, the requests and what is told of them; every decision is made by the gate's own code,
//! [`crate::admission::gate::Gate`], which takes the time as an argument. [`options`] reads what is asked, [`arrivals`]
//! makes the requests, [`simulation`] lets them happen and [`report`] says what came of it.
//!
//! It refuses to model what it cannot know: providers do not fail here, whoever is refused does not come back, and no
//! other provider helps out.
//!
//! The one thing to know: the same options and the same seed give the same report, on every machine. No clock is asked
//! and nothing is awaited, so that an hour of arrivals takes as long as its decisions do.

pub mod arrivals;
pub mod options;
pub mod report;
pub mod simulation;

use std::time::{Duration, Instant};

use crate::admission::Limits;
use arrivals::Coming;
use report::Report;
use simulation::Simulation;

/// What is to be simulated.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// How many calls run at once, 1 or more.
    pub slots: u32,
    /// How many requests may wait.
    pub max_queue: u32,
    /// How long one may wait.
    pub max_wait: Duration,
    /// How long a request may take in all, the line included.
    pub deadline: Duration,
    /// The requests, in the order of their arrival.
    pub coming: Vec<Coming>,
    /// For how long they arrive.
    pub duration: Duration,
    /// What the gate's own random numbers begin with.
    pub seed: u64,
}

impl Scenario {
    /// Lets it happen. `origin` is any instant: only differences matter.
    #[must_use]
    pub fn run(&self, origin: Instant) -> Report {
        let ran = Simulation::new(self, origin).run();
        Report::new(self, &ran)
    }

    fn limits(&self) -> Limits {
        Limits {
            max_concurrency: crate::admission::concurrency::Concurrency::Fixed(self.slots),
            max_queue: self.max_queue,
            max_queue_wait: self.max_wait,
        }
    }
}

#[cfg(test)]
mod tests;
