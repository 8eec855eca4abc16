//! What a job costs at a provider now: the one measure behind predicted waits, the order of the
//! line and the choice between providers.
//!
//! Owns what is known of it, which today is the mean hold time of a slot. A better measure (how
//! long the model takes to load, how much of the conversation the server still has to read) belongs
//! in [`Cost`] and nowhere else.
//!
//! The one thing to know: costs are only compared. A free slot starts a waiting job, not a timer
//! with its cost.

use std::time::Duration;

use super::estimate::{self, HoldTime};
use super::refusal::UNMEASURED;

/// The time until a job's answer would begin, in parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Waiting in line.
    pub line: Duration,
    /// Loading the model.
    pub load: Duration,
    /// Reading the conversation.
    pub reading: Duration,
}

/// What is known of the costs at one provider.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    hold: HoldTime,
}

/// What one turn costs its caller's share of the line: mean hold times, in the line's virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn(pub u64);

impl Turn {
    /// A turn of the mean hold time at weight 1. All weights above this number count the same.
    pub const MEAN: Self = Self(1 << 20);

    /// The virtual time of the turn at this weight.
    pub fn stride(self, weight: u32) -> u64 {
        (self.0 / u64::from(weight.max(1))).max(1)
    }
}

impl Cost {
    /// The sum of all parts.
    pub fn total(self) -> Duration {
        self.line.saturating_add(self.load).saturating_add(self.reading)
    }
}

impl Costs {
    /// An attempt held its slot for `held`; `failed` when the provider failed it.
    pub fn held(&mut self, held: Duration, failed: bool) {
        self.hold.add(held, failed);
    }

    /// The mean hold time of a slot; `None` before the first attempt has ended.
    pub fn mean_hold(&self) -> Option<Duration> {
        self.hold.average()
    }

    /// Whether predictions rest on enough attempts to refuse a job.
    pub fn is_trusted(&self) -> bool {
        self.hold.is_trusted()
    }

    /// The cost of a job with `ahead` others before it and `slots` slots; a guess while nothing has
    /// been measured.
    pub fn of(&self, ahead: u64, slots: u32) -> Cost {
        let line = self.hold.wait(ahead, slots).unwrap_or(UNMEASURED);
        Cost { line, ..Cost::default() }
    }

    /// The cost of a job whose model holds a slot for `hold` and has to be loaded for `load` first.
    pub fn of_model(&self, hold: Option<Duration>, ahead: u64, slots: u32, load: Duration) -> Cost {
        let line = match hold {
            Some(hold) => estimate::turns(hold, ahead, slots),
            None => self.of(ahead, slots).line,
        };
        Cost { line, load, ..Cost::default() }
    }

    /// What a job's turn costs its caller's share. Every job is assumed to hold a slot for the mean
    /// time.
    pub fn turn(&self) -> Turn {
        Turn::MEAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmeasured_costs_are_a_guess_and_measured_ones_count_for_every_job_ahead() {
        let mut costs = Costs::default();
        assert_eq!(costs.of(3, 2).total(), UNMEASURED);
        costs.held(Duration::from_secs(4), false);
        assert_eq!(costs.of(3, 2).total(), Duration::from_secs(8));
        assert_eq!(costs.of(3, 2).line, Duration::from_secs(8));
    }

    #[test]
    fn a_turn_is_shorter_at_a_higher_weight_and_never_zero() {
        assert_eq!(Turn::MEAN.stride(4) * 4, Turn::MEAN.stride(1));
        assert_eq!((Turn::MEAN.stride(0), Turn::MEAN.stride(u32::MAX)), (Turn::MEAN.0, 1));
    }
}
