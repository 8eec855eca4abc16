//! A waiting job and its key.

use std::sync::Arc;
use std::time::Instant;

use crate::policy::Priority;

/// Whose job it is and how large that caller's share is.
#[derive(Clone, Debug)]
pub struct Share {
    /// The caller's name; jobs of equal names wait in one queue.
    pub caller: Arc<str>,
    /// The caller's share under contention, relative to the others; 0 counts as 1. The latest
    /// weight seen is used.
    pub weight: u32,
    /// The caller's class.
    pub priority: Priority,
}

/// Names a waiting job. Keys sort in the order in which one caller's jobs are served, and are never
/// used twice.
///
/// Retries have negative keys, so that they come before all jobs that wait for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub(super) i64);

impl Key {
    /// Whether the job is a retry, which is never pushed out.
    pub fn is_again(self) -> bool {
        self.0 < 0
    }
}

/// The model a job waits for, as a small number assigned by the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u16);

/// A waiting job.
#[derive(Debug)]
pub struct Entry<T> {
    /// Whose it is.
    pub share: Share,
    /// What it waits for.
    pub lane: Lane,
    /// When it began to wait.
    pub since: Instant,
    /// When it stops waiting; after this it must not be started.
    pub until: Instant,
    /// Whether another candidate could answer it instead of a wait for a long cooldown.
    pub movable: bool,
    /// The gate's own data.
    pub load: T,
}
