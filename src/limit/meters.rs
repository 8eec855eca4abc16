//! The buckets of one caller.
//!
//! It owns the spent amounts, and whether they are this gateway's own count or the count of all
//! gateways in Redis. It takes from all meters of a kind or from none, so that a request that the
//! day's budget refuses costs nothing of the minute's.
//!
//! The one thing to know: while Redis is unreachable every gateway grants its share, `1 / shares`
//! of every rate, and begins with its share of the amount last reported as spent.

use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::refusal::Refusal;
use super::terms::{Kind, Meter, Terms};

/// The buckets of one caller, and its terms.
#[derive(Debug)]
pub struct Meters {
    /// The caller's terms.
    pub terms: Terms,
    requests: Bucket,
    minute: Bucket,
    day: Bucket,
    /// The number of gateways that the terms are divided among now.
    shares: u32,
    /// Whether the buckets follow the last answer of Redis.
    is_shared: bool,
}

/// A caller's standing with one limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// The amount when nothing is spent.
    pub limit: u64,
    /// The amount left, in whole units.
    pub remaining: u64,
    /// How long until the whole amount is available again.
    pub reset: Duration,
    /// The amount that comes back each second.
    pub per_second: f64,
}

impl Meters {
    /// Nothing is spent.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        let [requests, minute, day] = [Bucket::default(); 3];
        Self { terms, requests, minute, day, shares: 1, is_shared: false }
    }

    /// Takes at least `need` and up to `want` from all meters of this kind. Returns the amount; 0
    /// without a limit.
    ///
    /// # Errors
    ///
    /// When there is too little now, or can never be enough; nothing is taken then.
    pub fn take(&mut self, kind: Kind, need: f64, want: f64, now: Instant) -> Result<f64, Refusal> {
        self.check(kind, need)?;
        if let Some(refusal) = self.shortage(kind, need, now) {
            return Err(refusal);
        }
        let shares = self.shares;
        let rates = self.terms.rates(kind).map(|(meter, rate)| (meter, rate.share(shares, need)));
        let left = rates.map(|(meter, rate)| self.bucket(meter).left(rate, now));
        let Some(least) = left.min_by(f64::total_cmp) else { return Ok(0.0) };
        let amount = want.min(least).max(need);
        self.spend(kind, amount, now);
        Ok(amount)
    }

    /// Refuses an amount that these meters could never grant.
    ///
    /// # Errors
    ///
    /// `TooLarge`.
    pub fn check(&self, kind: Kind, need: f64) -> Result<(), Refusal> {
        match self.terms.rates(kind).find(|(_, rate)| need > rate.capacity) {
            Some((meter, rate)) => {
                Err(Refusal::TooLarge { meter, need: whole(need), most: whole(rate.capacity) })
            }
            None => Ok(()),
        }
    }

    /// The meter with less than `need`, and for how long; of several the one that takes longest.
    #[must_use]
    pub fn shortage(&self, kind: Kind, need: f64, now: Instant) -> Option<Refusal> {
        let short = self.terms.rates(kind).filter_map(|(meter, rate)| {
            let (bucket, rate) = (self.bucket(meter), rate.share(self.shares, need));
            let is_short = !bucket.has(need, rate, now);
            is_short.then(|| (meter, bucket.time_until(need, rate, now)))
        });
        let (meter, after) = short.max_by_key(|(_, after)| *after)?;
        Some(Refusal::Spent { meter, after })
    }

    /// Spends more, available or not. A negative amount is put back.
    pub fn spend(&mut self, kind: Kind, amount: f64, now: Instant) {
        let shares = self.shares;
        for (meter, rate) in self.terms.rates(kind) {
            self.bucket_mut(meter).spend(amount, rate.share(shares, 0.0), now);
        }
    }

    /// Takes the amount that all gateways have spent, as Redis reports it.
    pub fn heed(&mut self, meter: Meter, spent: f64, now: Instant) {
        self.bucket_mut(meter).set_spent(spent, now);
        self.shares = 1;
        self.is_shared = true;
    }

    /// Switches to this gateway's share and its own count.
    pub fn go_alone(&mut self, shares: u32) {
        self.shares = shares.max(1);
        if std::mem::take(&mut self.is_shared) {
            for bucket in [&mut self.requests, &mut self.minute, &mut self.day] {
                bucket.divide(self.shares);
            }
        }
    }

    /// The caller's standing with a meter; `None` without a limit.
    #[must_use]
    pub fn standing(&self, meter: Meter, now: Instant) -> Option<Standing> {
        let (bucket, rate) = (self.bucket(meter), self.terms.rate(meter)?.share(self.shares, 1.0));
        Some(Standing {
            limit: whole(rate.capacity),
            remaining: whole(bucket.left(rate, now)),
            reset: bucket.time_until_full(rate, now),
            per_second: rate.per_second,
        })
    }

    /// The same for all meters of this kind: the one with the least left.
    #[must_use]
    pub fn tightest(&self, kind: Kind, now: Instant) -> Option<Standing> {
        let standings = self.terms.rates(kind).filter_map(|(meter, _)| self.standing(meter, now));
        standings.min_by_key(|standing| standing.remaining)
    }

    fn bucket(&self, meter: Meter) -> &Bucket {
        match meter {
            Meter::Requests => &self.requests,
            Meter::Minute => &self.minute,
            Meter::Day => &self.day,
        }
    }

    fn bucket_mut(&mut self, meter: Meter) -> &mut Bucket {
        match meter {
            Meter::Requests => &mut self.requests,
            Meter::Minute => &mut self.minute,
            Meter::Day => &mut self.day,
        }
    }
}

