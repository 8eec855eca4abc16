//! A token bucket: a burst at once, and then the refill rate.
//!
//! It owns the arithmetic and nothing else: `now` and the [`Rate`] are arguments. It grants no more
//! than it has, but use beyond a grant is recorded and refills first.
//!
//! The one thing to know: it stores the spent amount, not the amount left. A bucket whose size
//! changes is therefore right at once, and one that was unused for long enough equals a new one.

use std::time::{Duration, Instant};

use crate::units::LONGEST;

/// Tolerance for rounding when seconds are multiplied by rates; a ten-thousandth of a request
/// admits no request.
const ROUNDING: f64 = 1e-4;

/// How large a bucket is and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Its size, more than 0.
    pub capacity: f64,
    /// Its refill per second, more than 0.
    pub per_second: f64,
}

/// The spent amount that has not refilled yet. A new bucket is full.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    spent: f64,
    /// The time of that amount; `None` as long as nothing was spent.
    at: Option<Instant>,
}

impl Rate {
    /// A rate with this capacity that refills completely in this time.
    #[must_use]
    pub fn within(capacity: u64, time: Duration) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "nobody counts beyond 2^53")]
        let capacity = capacity as f64;
        Self { capacity, per_second: capacity / time.as_secs_f64() }
    }

    /// One of `shares` equal shares. Its capacity is at least `least`, or nothing would ever be
    /// granted.
    #[must_use]
    pub fn share(self, shares: u32, least: f64) -> Self {
        let shares = f64::from(shares.max(1));
        Self { capacity: (self.capacity / shares).max(least), per_second: self.per_second / shares }
    }

    /// How long `amount` takes to refill.
    #[must_use]
    pub fn time_for(self, amount: f64) -> Duration {
        let seconds = (amount.max(0.0) / self.per_second).min(LONGEST.as_secs_f64());
        Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST)
    }
}

impl Bucket {
    /// The amount left; negative while more was used than there was.
    #[must_use]
    pub fn left(&self, rate: Rate, now: Instant) -> f64 {
        rate.capacity - self.spent(rate, now)
    }

    /// Whether `amount` is available.
    #[must_use]
    pub fn has(&self, amount: f64, rate: Rate, now: Instant) -> bool {
        self.left(rate, now) + ROUNDING >= amount
    }

    /// How long until `amount` is available if nothing else is taken; the longest duration if it
    /// never will be.
    #[must_use]
    pub fn time_until(&self, amount: f64, rate: Rate, now: Instant) -> Duration {
        if amount > rate.capacity {
            return LONGEST;
        }
        rate.time_for(amount - self.left(rate, now))
    }

    /// How long until it is full if nothing is taken.
    #[must_use]
    pub fn time_until_full(&self, rate: Rate, now: Instant) -> Duration {
        rate.time_for(self.spent(rate, now))
    }

    /// Spends `amount`, available or not. A negative amount is put back, but never makes the bucket
    /// more than full.
    pub fn spend(&mut self, amount: f64, rate: Rate, now: Instant) {
        self.set_spent(self.spent(rate, now) + amount, now);
    }

    /// Sets the spent amount as Redis reported it.
    pub fn set_spent(&mut self, spent: f64, now: Instant) {
        self.spent = spent.max(0.0);
        // Threads read their clocks before they wait for the lock, so `now` may be slightly in the
        // past.
        self.at = self.at.max(Some(now));
    }

    /// Divides the spent amount by `shares`.
    pub fn divide(&mut self, shares: u32) {
        self.spent /= f64::from(shares.max(1));
    }

    fn spent(&self, rate: Rate, now: Instant) -> f64 {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        (self.spent - passed.as_secs_f64() * rate.per_second).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { capacity: 5.0, per_second: 2.0 };

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_full_bucket_grants_its_capacity_at_once_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        let mut granted_at = |at: f64| {
            let now = start + seconds(at);
            let mut count = 0;
            while bucket.has(1.0, RATE, now) {
                bucket.spend(1.0, RATE, now);
                count += 1;
            }
            count
        };
        assert_eq!(granted_at(0.0), 5);
        assert_eq!(granted_at(0.4), 0);
        assert_eq!(granted_at(0.5), 1);
        assert_eq!(granted_at(2.5), 4);
        assert_eq!(granted_at(100.0), 5);
    }

