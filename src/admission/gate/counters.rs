//! What the gate has decided so far. They add up: every arrival ran at once, waited or was refused
//! by the admission check.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::admission::sliding_window::SlidingWindow;
use crate::chat::RefusalReason;

/// Counts since the gate was made.
#[derive(Debug)]
pub(super) struct Counters {
    /// Attempts started, at once or out of the line.
    pub(super) granted: u64,
    /// Jobs that had to wait.
    pub(super) waited: u64,
    /// Retries that the budget allowed.
    pub(super) retried: u64,
    /// Jobs refused, by the admission check or while they waited.
    pub(super) refused: BTreeMap<RefusalReason, u64>,
    /// Jobs refused in the last minute.
    pub(super) refused_lately: SlidingWindow,
}

impl Counters {
    pub(super) fn new(now: Instant) -> Self {
        let refused_lately = SlidingWindow::new(now);
        Self { granted: 0, waited: 0, retried: 0, refused: BTreeMap::new(), refused_lately }
    }

    /// A job is refused.
    pub(super) fn refuse(&mut self, reason: RefusalReason, now: Instant) {
        *self.refused.entry(reason).or_default() += 1;
        self.refused_lately.add(now);
    }
}