/// Whole units, rounded down except for rounding errors.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "such a cast stops at the bounds of its type, as is meant here"
)]
fn whole(amount: f64) -> u64 {
    (amount + 1e-4) as u64
}

#[cfg(test)]
mod tests {
    use super::super::bucket::Rate;
    use super::*;

    fn meters() -> Meters {
        let rate = Some(Rate { capacity: 60.0, per_second: 6.0 });
        Meters::new(Terms { rate, ..Terms::default() }.with_tokens(600, 1000))
    }

    fn left(meters: &Meters, meter: Meter, now: Instant) -> u64 {
        meters.standing(meter, now).unwrap().remaining
    }

    #[test]
    fn both_budgets_are_charged_or_neither() {
        let (mut meters, now) = (meters(), Instant::now());
        assert_eq!(meters.take(Kind::Tokens, 500.0, 500.0, now), Ok(500.0));
        // After a minute the first is full again, and the second has less than half of it left.
        let later = now + Duration::from_secs(60);
        let refused = meters.take(Kind::Tokens, 550.0, 550.0, later);
        assert!(matches!(refused, Err(Refusal::Spent { meter: Meter::Day, .. })), "{refused:?}");
        assert_eq!(left(&meters, Meter::Minute, later), 600);
        assert_eq!(left(&meters, Meter::Day, later), 500);
        assert_eq!(meters.tightest(Kind::Tokens, later).unwrap().limit, 1000);
    }

    #[test]
    fn the_wanted_amount_is_taken_if_available() {
        let (mut meters, now) = (meters(), Instant::now());
        assert_eq!(meters.take(Kind::Tokens, 10.0, 400.0, now), Ok(400.0));
        assert_eq!(meters.take(Kind::Tokens, 10.0, 400.0, now), Ok(200.0));
        let refused = meters.take(Kind::Tokens, 10.0, 400.0, now);
        let after = Duration::from_secs(1);
        assert_eq!(refused, Err(Refusal::Spent { meter: Meter::Minute, after }));
        let refused = meters.take(Kind::Tokens, 601.0, 601.0, now);
        assert_eq!(refused, Err(Refusal::TooLarge { meter: Meter::Minute, need: 601, most: 600 }));
    }

    #[test]
    fn without_redis_a_gateway_grants_its_share_and_starts_from_its_share_of_use() {
        let (mut meters, now) = (meters(), Instant::now());
        meters.heed(Meter::Requests, 30.0, now);
        assert_eq!(left(&meters, Meter::Requests, now), 30);
        meters.go_alone(3);
        assert_eq!(left(&meters, Meter::Requests, now), 10);
        // Not divided again, however often Redis is found unreachable.
        meters.go_alone(3);
        assert_eq!(left(&meters, Meter::Requests, now), 10);
        assert_eq!(left(&meters, Meter::Requests, now + Duration::from_secs(2)), 14);
        // A request that needs more than a share is granted when the share is unused.
        assert_eq!(meters.take(Kind::Tokens, 550.0, 550.0, now), Ok(550.0));
        meters.heed(Meter::Requests, 12.0, now);
        assert_eq!(left(&meters, Meter::Requests, now), 48);
    }

    #[test]
    fn unlimited_amounts_are_granted_and_not_counted() {
        let (mut meters, now) = (Meters::new(Terms::default()), Instant::now());
        assert_eq!(meters.take(Kind::Tokens, 1e9, 1e9, now), Ok(0.0));
        assert_eq!(meters.take(Kind::Requests, 1.0, 1.0, now), Ok(0.0));
        assert_eq!(meters.standing(Meter::Requests, now), None);
        assert!(meters.tightest(Kind::Tokens, now).is_none());
    }
}
