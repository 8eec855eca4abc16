//! What a job costs at a provider now: the one measure that the prediction of waits, the order of the line and the choice
//! between providers ask.
//!
//! Owns what is known of it, which today is the mean hold time of a slot. What a better measure would add (how long the model
//! takes to load, how much of the conversation the server still has to read) goes into [`Cost`] and nowhere else.
//!
//! The one thing to know: costs are compared, never waited for. A job that waits is started by a free slot, not by a clock.

use std::time::Duration;

use super::estimate::HoldTime;
use super::refusal::UNMEASURED;

/// The time until a job's answer would begin, by what it is spent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Until its turn has come.
    pub line: Duration,
    /// Until its model is loaded.
    pub load: Duration,
    /// Until the server has read the conversation.
    pub reading: Duration,
}

/// What is known of the costs at one provider.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    hold: HoldTime,
}

/// What one turn costs its caller's share of the line: as many mean hold times, in the line's virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn(pub u64);

impl Turn {
    /// A turn of the mean hold time at weight 1. Weights above this are all alike.
    pub const MEAN: Self = Self(1 << 20);

    /// The virtual time that the turn takes at this weight.
    pub fn stride(self, weight: u32) -> u64 {
        (self.0 / u64::from(weight.max(1))).max(1)
    }
}

impl Cost {
    /// All of it together.
    pub fn total(self) -> Duration {
        self.line.saturating_add(self.load).saturating_add(self.reading)
    }
}

impl Costs {
    /// An attempt held its slot this long; `failed` when the provider failed it.
    pub fn held(&mut self, held: Duration, failed: bool) {
        self.hold.add(held, failed);
    }

    /// The mean hold time of a slot; `None` before the first attempt has ended.
    pub fn mean_hold(&self) -> Option<Duration> {
        self.hold.average()
    }

    /// Whether predictions rest on enough attempts to refuse somebody.
    pub fn is_trusted(&self) -> bool {
        self.hold.is_trusted()
    }

    /// What a job costs that has `ahead` others before it, with `slots` working; a guess while nothing has been measured.
    pub fn of(&self, ahead: u64, slots: u32) -> Cost {
        let line = self.hold.wait(ahead, slots).unwrap_or(UNMEASURED);
        Cost { line, ..Cost::default() }
    }

    /// What the turn of a job costs its caller's share. Any job holds a slot for the mean, as far as anybody knows.
    pub fn turn(&self) -> Turn {
        Turn::MEAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_costs_a_guess_and_what_was_measured_counts_for_everybody_ahead() {
        let mut costs = Costs::default();
        assert_eq!(costs.of(3, 2).total(), UNMEASURED);
        costs.held(Duration::from_secs(4), false);
        assert_eq!(costs.of(3, 2).total(), Duration::from_secs(8));
        assert_eq!(costs.of(3, 2).line, Duration::from_secs(8));
    }

    #[test]
    fn a_turn_is_shorter_for_who_weighs_more_and_never_nothing() {
        assert_eq!(Turn::MEAN.stride(4) * 4, Turn::MEAN.stride(1));
        assert_eq!((Turn::MEAN.stride(0), Turn::MEAN.stride(u32::MAX)), (Turn::MEAN.0, 1));
    }
}
