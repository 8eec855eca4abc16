//! Floods of refusals: logged once they begin and once a minute while they last, never once per
//! request.
//!
//! It owns each provider's counts since its last line. Single refusals are in the access log and
//! the metrics.
//!
//! The one thing to know: it has no timer. Only a refusal writes a line, so the end of a flood is
//! not logged.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::metrics::METRICS;

/// Refusals within [`WINDOW`] that make a flood: two per second.
const FLOOD: u64 = 20;
/// The time over which refusals are counted before the first line.
const WINDOW: Duration = Duration::from_secs(10);
/// The time between the lines of a flood.
const EVERY: Duration = Duration::from_secs(60);

static FLOODS: LazyLock<Mutex<HashMap<String, Count>>> = LazyLock::new(Mutex::default);

/// A provider's gate refused a request, at admission or while it waited.
#[derive(Debug)]
pub struct RequestRefused<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The caller of the request.
    pub caller: &'a str,
    /// The reason.
    pub reason: &'static str,
}

impl RequestRefused<'_> {
    /// Counts it, and writes a line if a flood is due for one.
    pub fn emit(self) {
        METRICS.refusals.with_label_values(&[self.provider, self.reason]).inc();
        let mut floods = FLOODS.lock();
        let now = Instant::now();
        let count = floods.entry(self.provider.to_owned()).or_insert_with(|| Count::new(now));
        let report = count.add(self.reason, self.caller, now);
        drop(floods);
        if let Some(Report { refused, seconds, reason, caller, share }) = report {
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
    /// Whether the flood was logged and has not paused for a whole window since.
    is_logged: bool,
    last: Instant,
    refused: u64,
    by: BTreeMap<(&'static str, String), u64>,
}

/// The content of a line.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    refused: u64,
    seconds: u64,
    reason: &'static str,
    caller: String,
    share: u64,
}

impl Count {
    fn new(now: Instant) -> Self {
        Self { since: now, is_logged: false, last: now, refused: 0, by: BTreeMap::new() }
    }

    fn add(&mut self, reason: &'static str, caller: &str, now: Instant) -> Option<Report> {
        let is_over = now.saturating_duration_since(self.last) >= WINDOW;
        let is_stale = !self.is_logged && now.saturating_duration_since(self.since) >= WINDOW;
        if is_over || is_stale {
            *self = Self::new(now);
        }
        self.last = now;
        self.refused += 1;
        *self.by.entry((reason, caller.to_owned())).or_default() += 1;
        let lasted = now.saturating_duration_since(self.since);
        let is_due = if self.is_logged { lasted >= EVERY } else { self.refused >= FLOOD };
        if !is_due {
            return None;
        }
        let ((reason, caller), share) = self.by.iter().max_by_key(|(_, count)| **count)?;
        let (reason, caller, share) = (*reason, caller.clone(), *share);
        let report =
            Report { refused: self.refused, seconds: lasted.as_secs(), reason, caller, share };
        *self = Self { is_logged: true, ..Self::new(now) };
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_when_it_begins_and_each_minute_and_single_refusals_never() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut count = Count::new(start);
        // One per second is not a flood, however long it lasts.
        assert!((0..100).all(|second| count.add("queue_full", "a", at(second * 1000)).is_none()));
        let mut reports = Vec::new();
        for step in 0..1300 {
            let caller = if step % 3 == 0 { "b" } else { "a" };
            reports.extend(count.add("queue_full", caller, at(200_000 + step * 100)));
        }
        assert_eq!(reports.len(), 3, "{reports:?}");
        assert_eq!(
            (reports[0].refused, reports[0].caller.as_str(), reports[0].share),
            (20, "a", 13)
        );
        assert_eq!((reports[1].seconds, reports[1].refused), (60, 600));
        // It paused, and begins again.
        let again: Vec<_> =
            (0..20).filter_map(|step| count.add("queue_full", "a", at(400_000 + step))).collect();
        assert_eq!(again.len(), 1);
    }
}
