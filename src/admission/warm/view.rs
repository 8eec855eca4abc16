//! What the gate tells about models that are loaded and not loaded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Warm;
use crate::admission::line::{Lane, Line};

/// How far a model's load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadState {
    /// It is loaded.
    Loaded,
    /// It is loaded, and takes no more calls because another model comes.
    Leaving,
    /// It is being loaded.
    Loading {
        /// How long that probably still takes.
        left: Duration,
    },
    /// It is wanted, and its load has not begun.
    Waiting {
        /// How long until it is probably loaded.
        left: Duration,
    },
    /// It is not loaded, and no job needs it.
    Cold,
}

/// A model's load at one instant.
#[derive(Clone, Debug, Serialize)]
pub struct LoadView {
    /// `loaded`, `leaving`, `loading`, `waiting` or `cold`.
    pub state: &'static str,
    /// How long it has been loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_ms: Option<u64>,
    /// How long until it is probably loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// How long a load takes, where one was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_ms: Option<u64>,
    /// Loads that failed in a row.
    pub failed_loads: u32,
}

impl LoadState {
    /// The state in one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Leaving => "leaving",
            Self::Loading { .. } => "loading",
            Self::Waiting { .. } => "waiting",
            Self::Cold => "cold",
        }
    }

    /// How long until it is probably loaded.
    pub fn left(self) -> Option<Duration> {
        match self {
            Self::Loading { left } | Self::Waiting { left } => Some(left),
            Self::Loaded | Self::Leaving | Self::Cold => None,
        }
    }
}

impl Warm {
    /// What is known of this lane's model; `None` where loads are not scheduled.
    pub fn view<T>(&self, lane: Lane, line: &Line<T>, now: Instant) -> Option<LoadView> {
        let state = self.state_of(lane, line, now)?;
        let runner = self.runners.get(&lane)?;
        let since = runner.stay.map(|stay| now.saturating_duration_since(stay.since));
        Some(LoadView {
            state: state.word(),
            loaded_ms: since.map(millis),
            left_ms: state.left().map(millis),
            load_ms: runner.load.map(millis),
            failed_loads: runner.failures,
        })
    }

    /// The model that is being loaded, or is loaded next.
    pub fn next_model(&self) -> Option<Arc<str>> {
        let swap = self.swap.as_ref()?;
        self.runners.get(&swap.target).map(|runner| Arc::clone(&runner.model))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
