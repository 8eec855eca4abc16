//! What a caller has used of what it may.
//!
//! It owns the buckets of one name and the count of its requests under way, behind one short lock. It refuses nothing by
//! itself: a [`super::Ticket`] asks, takes, and gives back.
//!
//! The one thing to know: several buckets are taken from together or not at all, so that a request that the day refuses
//! costs nothing of the minute.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use super::bucket::{Bucket, Rate};
use super::refusal::{Meter, Refusal};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a request is taken from.
pub(super) const REQUESTS: &[Meter] = &[Meter::Requests];
/// What tokens are taken from.
pub(super) const TOKENS: &[Meter] = &[Meter::Minute, Meter::Day];

/// What a caller may; by default everything.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Terms {
    /// Requests.
    pub rate: Option<Rate>,
    /// Tokens of prompts and answers, as they flow in over a minute.
    pub per_minute: Option<Rate>,
    /// And over a day.
    pub per_day: Option<Rate>,
    /// Requests under way at one time.
    pub max_concurrency: Option<u32>,
}

/// One caller's use of what it may.
#[derive(Debug)]
pub struct Account {
    name: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    terms: Terms,
    requests: Bucket,
    minute: Bucket,
    day: Bucket,
    in_flight: u32,
    tokens_used: u64,
}

/// Where a caller stands with one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What there is when nothing is spent.
    pub limit: u64,
    /// What is left, whole ones.
    pub remaining: u64,
    /// How long until all is there again.
    pub reset: Duration,
}

/// An account, for operators.
#[derive(Debug, Serialize)]
pub struct AccountStatus {
    /// The configured name of the key.
    pub name: Arc<str>,
    /// Requests under way.
    pub in_flight: u32,
    /// How many may be; `None` without a limit.
    pub max_concurrency: Option<u32>,
    /// Requests; `None` without a limit.
    pub requests: Option<MeterStatus>,
    /// Tokens by the minute; `None` without a limit.
    pub tokens_per_minute: Option<MeterStatus>,
    /// Tokens by the day; `None` without a limit.
    pub tokens_per_day: Option<MeterStatus>,
    /// Tokens used since the start.
    pub tokens_used: u64,
}

/// One limit of an account.
#[derive(Debug, Serialize)]
pub struct MeterStatus {
    /// What there is when nothing is spent.
    pub limit: u64,
    /// What is left, whole ones.
    pub remaining: u64,
    /// What comes back each second.
    pub refill_per_second: f64,
    /// How long until all is there again.
    pub full_in_ms: u64,
}

impl Terms {
    /// These terms with budgets of tokens; 0 is no limit.
    #[must_use]
    pub fn with_tokens(self, per_minute: u64, per_day: u64) -> Self {
        let budget = |tokens, time| (tokens > 0).then(|| Rate::within(tokens, time));
        Self { per_minute: budget(per_minute, MINUTE), per_day: budget(per_day, DAY), ..self }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }

    /// Whether tokens are.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.per_minute.is_some() || self.per_day.is_some()
    }

    fn rate(&self, meter: Meter) -> Option<Rate> {
        match meter {
            Meter::Requests => self.rate,
            Meter::Minute => self.per_minute,
            Meter::Day => self.per_day,
        }
    }

    /// Those of the meters that are limited, and how.
    fn rates(self, meters: &[Meter]) -> impl Iterator<Item = (Meter, Rate)> {
        meters.iter().filter_map(move |meter| Some((*meter, self.rate(*meter)?)))
    }
}

