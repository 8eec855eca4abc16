//! The buckets of one caller.
//!
//! It owns what was spent, and whether that is this gateway's own count or what the Redis said of all gateways together.
//! It refuses in part never: what several meters limit is taken from all of them or from none, so that a request that
//! the day refuses costs nothing of the minute.
//!
//! The one thing to know: while the Redis is away every gateway grants its share, `1 / shares` of every rate, and begins
//! with its share of what was spent when the Redis was last heard.

use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::refusal::Refusal;
use super::terms::{Kind, Meter, Terms};

/// The buckets of one caller, and the terms they are measured by.
#[derive(Debug)]
pub struct Meters {
    /// What the caller may.
    pub terms: Terms,
    requests: Bucket,
    minute: Bucket,
    day: Bucket,
    /// Among how many gateways the terms are divided now.
    shares: u32,
    /// Whether the buckets say what the Redis last said.
    is_shared: bool,
}

/// Where a caller stands with one limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// What there is when nothing is spent.
    pub limit: u64,
    /// What is left, whole ones.
    pub remaining: u64,
    /// How long until all is there again.
    pub reset: Duration,
    /// What comes back each second.
    pub per_second: f64,
}

impl Meters {
    /// Nothing is spent.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        let [requests, minute, day] = [Bucket::default(); 3];
        Self { terms, requests, minute, day, shares: 1, is_shared: false }
    }

    /// Takes at least `need` from all meters of this kind, and as much up to `want` as there is. Says how much; 0 where
    /// nothing is limited.
    ///
    /// # Errors
    ///
    /// When there is too little, or could never be enough; nothing is taken then.
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

    /// Refuses what these meters could never grant.
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

    /// Of which meter there is less than `need`, and for how long; of several the one that takes longest.
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

    /// Spends more, whether or not it is there. Less than 0 puts back.
    pub fn spend(&mut self, kind: Kind, amount: f64, now: Instant) {
        let shares = self.shares;
        for (meter, rate) in self.terms.rates(kind) {
            self.bucket_mut(meter).spend(amount, rate.share(shares, 0.0), now);
        }
    }

    /// Takes the Redis' word for what all gateways have spent.
    pub fn heed(&mut self, meter: Meter, spent: f64, now: Instant) {
        self.bucket_mut(meter).set_spent(spent, now);
        self.shares = 1;
        self.is_shared = true;
    }

    /// From now on this gateway grants its share by its own count.
    pub fn go_alone(&mut self, shares: u32) {
        self.shares = shares.max(1);
        if std::mem::take(&mut self.is_shared) {
            for bucket in [&mut self.requests, &mut self.minute, &mut self.day] {
                bucket.divide(self.shares);
            }
        }
    }

    /// Where the caller stands with a meter; `None` without a limit.
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

    /// The same for all meters of this kind: the one of which least is left.
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

/// Whole ones, rounded down; rounding errors are not.
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
    fn two_budgets_are_taken_from_together_or_not_at_all() {
        let (mut meters, now) = (meters(), Instant::now());
        assert_eq!(meters.take(Kind::Tokens, 500.0, 500.0, now), Ok(500.0));
        // After a minute the first is full again, and the second has not half of it left.
        let later = now + Duration::from_secs(60);
        let refused = meters.take(Kind::Tokens, 550.0, 550.0, later);
        assert!(matches!(refused, Err(Refusal::Spent { meter: Meter::Day, .. })), "{refused:?}");
        assert_eq!(left(&meters, Meter::Minute, later), 600);
        assert_eq!(left(&meters, Meter::Day, later), 500);
        assert_eq!(meters.tightest(Kind::Tokens, later).unwrap().limit, 1000);
    }

    #[test]
    fn as_much_as_is_wanted_is_taken_where_it_is_there() {
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
    fn alone_it_grants_its_share_and_begins_with_its_share_of_what_was_spent() {
        let (mut meters, now) = (meters(), Instant::now());
        meters.heed(Meter::Requests, 30.0, now);
        assert_eq!(left(&meters, Meter::Requests, now), 30);
        meters.go_alone(3);
        assert_eq!(left(&meters, Meter::Requests, now), 10);
        // Not divided again, however often it is found out.
        meters.go_alone(3);
        assert_eq!(left(&meters, Meter::Requests, now), 10);
        assert_eq!(left(&meters, Meter::Requests, now + Duration::from_secs(2)), 14);
        // What needs more than a share gets through when nothing else does.
        assert_eq!(meters.take(Kind::Tokens, 550.0, 550.0, now), Ok(550.0));
        meters.heed(Meter::Requests, 12.0, now);
        assert_eq!(left(&meters, Meter::Requests, now), 48);
    }

    #[test]
    fn what_is_not_limited_is_granted_and_not_counted() {
        let (mut meters, now) = (Meters::new(Terms::default()), Instant::now());
        assert_eq!(meters.take(Kind::Tokens, 1e9, 1e9, now), Ok(0.0));
        assert_eq!(meters.take(Kind::Requests, 1.0, 1.0, now), Ok(0.0));
        assert_eq!(meters.standing(Meter::Requests, now), None);
        assert!(meters.tightest(Kind::Tokens, now).is_none());
    }
}
