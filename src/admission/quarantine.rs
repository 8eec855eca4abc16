//! Requests that crash a model again and again: for a while they are refused at once, with what
//! happened.
//!
//! Owns a bounded table of requests, by digest, and how often each made a model crash, break off or
//! fall silent. It never sees the requests themselves. When the table is full, the request with the
//! oldest first crash is replaced.
//!
//! The one thing to know: during an outage every request "makes the model fail". The gate therefore
//! quarantines no request while other requests fail at the model too, with no answer in between.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Crashes within [`WINDOW`] that put a request in quarantine.
const MOST_CRASHES: u32 = 3;
/// How long a crash counts against a request.
const WINDOW: Duration = Duration::from_secs(600);
/// How long a quarantine lasts.
const LENGTH: Duration = Duration::from_secs(60);
/// How many requests are remembered.
const MOST_REQUESTS: usize = 256;

/// The requests of one provider that crash its models.
#[derive(Debug, Default)]
pub struct Quarantine {
    requests: HashMap<(u64, Arc<str>), Record>,
    /// Whether one of them has been in quarantine, so that arrivals need a digest.
    is_used: bool,
}

/// The crashes of one request at one model.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whose request it is.
    pub caller: Arc<str>,
    /// How often it made the model fail.
    pub crashes: u32,
    /// The last failure, worded for every caller.
    pub why: Arc<str>,
    first: Instant,
    until: Option<Instant>,
}

impl Quarantine {
    /// The request made the model fail. Unless `excused`, the third crash puts it in quarantine.
    /// Returns whether it did.
    pub fn crashed(
        &mut self,
        request: u64,
        model: &Arc<str>,
        caller: &Arc<str>,
        why: &Arc<str>,
        excused: bool,
        now: Instant,
    ) -> bool {
        self.make_room(now);
        let new = || {
            let (caller, why) = (Arc::clone(caller), Arc::clone(why));
            Record { caller, crashes: 0, why, first: now, until: None }
        };
        let record = self.requests.entry((request, Arc::clone(model))).or_insert_with(new);
        record.crashes = record.crashes.saturating_add(1);
        record.why = Arc::clone(why);
        let begins = record.crashes >= MOST_CRASHES && !excused && record.left(now).is_zero();
        if begins {
            self.is_used = true;
            record.until = Some(now + LENGTH);
        }
        begins
    }

    /// The request's record and the time left, if it is in quarantine at the model.
    pub fn find(
        &self,
        request: u64,
        model: &Arc<str>,
        now: Instant,
    ) -> Option<(&Record, Duration)> {
        let record = self.requests.get(&(request, Arc::clone(model)))?;
        let left = record.left(now);
        (!left.is_zero()).then_some((record, left))
    }

    /// The requests in quarantine now, with their models' names.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = (&Arc<str>, &Record, Duration)> + '_ {
        let all = self.requests.iter();
        let all = all.map(move |((_, model), record)| (model, record, record.left(now)));
        all.filter(|(_, _, left)| !left.is_zero())
    }

    /// Whether no request has been in quarantine lately, so that arrivals need no digest.
    pub fn is_empty(&self) -> bool {
        !self.is_used
    }

    /// Forgets every request.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn make_room(&mut self, now: Instant) {
        self.requests.retain(|_, record| {
            now.saturating_duration_since(record.first) < WINDOW || !record.left(now).is_zero()
        });
        self.is_used = self.requests.values().any(|record| record.until.is_some());
        if self.requests.len() >= MOST_REQUESTS {
            let oldest = self.requests.iter().min_by_key(|(_, record)| record.first);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.requests.remove(&key);
            }
        }
    }
}

impl Record {
    fn left(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash(quarantine: &mut Quarantine, request: u64, excused: bool, now: Instant) -> bool {
        let (model, caller, why) = (Arc::from("m"), Arc::from("a"), Arc::from("it died"));
        quarantine.crashed(request, &model, &caller, &why, excused, now)
    }

    #[test]
    fn the_third_crash_within_ten_minutes_starts_a_minute_of_quarantine() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut quarantine = Quarantine::default();
        assert!(!crash(&mut quarantine, 1, false, now));
        assert!(!crash(&mut quarantine, 1, false, at(300)));
        assert!(!crash(&mut quarantine, 2, false, at(300)), "another request");
        assert!(quarantine.is_empty());
        assert!(crash(&mut quarantine, 1, false, at(599)));
        assert!(!quarantine.is_empty());
        let model = Arc::from("m");
        let (record, left) = quarantine.find(1, &model, at(619)).unwrap();
        assert_eq!((record.crashes, left), (3, Duration::from_secs(40)));
        assert!(quarantine.find(1, &Arc::from("other"), at(619)).is_none());
        assert!(quarantine.find(2, &model, at(619)).is_none());
        assert!(quarantine.find(1, &model, at(659)).is_none());
        assert_eq!(quarantine.iter(at(619)).count(), 1);
    }

    #[test]
    fn crashes_of_an_outage_are_excused() {
        let now = Instant::now();
        let mut quarantine = Quarantine::default();
        assert!((0..10).all(|_| !crash(&mut quarantine, 1, true, now)));
        assert!(crash(&mut quarantine, 1, false, now), "until the others are served again");
    }

    #[test]
    fn old_crashes_are_forgotten_and_the_table_is_bounded() {
        let now = Instant::now();
        let mut quarantine = Quarantine::default();
        crash(&mut quarantine, 1, false, now);
        crash(&mut quarantine, 1, false, now);
        assert!(!crash(&mut quarantine, 1, false, now + WINDOW));
        for request in 0..10_000 {
            crash(&mut quarantine, request, false, now + WINDOW);
        }
        assert_eq!(quarantine.requests.len(), MOST_REQUESTS);
    }
}
