//! How many models are in memory: by their number, by their sizes, or both.
//!
//! Owns the memory that an unloaded model has not given back yet. It decides whether a model fits,
//! not which one goes.
//!
//! What a reader would get wrong: the first model always fits. Ollama runs what is larger than the
//! memory in part on the processor; only beside others it must leave a fifth of the rest free.

use std::time::{Duration, Instant};

use super::Bounds;
use super::runner::Runner;

/// The room for models.
#[derive(Debug)]
pub struct Room {
    max_loaded: usize,
    memory: Option<u64>,
    recovery: Duration,
    /// Until when an unloaded model keeps so many bytes.
    recovering: Option<(Instant, u64)>,
}

impl Room {
    /// Empty room.
    pub fn new(bounds: Bounds) -> Self {
        let Bounds { max_loaded, memory, recovery, .. } = bounds;
        Self { max_loaded: max_loaded.max(1), memory, recovery, recovering: None }
    }

    /// Whether a model of this size fits beside those that are loaded.
    pub fn fits(&self, loaded: &[Runner], size: u64) -> bool {
        let Some(memory) = self.memory.filter(|_| !loaded.is_empty()) else {
            return loaded.len() < self.max_loaded;
        };
        let late = self.recovering.map_or(0, |(_, size)| size);
        let taken = loaded.iter().fold(late, |taken, runner| taken.saturating_add(runner.size));
        // `load` in `server/sched.go` leaves a fifth of what is free for the unforeseen.
        let free = memory.saturating_sub(taken) / 5 * 4;
        loaded.len() < self.max_loaded && size <= free
    }

    /// Takes note of an unload, whose memory is free later.
    pub fn frees(&mut self, now: Instant, size: u64) {
        let until = now + self.recovery;
        self.recovering = Some((until, size)).filter(|_| until > now);
    }

    /// When the memory of the last unload is free, if it is not known to be.
    pub fn settles(&self) -> Option<Instant> {
        self.recovering.map(|(until, _)| until)
    }

    /// Whether all memory is free by now that was to be.
    pub fn is_settled(&mut self, now: Instant) -> bool {
        self.recovering = self.recovering.filter(|(until, _)| *until > now);
        self.recovering.is_none()
    }
}
