//! A ramp: how many slots are usable again after a pause.
//!
//! Owns nothing but its start and length. Used after a breaker closes and after a cooldown, so that
//! waiting jobs do not all start at once at a server that has just recovered. A ramp never closes
//! completely: one slot is always usable.

use std::time::{Duration, Instant};

/// A linear rise from one slot to all of them.
#[derive(Clone, Copy, Debug)]
pub struct Ramp {
    since: Instant,
    length: Duration,
}

impl Ramp {
    /// A ramp that begins at `since` and takes `length`.
    pub fn new(since: Instant, length: Duration) -> Self {
        Self { since, length }
    }

    /// How many of `limit` slots are usable now: at least 1, and all of them after the end.
    pub fn usable(&self, limit: u32, now: Instant) -> u32 {
        if self.is_over(now) {
            return limit;
        }
        let done = now.saturating_duration_since(self.since).as_nanos();
        let usable = u128::from(limit) * done / self.length.as_nanos().max(1);
        u32::try_from(usable).unwrap_or(limit).clamp(1, limit.max(1))
    }

    /// When one more slot becomes usable; `None` after the end.
    pub fn next_step(&self, limit: u32, now: Instant) -> Option<Instant> {
        if self.is_over(now) {
            return None;
        }
        let next = self.usable(limit, now).saturating_add(1).min(limit);
        // Rounded up, so that the slot is certainly there at that instant.
        let until = self.length * next / limit.max(1) + Duration::from_nanos(1);
        Some(self.since + until.min(self.length))
    }

    /// Whether all slots are usable.
    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_one_after_the_other() {
        let start = Instant::now();
        let ramp = Ramp::new(start, Duration::from_secs(10));
        let usable = |millis| ramp.usable(4, start + Duration::from_millis(millis));
        assert_eq!(
            [0, 2_499, 2_500, 4_999, 5_000, 7_500, 9_999, 10_000].map(usable),
            [1, 1, 1, 1, 2, 3, 3, 4]
        );
    }

    #[test]
    fn every_step_brings_a_slot_until_all_are_there() {
        for limit in [1, 2, 3, 7, 8, 1000] {
            let start = Instant::now();
            let ramp = Ramp::new(start, Duration::from_secs(10));
            let (mut now, mut usable) = (start, ramp.usable(limit, start));
            while let Some(step) = ramp.next_step(limit, now) {
                assert!(step > now);
                now = step;
                assert!(ramp.usable(limit, now) > usable || ramp.is_over(now));
                usable = ramp.usable(limit, now);
            }
            assert_eq!(usable, limit);
            assert_eq!(now, start + Duration::from_secs(10));
        }
    }
}
