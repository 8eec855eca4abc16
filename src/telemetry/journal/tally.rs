//! Sums over ended requests, for operators: how each provider's requests ended and how soon their
//! answers began, and who was turned away, where and why.
//!
//! It owns one row for each provider and one cell for each reason, key and provider, at most
//! [`CELLS`] of them. Readers compute rates from the differences of the counts.
//!
//! The one thing to know: requests are counted once, when they end. A request that one provider
//! refused and another served was not turned away.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;

use super::kept;
use crate::telemetry::{Outcome, RequestEnded};

/// The most cells; those that come later share one key.
pub const CELLS: usize = 4_096;
/// The most times to the first piece that are kept of one provider.
const TIMES: usize = 512;
/// How long they are kept, in milliseconds.
const MINUTE: u64 = 60_000;
/// The key of requests without a valid one.
const NO_KEY: &str = "-";
/// The key of the cells beyond [`CELLS`].
const OTHERS: &str = "(others)";

/// Who was turned away, where and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TurnedAway {
    /// Why, in one word.
    pub reason: &'static str,
    /// The name of the key; `-` if there was no valid one.
    pub caller: Arc<str>,
    /// The provider; `None` if it came to none.
    pub provider: Option<Arc<str>>,
    /// Whether more room or working providers would have helped, instead of another request.
    pub is_trouble: bool,
}

/// How a provider's requests ended. The counts only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Answered completely.
    pub ok: u64,
    /// Failed by the provider, or too late.
    pub failed: u64,
    /// 95 of 100 answers of the last minute began within this time after the arrival of their
    /// request, in milliseconds; `None` if none began.
    pub first_p95_ms: Option<u64>,
}

/// A copy of the sums at one instant.
#[derive(Debug, Default)]
pub struct TallyView {
    /// By provider.
    pub served: HashMap<Arc<str>, Served>,
    /// How many were turned away.
    pub turned_away: HashMap<TurnedAway, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    rows: HashMap<Arc<str>, Row>,
    turned_away: HashMap<TurnedAway, u64>,
}

#[derive(Debug, Default)]
struct Row {
    served: Served,
    /// When answers ended and how long it took until they began, in milliseconds.
    times: VecDeque<(u64, u64)>,
}

impl Tally {
    /// Counts a request that ended at `at`.
    pub(super) fn ended(&mut self, at: u64, ended: &RequestEnded<'_>) {
        if let Some(provider) = ended.provider {
            if !self.rows.contains_key(provider) {
                self.rows.insert(kept(provider), Row::default());
            }
            if let Some(row) = self.rows.get_mut(provider) {
                row.ended(at, ended);
            }
        }
        if let Some(reason) = ended.reason {
            self.turn_away(reason.as_str(), ended);
        }
    }

    /// The sums at the time `now`.
    pub(super) fn view(&self, now: u64) -> TallyView {
        let served = |(name, row): (&Arc<str>, &Row)| {
            let first_p95_ms = row.p95(now);
            (Arc::clone(name), Served { first_p95_ms, ..row.served })
        };
        TallyView {
            served: self.rows.iter().map(served).collect(),
            turned_away: self.turned_away.clone(),
        }
    }

    fn turn_away(&mut self, reason: &'static str, ended: &RequestEnded<'_>) {
        let mut cell = TurnedAway {
            reason,
            caller: ended.caller.map_or_else(|| Arc::from(NO_KEY), Arc::clone),
            provider: ended.provider.map(kept),
            is_trouble: ended.outcome.is_failure(),
        };
        if self.turned_away.len() >= CELLS && !self.turned_away.contains_key(&cell) {
            cell.caller = Arc::from(OTHERS);
        }
        *self.turned_away.entry(cell).or_default() += 1;
    }
}

impl Row {
    fn ended(&mut self, at: u64, ended: &RequestEnded<'_>) {
        match ended.outcome {
            Outcome::Ok => self.served.ok += 1,
            Outcome::Timeout | Outcome::UpstreamError => self.served.failed += 1,
            Outcome::ClientError
            | Outcome::RateLimited
            | Outcome::Overloaded
            | Outcome::Unavailable
            | Outcome::Cancelled => {}
        }
        let Some(first) = ended.timing.first else { return };
        if self.times.len() == TIMES {
            self.times.pop_front();
        }
        self.times.push_back((at, super::millis(first)));
    }

    fn p95(&self, now: u64) -> Option<u64> {
        let fresh = |(at, _): &&(u64, u64)| at.saturating_add(MINUTE) > now;
        let mut times: Vec<u64> = self.times.iter().filter(fresh).map(|(_, time)| *time).collect();
        times.sort_unstable();
        // The smallest time that at least 95 of 100 do not exceed.
        let rank = (times.len() * 95).div_ceil(100);
        times.get(rank.checked_sub(1)?).copied()
    }
}