    #[test]
    fn it_predicts_when_there_will_be_enough() {
        let now = Instant::now();
        let mut bucket = Bucket::default();
        bucket.spend(5.0, RATE, now);
        assert_eq!(bucket.time_until(1.0, RATE, now), seconds(0.5));
        assert_eq!(bucket.time_until_full(RATE, now), seconds(2.5));
        assert_eq!(bucket.time_until(5.5, RATE, now), LONGEST);
        assert!(bucket.has(1.0, RATE, now + seconds(0.5)));
    }

    #[test]
    fn use_beyond_a_grant_refills_first() {
        let now = Instant::now();
        let mut bucket = Bucket::default();
        bucket.spend(9.0, RATE, now);
        assert_eq!(bucket.left(RATE, now), -4.0);
        assert_eq!(bucket.time_until(1.0, RATE, now), seconds(2.5));
    }

    #[test]
    fn another_size_or_rate_applies_at_once() {
        let now = Instant::now();
        let mut bucket = Bucket::default();
        bucket.spend(4.0, RATE, now);
        assert_eq!(bucket.left(Rate { capacity: 10.0, ..RATE }, now), 6.0);
        assert_eq!(bucket.left(Rate { capacity: 2.0, ..RATE }, now), -2.0);
        let slow = Rate { per_second: 0.5, ..RATE };
        assert_eq!(bucket.left(slow, now + seconds(2.0)), 2.0);
    }

    #[test]
    fn a_share_still_grants_one() {
        assert_eq!(RATE.share(2, 1.0), Rate { capacity: 2.5, per_second: 1.0 });
        assert_eq!(RATE.share(10, 1.0), Rate { capacity: 1.0, per_second: 0.2 });
        assert_eq!(RATE.share(0, 1.0), RATE);
    }

    /// An event for a bucket, and after how many milliseconds it happens.
    #[derive(Debug, Clone)]
    enum Step {
        Take(u64, u32),
        /// Puts back this share of the oldest open grant.
        Settle(u64, u32),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..3_000, 1u32..8).prop_map(|(after, amount)| Step::Take(after, amount)),
            (0u64..3_000, 0u32..=4).prop_map(|(after, fourths)| Step::Settle(after, fourths)),
        ]
    }

    proptest! {
        #[test]
        fn over_any_interval_it_grants_at_most_capacity_and_rate_times_time(
            capacity in 1u32..20,
            rate in 1u32..50,
            steps in prop::collection::vec(any_step(), 1..200),
        ) {
            let rate = Rate { capacity: capacity.into(), per_second: f64::from(rate) / 10.0 };
            let mut now = Instant::now();
            let mut bucket = Bucket::default();
            let (mut open, mut flows) = (Vec::<f64>::new(), Vec::new());
            for step in steps {
                let (after, amount) = match step {
                    Step::Take(after, amount) => (after, f64::from(amount)),
                    Step::Settle(after, _) if open.is_empty() => (after, 0.0),
                    Step::Settle(after, fourths) => {
                        (after, -open.remove(0) * f64::from(fourths) / 4.0)
                    }
                };
                now += Duration::from_millis(after);
                if amount <= 0.0 || bucket.has(amount, rate, now) {
                    bucket.spend(amount, rate, now);
                    flows.push((now, amount));
                    open.extend((amount > 0.0).then_some(amount));
                }
                prop_assert!(bucket.left(rate, now) <= rate.capacity);
                // The amount granted since any moment, minus the amount put back since then.
                let mut net = 0.0;
                for (since, amount) in flows.iter().rev() {
                    net += amount;
                    let most = rate.capacity + rate.per_second * (now - *since).as_secs_f64();
                    prop_assert!(net <= most + 0.01, "{net} in {:?}", now - *since);
                }
            }
        }

        #[test]
        fn an_amount_put_back_counts_as_never_taken(
            spent in 0u32..10,
            took in 1u32..10,
            used in 0u32..10,
        ) {
            let now = Instant::now();
            let rate = Rate { capacity: 30.0, per_second: 1.0 };
            let used = f64::from(used.min(took));
            let (mut bucket, mut other) = (Bucket::default(), Bucket::default());
            for bucket in [&mut bucket, &mut other] {
                bucket.spend(spent.into(), rate, now);
            }
            bucket.spend(took.into(), rate, now);
            // Time passes, but not enough to fill the bucket.
            let later = now + seconds(used / 2.0);
            bucket.spend(used - f64::from(took), rate, later);
            other.spend(used, rate, now);
            let least = |bucket: &Bucket| bucket.left(rate, later);
            prop_assert!((least(&bucket) - least(&other)).abs() < 1e-9);
        }
    }
}
