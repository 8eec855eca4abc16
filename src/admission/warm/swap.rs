//! The one swap in progress: the models that leave are drained, then the load is ordered.
//!
//! Owns the two phases. Which swap begins is the rule's decision.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Warm;
use super::runner::Runner;
use super::types::LoadOrder;
use super::why::Why;
use crate::admission::line::Lane;

/// A swap in progress.
#[derive(Debug)]
pub(super) struct Swap {
    pub number: u64,
    pub target: Lane,
    /// The models that start no calls because one of them has to go.
    pub leaving: BTreeSet<Lane>,
    /// Why it began.
    pub why: Why,
    pub since: Instant,
    pub phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Their calls come to an end.
    Drain,
    /// The load is ordered; it should be there at `late`.
    Load { since: Instant, late: Option<Instant> },
}

/// A load that takes longer than this many times what it usually takes may be waiting for a model
/// that the gateway keeps busy.
const LATE: f64 = 1.5;
/// How much later still.
const LATE_EXTRA: Duration = Duration::from_secs(5);
/// How much longer than two loads a model stays that should be the first to go.
const STAY_EXTRA: Duration = Duration::from_secs(10);
/// The same for loads of unknown length.
const STAY_UNKNOWN: Duration = Duration::from_secs(120);
/// When a load of unknown length is late.
const LATE_UNKNOWN: Duration = Duration::from_secs(50);

impl Swap {
    /// Since when it is in its phase.
    pub fn phase_since(&self) -> Instant {
        match self.phase {
            Phase::Drain => self.since,
            Phase::Load { since, .. } => since,
        }
    }
}

impl Warm {
    /// Goes on with the swap in progress. Returns whether it was given up.
    pub(super) fn go_on(&mut self, now: Instant) -> bool {
        let Some(swap) = &mut self.swap else { return false };
        match swap.phase {
            Phase::Drain => {
                let target = self.runners.get(&swap.target);
                let is_wanted = target.is_some_and(|runner| {
                    !runner.is_loaded() && (runner.is_wanted() || runner.in_flight() > 0)
                });
                if !is_wanted {
                    self.swap = None;
                    return true;
                }
                self.order_when_drained(now);
            }
            Phase::Load { since, late } => {
                if late.is_some_and(|late| late <= now) {
                    let target = swap.target;
                    let loaded = self.runners.iter().filter(|(_, runner)| runner.is_loaded());
                    swap.leaving =
                        loaded.map(|(lane, _)| *lane).filter(|lane| *lane != target).collect();
                    swap.phase = Phase::Load { since, late: None };
                }
            }
        }
        false
    }

    /// The models that hold up a load that is late: the server has not unloaded them although none
    /// has a call, since their last calls gave them a long time to stay. Empty while the load is not
    /// late, or calls still run.
    pub fn holding_up(&self) -> Vec<Arc<str>> {
        let Some(swap) = &self.swap else { return Vec::new() };
        let is_late = matches!(swap.phase, Phase::Load { late: None, .. });
        let leaving = || swap.leaving.iter().filter_map(|lane| self.runners.get(lane));
        if !is_late || leaving().any(|runner| runner.in_flight() > 0) {
            return Vec::new();
        }
        leaving().map(|runner| Arc::clone(&runner.model)).collect()
    }

    pub(super) fn order_when_drained(&mut self, now: Instant) {
        let Some(swap) = &self.swap else { return };
        let calls = |lane: &Lane| self.runners.get(lane).map_or(0, Runner::in_flight);
        if swap.leaving.iter().any(|lane| calls(lane) > 0) {
            return;
        }
        if !swap.leaving.is_empty() && !self.peers.have_left(&swap.leaving) {
            return;
        }
        let (target, leaving) = (swap.target, swap.leaving.clone());
        let Some(runner) = self.runners.get(&target) else { return };
        let named = |lane: &Lane| {
            let runner = self.runners.get(lane)?;
            Some((Arc::clone(&runner.model), runner.by))
        };
        let usual = self.known_load(target);
        let stay = usual.map_or(STAY_UNKNOWN, |load| load * 2 + STAY_EXTRA);
        let others = leaving.iter().filter(|lane| **lane != target);
        self.order = Some(LoadOrder {
            number: swap.number,
            target,
            model: Arc::clone(&runner.model),
            by: runner.by,
            leaving: others.filter_map(named).collect(),
            stay,
        });
        let late = usual.map_or(LATE_UNKNOWN, |load| load.mul_f64(LATE) + LATE_EXTRA);
        if let Some(swap) = &mut self.swap {
            swap.phase = Phase::Load { since: now, late: now.checked_add(late) };
        }
    }
}
