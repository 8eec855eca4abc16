//! What the gate tells about models that are loaded and not loaded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::swap::Phase;
use super::{Swap, Warm, Why};
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
    /// How long it has been in this state; `None` if that is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
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
    /// Its bytes in memory, as the server says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The context that it is loaded with, in tokens, as the server says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// Until when it stays if it is not used, as the server said when it was last asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Arc<str>>,
}

/// The next model to be loaded, at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SwapView {
    /// The model.
    pub model: Arc<str>,
    /// `due`: it comes when its time has come; `drain`: the models that leave end their calls;
    /// `load`: it is being loaded.
    pub phase: &'static str,
    /// The models that take no more calls, or then will not, because one of them has to go.
    pub leaving: Vec<Arc<str>>,
    /// Why it is the next, and at that time.
    pub why: Why,
    /// How long it has been asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted_ms: Option<u64>,
    /// How long until its turn comes; 0 once it has.
    pub begins_ms: u64,
    /// How long until it is probably loaded; 0 if that is unknown.
    pub left_ms: u64,
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
    /// How far a load is, and how long it still takes.
    pub fn state_of<T>(&self, lane: Lane, line: &Line<T>, now: Instant) -> Option<LoadState> {
        if !self.is_known() {
            return None;
        }
        let runner = self.runners.get(&lane)?;
        let swap = self.swap.as_ref();
        let comes_elsewhere = || {
            let elsewhere = self.swap_elsewhere(now).filter(|_| self.is_loading_elsewhere());
            elsewhere.is_some_and(|(target, _)| target == Some(lane))
        };
        let is_leaving = |swap: &Swap| swap.target != lane && swap.leaving.contains(&lane);
        let state =
            if swap.is_some_and(is_leaving) || runner.is_loaded() && self.peers.hold_back(lane) {
                LoadState::Leaving
            } else if runner.is_loaded() {
                LoadState::Loaded
            } else if swap.is_some_and(|swap| swap.target == lane && swap.phase != Phase::Drain)
                || comes_elsewhere()
            {
                LoadState::Loading { left: self.soonest(lane, line, now) }
            } else if runner.is_wanted() {
                LoadState::Waiting { left: self.soonest(lane, line, now) }
            } else {
                LoadState::Cold
            };
        Some(state)
    }

    /// What is known of this lane's model; `None` where loads are not scheduled.
    pub fn view<T>(&self, lane: Lane, line: &Line<T>, now: Instant) -> Option<LoadView> {
        let state = self.state_of(lane, line, now)?;
        let runner = self.runners.get(&lane)?;
        let since = match state {
            LoadState::Loaded => runner.stay.map(|stay| stay.since),
            LoadState::Leaving => self.swap.as_ref().map(|swap| swap.since),
            LoadState::Loading { .. } => self.swap.as_ref().map(Swap::phase_since),
            LoadState::Waiting { .. } => runner.wanted.map(|wish| wish.since),
            LoadState::Cold => runner.gone,
        };
        let ago = |since| millis(now.saturating_duration_since(since));
        Some(LoadView {
            state: state.word(),
            since_ms: since.map(ago),
            loaded_ms: runner.stay.map(|stay| ago(stay.since)),
            left_ms: state.left().map(millis),
            load_ms: runner.load.map(millis),
            failed_loads: runner.failures,
            size: None,
            context_length: None,
            expires_at: None,
        })
    }

    /// The swap in progress, else the one that is due next.
    pub fn next<T>(&self, line: &Line<T>, now: Instant) -> Option<SwapView> {
        let next = || self.next.as_ref().map(|it| (it.target, &it.leaving, it.why, "due", it.when));
        let swap = self.swap.as_ref().map(|it| {
            let phase = match it.phase {
                Phase::Drain => "drain",
                Phase::Load { .. } => "load",
            };
            (it.target, &it.leaving, it.why, phase, now)
        });
        let (target, leaving, why, phase, when) = swap.or_else(next)?;
        let runner = self.runners.get(&target)?;
        let named = |lane: &Lane| self.runners.get(lane).map(|runner| Arc::clone(&runner.model));
        let wanted = runner.wanted.map(|wish| now.saturating_duration_since(wish.since));
        Some(SwapView {
            model: Arc::clone(&runner.model),
            phase,
            leaving: leaving.iter().filter(|lane| **lane != target).filter_map(named).collect(),
            why,
            wanted_ms: wanted.map(millis),
            begins_ms: millis(when.saturating_duration_since(now)),
            left_ms: millis(self.soonest(target, line, now)),
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
