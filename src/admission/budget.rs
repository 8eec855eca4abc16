//! The retry budget: retries may add only a little to the load, and nothing when everything fails.
//!
//! Owns how many retries run and how many began in the last minute. Two rules must both allow a
//! retry: running retries are at most 10 % of what is in flight and queued (but one is always
//! allowed), and the retries of the last minute are at most 20 % of its requests (but ten are
//! always allowed). Sources: Envoy's `retry_budget` (20 %), finagle's (20 %), gRPC's
//! `retryThrottling` (10 tokens). The floors let a lone client's request to an idle provider use
//! both of its retries.

use std::time::Instant;

use super::sliding_window::SlidingWindow;

/// How many retries are left.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    requests: SlidingWindow,
    retries: SlidingWindow,
    running: u32,
}

/// The share of the jobs in flight and queued that may be retries, in percent: 100 of them allow 10
/// retries at one time.
const PERCENT_IN_FLIGHT: u64 = 10;
/// Retries at one time that are always allowed, however little is in flight.
const LEAST_IN_FLIGHT: u64 = 1;
/// The share of the last minute's requests that may be retried, in percent: 600 requests allow 120
/// retries.
const PERCENT_A_MINUTE: u64 = 20;
/// Retries a minute that are always allowed, however few requests there were.
const LEAST_A_MINUTE: u64 = 10;

impl RetryBudget {
    /// A budget without any requests or retries yet.
    pub fn new(now: Instant) -> Self {
        Self { requests: SlidingWindow::new(now), retries: SlidingWindow::new(now), running: 0 }
    }

    /// A request was admitted for the first time.
    pub fn count_request(&mut self, now: Instant) {
        self.requests.add(now);
    }

    /// Takes one retry, with `load` attempts in flight and jobs queued. Each `true` is given back
    /// by [`RetryBudget::give_back`].
    pub fn take(&mut self, load: u64, now: Instant) -> bool {
        let allowed = self.left(load, now) > 0;
        if allowed {
            self.running += 1;
            self.retries.add(now);
        }
        allowed
    }

    /// A retry ended, with any outcome.
    pub fn give_back(&mut self) {
        debug_assert!(self.running > 0, "a retry was given back twice");
        self.running = self.running.saturating_sub(1);
    }

    /// How many more retries could begin now.
    pub fn left(&self, load: u64, now: Instant) -> u64 {
        let at_once = percent(PERCENT_IN_FLIGHT, load).max(LEAST_IN_FLIGHT);
        let a_minute = percent(PERCENT_A_MINUTE, self.requests.count(now)).max(LEAST_A_MINUTE);
        let left_at_once = at_once.saturating_sub(u64::from(self.running));
        left_at_once.min(a_minute.saturating_sub(self.retries.count(now)))
    }

    /// How many retries run or back off now.
    pub fn running(&self) -> u32 {
        self.running
    }
}

/// This part of a number, rounded down.
fn percent(percent: u64, of: u64) -> u64 {
    of.saturating_mul(percent) / 100
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lone_request_can_use_both_of_its_retries() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        budget.count_request(now);
        for _ in 0..2 {
            assert!(budget.take(0, now));
            assert!(!budget.take(0, now), "one at a time");
            budget.give_back();
        }
    }

    #[test]
    fn retries_in_flight_are_a_tenth_of_the_load() {
        let now = Instant::now();
        for (load, allowed) in [(0, 1), (19, 1), (20, 2), (72, 7)] {
            let mut budget = RetryBudget::new(now);
            assert_eq!((0..100).filter(|_| budget.take(load, now)).count(), allowed);
            assert_eq!(budget.running() as usize, allowed);
        }
    }

    #[test]
    fn retries_of_a_minute_are_a_fifth_of_its_requests_but_never_fewer_than_ten() {
        let now = Instant::now();
        for (requests, allowed) in [(0, 10), (50, 10), (100, 20), (1_000, 200)] {
            let mut budget = RetryBudget::new(now);
            (0..requests).for_each(|_| budget.count_request(now));
            let mut taken = 0;
            while budget.take(0, now) {
                budget.give_back();
                taken += 1;
            }
            assert_eq!(taken, allowed);
            assert_eq!(budget.left(0, now + Duration::from_secs(60)), 1);
        }
    }

    proptest! {
        #[test]
        fn no_history_lets_more_retries_run_or_begin_than_the_budget_has(
            steps in prop::collection::vec((0u8..6, 0u64..8_000, 0u64..200), 1..300)
        ) {
            let mut now = Instant::now();
            let mut budget = RetryBudget::new(now);
            let (mut requests, mut retries) = (Vec::new(), Vec::new());
            let mut running = 0u64;
            for (step, millis, load) in steps {
                now += Duration::from_millis(millis);
                let within = |times: &[Instant], seconds| {
                    let begins = |time: &&Instant| now - **time <= Duration::from_secs(seconds);
                    times.iter().filter(begins).count()
                };
                match step {
                    0..=2 => {
                        budget.count_request(now);
                        requests.push(now);
                    }
                    3 if running > 0 => {
                        budget.give_back();
                        running -= 1;
                    }
                    _ if budget.take(load, now) => {
                        retries.push(now);
                        running += 1;
                        prop_assert!(running <= (load / 10).max(1));
                        // The window is kept in steps of 5 s, so its oldest step may be forgotten
                        // already.
                        prop_assert!(within(&retries, 54) <= (within(&requests, 60) / 5).max(10));
                    }
                    _ => {}
                }
                prop_assert_eq!(u64::from(budget.running()), running);
            }
        }
    }
}
