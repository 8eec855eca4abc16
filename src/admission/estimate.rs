//! How long a slot is held, and so how long a newcomer would wait.
//!
//! Owns an exponentially weighted average of hold times. The trap: an attempt that fails fast frees
//! its slot early, but must not make the provider look fast, or a broken one would attract work.
//! Failed attempts count only when they took longer than the average.

use std::time::Duration;

/// The average time an attempt holds its slot.
#[derive(Clone, Debug, Default)]
pub struct HoldTime {
    average: f64,
    samples: u64,
}

/// The weight of the newest attempt.
const ALPHA: f64 = 0.1;

/// Predictions from fewer attempts than this refuse no job.
const TRUSTED: u64 = 20;

impl HoldTime {
    /// An attempt held its slot for `held`; `failed` when the provider failed it.
    pub fn add(&mut self, held: Duration, failed: bool) {
        let held = held.as_secs_f64();
        if self.samples == 0 {
            if failed {
                return;
            }
            self.average = held;
        } else if !failed || held > self.average {
            self.average += ALPHA * (held - self.average);
        } else {
            return;
        }
        self.samples += 1;
    }

    /// The average; `None` before the first attempt has ended.
    pub fn average(&self) -> Option<Duration> {
        (self.samples > 0).then(|| Duration::from_secs_f64(self.average))
    }

    /// How many attempts the average rests on.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Whether predictions rest on enough attempts to refuse a job.
    pub fn is_trusted(&self) -> bool {
        self.samples >= TRUSTED
    }

    /// How long a job with `ahead` others before it waits for one of `slots` slots; `None` before
    /// the first attempt has ended.
    pub fn wait(&self, ahead: u64, slots: u32) -> Option<Duration> {
        self.average().map(|average| turns(average, ahead, slots))
    }
}

/// `(ahead + 1) × hold ÷ slots`, at most a day.
pub(super) fn turns(hold: Duration, ahead: u64, slots: u32) -> Duration {
    let turns = (ahead as f64 + 1.0) / f64::from(slots.max(1));
    Duration::from_secs_f64((turns * hold.as_secs_f64()).min(86_400.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_moves_by_a_tenth_of_the_difference() {
        let mut hold = HoldTime::default();
        assert_eq!(hold.average(), None);
        hold.add(Duration::from_secs(10), false);
        hold.add(Duration::from_secs(20), false);
        assert_eq!(hold.average(), Some(Duration::from_secs(11)));
    }

    #[test]
    fn fast_failures_do_not_make_a_provider_look_fast() {
        let mut hold = HoldTime::default();
        hold.add(Duration::ZERO, true);
        assert_eq!(hold.average(), None);
        hold.add(Duration::from_secs(10), false);
        for _ in 0..100 {
            hold.add(Duration::from_millis(1), true);
        }
        assert_eq!(hold.average(), Some(Duration::from_secs(10)));
        hold.add(Duration::from_secs(60), true);
        assert_eq!(hold.average(), Some(Duration::from_secs(15)));
    }

    #[test]
    fn the_last_of_64_jobs_waits_in_proportion_to_the_hold_time() {
        for (held, wait) in [(0.2, 1.6), (120.0, 960.0)] {
            let mut hold = HoldTime::default();
            hold.add(Duration::from_secs_f64(held), false);
            assert_eq!(hold.wait(63, 8), Some(Duration::from_secs_f64(wait)));
        }
    }

    #[test]
    fn twenty_attempts_make_a_prediction_trusted() {
        let mut hold = HoldTime::default();
        for attempt in 1..=20 {
            hold.add(Duration::from_secs(1), false);
            assert_eq!(hold.is_trusted(), attempt == 20);
        }
    }
}
