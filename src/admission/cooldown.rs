//! The pause a provider asked for by answering 429, shared by all calls to the same model.
//!
//! Owns the end of the pause, and the length of the next one when the provider does not say. It
//! wakes no waiters: the gate asks it. The trap: many attempts in flight get the same 429 together;
//! only the first of them makes the next pause longer.

use std::time::{Duration, Instant};

use super::backoff::{LONGEST_PAUSE, RetryPolicy};
use super::ramp::Ramp;

/// The present pause, and how slots come back after it.
#[derive(Clone, Debug, Default)]
pub struct Cooldown {
    pause: Option<Pause>,
    /// 429s without a `Retry-After` since the last success.
    steps: u32,
}

/// Slots come back over as long as the pause was, within these bounds.
const RECOVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    ramp: Ramp,
}

impl Cooldown {
    /// Begins or extends the pause. Without `asked` it lasts one backoff step, doubling until
    /// something succeeds.
    pub fn begin(&mut self, asked: Option<Duration>, policy: &RetryPolicy, now: Instant) {
        let cooling = !self.left(now).is_zero();
        let length = match asked {
            Some(asked) => asked.min(LONGEST_PAUSE),
            None if cooling => return,
            None => {
                let step = policy.step(self.steps).min(LONGEST_PAUSE);
                self.steps = self.steps.saturating_add(1);
                step
            }
        };
        let until = now + length;
        if self.pause.is_none_or(|pause| pause.until < until) {
            let recovery = length.clamp(RECOVERY.0, RECOVERY.1);
            self.pause = Some(Pause { until, ramp: Ramp::new(until, recovery) });
        }
    }

    /// Something succeeded: the next pause is short again. The present one is kept.
    pub fn succeed(&mut self) {
        self.steps = 0;
    }

    /// How long the pause still lasts; zero when there is none.
    pub fn left(&self, now: Instant) -> Duration {
        self.pause.map_or(Duration::ZERO, |pause| pause.until.saturating_duration_since(now))
    }

    /// How many of `limit` slots are usable now: none during the pause, then one, then more.
    pub fn usable(&self, limit: u32, now: Instant) -> u32 {
        match self.pause {
            None => limit,
            Some(pause) if now < pause.until => 0,
            Some(pause) => pause.ramp.usable(limit, now),
        }
    }

    /// When one more slot becomes usable by itself.
    pub fn next_step(&self, limit: u32, now: Instant) -> Option<Instant> {
        match self.pause {
            None => None,
            Some(pause) if now < pause.until => Some(pause.until),
            Some(pause) => pause.ramp.next_step(limit, now),
        }
    }

    /// Whether a new cooldown would behave the same.
    pub fn is_pristine(&self, now: Instant) -> bool {
        self.steps == 0 && self.pause.is_none_or(|pause| pause.ramp.is_over(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_retries: 2,
        backoff: Duration::from_millis(500),
        max_backoff: Duration::from_secs(8),
    };

    #[test]
    fn pauses_without_a_time_double_until_something_succeeds() {
        let mut now = Instant::now();
        let mut cooldown = Cooldown::default();
        let mut lengths = Vec::new();
        for round in 0..8 {
            if round == 7 {
                cooldown.succeed();
            }
            cooldown.begin(None, &POLICY, now);
            // The others that were in flight report the same 429.
            cooldown.begin(None, &POLICY, now);
            lengths.push(cooldown.left(now).as_millis());
            now += cooldown.left(now);
            assert_eq!(cooldown.left(now), Duration::ZERO);
        }
        assert_eq!(lengths, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 500]);
    }

    #[test]
    fn the_longest_time_asked_for_holds_and_is_bounded() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        for (asked, left) in [(5, 5), (20, 20), (2, 20), (u64::MAX, 3_600)] {
            cooldown.begin(Some(Duration::from_secs(asked)), &POLICY, now);
            assert_eq!(cooldown.left(now), Duration::from_secs(left));
        }
    }

    #[test]
    fn slots_come_back_one_after_the_other() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        assert_eq!(cooldown.usable(4, now), 4);
        cooldown.begin(Some(Duration::from_secs(2)), &POLICY, now);
        let at = |millis| now + Duration::from_millis(millis);
        let usable = [0, 1_999, 2_000, 2_999, 3_000, 4_000].map(|at_| cooldown.usable(4, at(at_)));
        assert_eq!(usable, [0, 0, 1, 1, 2, 4]);
        assert_eq!(cooldown.next_step(4, now), Some(at(2_000)));
        assert_eq!(cooldown.next_step(4, at(4_000)), None);
        assert!(cooldown.is_pristine(at(4_000)));
    }
}
