//! Capacity planning: an arrival pattern against a provider's limits, in simulated time.
//!
//! It owns the simulated clock, the requests and the report. The gate's own code,
//! [`crate::admission::gate::Gate`], makes every decision; it takes the time as an argument.
//! [`options`] reads the command line, [`arrivals`] generates the requests, [`simulation`] runs
//! them, [`advice`] finds the limits with which they would fit, and [`report`] describes the result.
//!
//! It refuses to model what it cannot know: providers do not fail here, refused clients do not
//! retry, and there is no fallback to another provider.
//!
//! The one thing to know: the same options and the same seed give the same report, on every
//! machine. It reads no clock and awaits nothing, so that an hour of arrivals takes only as long as
//! its decisions.

pub mod advice;
pub mod agents;
pub mod arrivals;
mod asking;
mod files;
pub mod models;
pub mod options;
mod recording;
pub mod report;
pub mod simulation;

use std::time::{Duration, Instant};

use crate::admission::Limits;
use arrivals::Coming;
use report::Report;
use simulation::Simulation;

/// A simulation's parameters.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// How many calls run at once, 1 or more.
    pub slots: u32,
    /// How many requests may wait.
    pub max_queue: u32,
    /// How long a request may wait.
    pub max_wait: Duration,
    /// How long a request may take in total, its wait in the line included.
    pub deadline: Duration,
    /// The requests, in the order of their arrival.
    pub coming: Vec<Coming>,
    /// How long requests arrive.
    pub duration: Duration,
    /// The seed of the gate's random numbers.
    pub seed: u64,
}

impl Scenario {
    /// Runs the simulation. `origin` may be any instant: only differences matter.
    #[must_use]
    pub fn run(&self, origin: Instant) -> Report {
        let ran = Simulation::new(self, origin).run();
        let report = Report::new(self, &ran);
        let advice = advice::advice(self, &report, origin);
        report.advised(advice)
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
