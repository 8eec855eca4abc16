//! The simulator's counters, as `/sim` and its tests see them.
//!
//! Owns their names. Refuses nothing.

use serde::Serialize;

/// The scheduler's counters. Always `requests = refused + finished + cancelled + waiting +
/// running`, and `loads` counts only completed loads.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct SimSnapshot {
    /// All calls that asked for a model.
    pub requests: u64,
    /// Calls answered "server busy".
    pub refused: u64,
    /// Calls that ran until their answer was complete.
    pub finished: u64,
    /// Calls whose client disconnected while they waited or ran.
    pub cancelled: u64,
    /// Calls waiting now: for a load, for memory, or for a slot.
    pub waiting: usize,
    /// Calls holding a slot now, all models together.
    pub running: usize,
    /// The most calls that ever held a slot at one time, all models together.
    pub most_running: usize,
    /// Models in memory now.
    pub loaded: usize,
    /// Whether a load is in progress now.
    pub loading: bool,
    /// All completed loads.
    pub loads: u64,
    /// Loads cancelled because the client that began them disconnected.
    pub aborted_loads: u64,
    /// Models unloaded in order to be loaded again with other options.
    pub reloads: u64,
    /// Models unloaded: to free memory for another, to be reloaded, on request, or after their
    /// keep-alive.
    pub unloads: u64,
    /// Prompt tokens that were read.
    pub prompt_read: u64,
    /// Prompt tokens that were remembered.
    pub prompt_reused: u64,
    /// Conversations that were forgotten for want of room, not with their model.
    pub prompt_evictions: u64,
}
