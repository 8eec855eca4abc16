//! A count of the events of the last minute.
//!
//! Twelve buckets of five seconds: events leave the count in groups, between 55 and 60 seconds
//! after they happened. That is exact enough for budgets and success rates, and costs no memory per
//! event.

use std::time::{Duration, Instant};

/// Counts over the last 60 s.
#[derive(Clone, Debug)]
pub struct SlidingWindow {
    start: Instant,
    tick: u64,
    buckets: [u64; BUCKETS as usize],
}

const BUCKETS: u64 = 12;
const BUCKET: Duration = Duration::from_secs(5);

impl SlidingWindow {
    /// A window without events.
    pub fn new(now: Instant) -> Self {
        Self { start: now, tick: 0, buckets: [0; BUCKETS as usize] }
    }

    /// Counts one event.
    pub fn add(&mut self, now: Instant) {
        self.advance(now);
        let current = (self.tick % BUCKETS) as usize;
        if let Some(bucket) = self.buckets.get_mut(current) {
            *bucket += 1;
        }
    }

    /// Takes back the latest event.
    pub fn take_back(&mut self) {
        let ticks = (0..BUCKETS).map(|back| (self.tick + BUCKETS - back) % BUCKETS);
        let mut indexes = ticks.map(|tick| tick as usize);
        let latest = indexes.find(|index| self.buckets.get(*index).is_some_and(|count| *count > 0));
        if let Some(bucket) = latest.and_then(|index| self.buckets.get_mut(index)) {
            *bucket -= 1;
        }
    }

    /// How many events the last minute had.
    pub fn count(&self, now: Instant) -> u64 {
        let mut present = self.clone();
        present.advance(now);
        present.buckets.iter().sum()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets = [0; BUCKETS as usize];
    }

    fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.start).as_secs() / BUCKET.as_secs();
        let stale = elapsed.saturating_sub(self.tick).min(BUCKETS);
        for back in 0..stale {
            let index = ((elapsed - back) % BUCKETS) as usize;
            if let Some(bucket) = self.buckets.get_mut(index) {
                *bucket = 0;
            }
        }
        self.tick = self.tick.max(elapsed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_event_is_taken_back() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut minute = SlidingWindow::new(start);
        minute.take_back();
        minute.add(at(0));
        minute.add(at(7));
        minute.advance(at(30));
        minute.take_back();
        assert_eq!((minute.count(at(30)), minute.count(at(61))), (1, 0));
    }

    #[test]
    fn events_older_than_a_minute_are_not_counted() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut minute = SlidingWindow::new(start);
        minute.add(at(0));
        minute.add(at(4));
        minute.add(at(31));
        assert_eq!(
            [31, 59, 60, 89, 90, 1_000].map(|seconds| minute.count(at(seconds))),
            [3, 3, 1, 1, 0, 0]
        );
        minute.add(at(1_000));
        assert_eq!(minute.count(at(1_000)), 1);
    }

    #[test]
    fn clearing_forgets_everything() {
        let start = Instant::now();
        let mut minute = SlidingWindow::new(start);
        minute.add(start);
        minute.clear();
        assert_eq!(minute.count(start), 0);
    }
}
