//! Floods of refusals: said once they begin and once a minute while they last, and never once per request.
//!
//! It owns the counts since the last line of each provider. It refuses to judge single refusals, which are in the access
//! log and the metrics.
//!
//! The one thing to know: it has no timer. A line is written by a refusal, so that the end of a flood is not told.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::metrics::METRICS;

/// Refusals within [`WINDOW`] that make a flood: two a second.
const FLOOD: u64 = 20;
/// Over how long refusals are counted before the first line.
const WINDOW: Duration = Duration::from_secs(10);
/// How often a flood that lasts is told.
const EVERY: Duration = Duration::from_secs(60);

static FLOODS: LazyLock<Mutex<HashMap<String, Count>>> = LazyLock::new(Mutex::default);

/// A provider's gate turned a request away, at the door or out of the line.
#[derive(Debug)]
pub struct TurnedAway<'a> {
    /// The provider.
    pub provider: &'a str,
    /// Whose request it was.
    pub caller: &'a str,
    /// Why.
    pub reason: &'static str,
}

impl TurnedAway<'_> {
    /// Counts it, and writes the line when it is one of a flood.
    pub fn emit(self) {
        METRICS.refusals.with_label_values(&[self.provider, self.reason]).inc();
        let mut floods = FLOODS.lock();
        let now = Instant::now();
        let count = floods.entry(self.provider.to_owned()).or_insert_with(|| Count::new(now));
        let told = count.add(self.reason, self.caller, now);
        drop(floods);
        if let Some(Told { refused, seconds, reason, caller, share }) = told {
            log::warn!(
                target: "refusals",
                provider = self.provider,
                refused = refused,
                seconds = seconds,
                mostly = reason,
                of = caller.as_str(),
                share = share;
                "requests are turned away in great number"
            );
        }
    }
}

/// Refusals of one provider.
struct Count {
    since: Instant,
    /// Whether a flood was told of and has not stopped for a whole window since.
    is_told: bool,
    last: Instant,
    refused: u64,
    by: BTreeMap<(&'static str, String), u64>,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    refused: u64,
    seconds: u64,
    reason: &'static str,
    caller: String,
    share: u64,
}

impl Count {
    fn new(now: Instant) -> Self {
        Self { since: now, is_told: false, last: now, refused: 0, by: BTreeMap::new() }
    }

    fn add(&mut self, reason: &'static str, caller: &str, now: Instant) -> Option<Told> {
        let is_over = now.saturating_duration_since(self.last) >= WINDOW;
        let is_stale = !self.is_told && now.saturating_duration_since(self.since) >= WINDOW;
        if is_over || is_stale {
            *self = Self::new(now);
        }
        self.last = now;
        self.refused += 1;
        *self.by.entry((reason, caller.to_owned())).or_default() += 1;
        let lasted = now.saturating_duration_since(self.since);
        let is_due = if self.is_told { lasted >= EVERY } else { self.refused >= FLOOD };
        if !is_due {
            return None;
        }
        let ((reason, caller), share) = self.by.iter().max_by_key(|(_, count)| **count)?;
        let (reason, caller, share) = (*reason, caller.clone(), *share);
        let told = Told { refused: self.refused, seconds: lasted.as_secs(), reason, caller, share };
        *self = Self { is_told: true, ..Self::new(now) };
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_when_it_begins_and_each_minute_and_single_refusals_never() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut count = Count::new(start);
        // One a second is no flood, however long it lasts.
        assert!((0..100).all(|second| count.add("queue_full", "a", at(second * 1000)).is_none()));
        let mut told = Vec::new();
        for step in 0..1300 {
            let caller = if step % 3 == 0 { "b" } else { "a" };
            told.extend(count.add("queue_full", caller, at(200_000 + step * 100)));
        }
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!((told[0].refused, told[0].caller.as_str(), told[0].share), (20, "a", 13));
        assert_eq!((told[1].seconds, told[1].refused), (60, 600));
        // It stopped, and begins anew.
        let again: Vec<_> =
            (0..20).filter_map(|step| count.add("queue_full", "a", at(400_000 + step))).collect();
        assert_eq!(again.len(), 1);
    }
}