impl Account {
    /// An account of which nothing is used.
    #[must_use]
    pub fn new(name: &Arc<str>, terms: Terms) -> Self {
        let [requests, minute, day] = [Bucket::default(); 3];
        let state = State { terms, requests, minute, day, in_flight: 0, tokens_used: 0 };
        Self { name: Arc::clone(name), state: Mutex::new(state) }
    }

    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the caller may now.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.state.lock().terms
    }

    /// The account, for operators.
    #[must_use]
    pub fn status(&self, now: Instant) -> AccountStatus {
        let state = self.state.lock();
        let meter = |bucket: &Bucket, rate: Option<Rate>| {
            let rate = rate?;
            let Standing { limit, remaining, reset } = standing(bucket, rate, now);
            let full_in_ms = u64::try_from(reset.as_millis()).unwrap_or(u64::MAX);
            Some(MeterStatus { limit, remaining, refill_per_second: rate.per_second, full_in_ms })
        };
        let terms = state.terms;
        AccountStatus {
            name: Arc::clone(&self.name),
            in_flight: state.in_flight,
            max_concurrency: terms.max_concurrency,
            requests: meter(&state.requests, terms.rate),
            tokens_per_minute: meter(&state.minute, terms.per_minute),
            tokens_per_day: meter(&state.day, terms.per_day),
            tokens_used: state.tokens_used,
        }
    }

    pub(super) fn change(&self, terms: Terms) {
        self.state.lock().terms = terms;
    }

    /// Counts one more request under way, each to be ended with [`Account::leave`].
    pub(super) fn enter(&self) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        if let Some(most) = state.terms.max_concurrency.filter(|most| state.in_flight >= *most) {
            return Err(Refusal::Concurrency { most });
        }
        state.in_flight = state.in_flight.saturating_add(1);
        Ok(())
    }

    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
    }

    /// Takes at least `need` from all of these meters or from none, and as much up to `want` as there is. Says how much;
    /// 0 where nothing is limited.
    pub(super) fn take(
        &self,
        meters: &[Meter],
        need: f64,
        want: f64,
        now: Instant,
    ) -> Result<f64, Refusal> {
        let mut state = self.state.lock();
        let mut amount = want;
        let mut short: Option<(Meter, Duration)> = None;
        for (meter, rate) in state.terms.rates(meters) {
            if need > rate.capacity {
                let (need, most) = (whole(need), whole(rate.capacity));
                return Err(Refusal::TooLarge { meter, need, most });
            }
            let bucket = state.bucket(meter);
            if !bucket.has(need, rate, now) {
                let after = bucket.time_until(need, rate, now);
                short = short.filter(|(_, longest)| *longest > after).or(Some((meter, after)));
            }
            amount = amount.min(bucket.left(rate, now));
        }
        if let Some((meter, after)) = short {
            return Err(Refusal::Spent { meter, after });
        }
        if state.terms.rates(meters).next().is_none() {
            return Ok(0.0);
        }
        let amount = amount.max(need);
        state.spend(meters, amount, now);
        Ok(amount)
    }

    /// Spends more of these meters, or less than 0: puts back.
    pub(super) fn spend(&self, meters: &[Meter], amount: f64, now: Instant) {
        self.state.lock().spend(meters, amount, now);
    }

    /// Counts tokens for the operator.
    pub(super) fn count_tokens(&self, tokens: u64) {
        let mut state = self.state.lock();
        state.tokens_used = state.tokens_used.saturating_add(tokens);
    }

    /// Where the caller stands with these meters; of several that of which less is left.
    pub(super) fn standing(&self, meters: &[Meter], now: Instant) -> Option<Standing> {
        let mut state = self.state.lock();
        let rates = state.terms.rates(meters);
        let standings = rates.map(|(meter, rate)| standing(state.bucket(meter), rate, now));
        standings.min_by_key(|standing| standing.remaining)
    }
}

impl State {
    fn bucket(&mut self, meter: Meter) -> &mut Bucket {
        match meter {
            Meter::Requests => &mut self.requests,
            Meter::Minute => &mut self.minute,
            Meter::Day => &mut self.day,
        }
    }

    fn spend(&mut self, meters: &[Meter], amount: f64, now: Instant) {
        for (meter, rate) in self.terms.rates(meters) {
            self.bucket(meter).spend(amount, rate, now);
        }
    }
}

fn standing(bucket: &Bucket, rate: Rate, now: Instant) -> Standing {
    Standing {
        limit: whole(rate.capacity),
        remaining: whole(bucket.left(rate, now)),
        reset: bucket.time_until_full(rate, now),
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
