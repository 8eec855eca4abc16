//! What the gate has decided so far. They add up: every arrival ran at once, waited or was refused at the door.

use std::collections::BTreeMap;

use crate::provider::refusal::RefusalReason;

/// Counts since the gate was made.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Attempts started, at once or out of the line.
    pub(super) granted: u64,
    /// Jobs that had to wait.
    pub(super) waited: u64,
    /// Retries that the budget allowed.
    pub(super) retried: u64,
    /// Jobs turned away, at the door or out of the line.
    pub(super) refused: BTreeMap<RefusalReason, u64>,
}
