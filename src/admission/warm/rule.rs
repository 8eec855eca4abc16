//! The rule: which model is loaded next, for which others, and when.
//!
//! Owns no state. All times but the half-life of demand are multiples of loads, so the rule is the
//! same for loads of a second and of a minute.
//!
//! Rejected: the oldest wish first, which loads without end with three models; the model with the
//! most waiting jobs first, which starves the one whose load takes longest; fairness within a
//! minute, which is impossible where a load takes most of one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::runner::{Runner, Stay};
use super::{LoadState, Phase, Swap, Warm};
use crate::admission::line::{Lane, Line};

/// A loaded model that has served no job stays for this part of its load.
const UNUSED: f64 = 0.5;
/// An idle model stays for this part of its load after its last call: agents come back soon.
const LINGER: f64 = 0.1;
/// A model stays loaded for at least this many prices.
const LEAST: f64 = 2.0;
/// An idle model that interactive jobs have used stays for this many prices before batch jobs may
/// replace it.
const QUIET: f64 = 1.0;

impl Warm {
    /// How long this lane's model takes to load; the longest known where it was never loaded.
    pub(super) fn load(&self, lane: Lane) -> Duration {
        self.known_load(lane).unwrap_or_else(|| {
            self.runners.values().filter_map(|runner| runner.load).max().unwrap_or_default()
        })
    }

    pub(super) fn known_load(&self, lane: Lane) -> Option<Duration> {
        self.runners.get(&lane)?.load
    }

    /// The swap to begin now, if any: the model that is wanted for longest among those that are
    /// due. Otherwise notes when the next one is due.
    pub(super) fn next_swap<T>(
        &mut self,
        line: &Line<T>,
        can_run: impl Fn(Lane) -> bool,
        now: Instant,
    ) -> Option<(Lane, BTreeSet<Lane>)> {
        if let Some(stray) = self.stray(now) {
            // Its calls stand in the server's own line, and would starve there.
            let leaving = match self.fits(stray) {
                Some(true) => BTreeSet::new(),
                Some(false) | None => self.victims(stray, line, now),
            };
            return Some((stray, leaving));
        }
        let cold = self.runners.iter().filter(|(_, runner)| {
            !runner.is_loaded() && !runner.has_failed && !runner.is_exempt(now)
        });
        let cold = cold.filter(|(lane, runner)| runner.is_wanted() && can_run(**lane));
        let mut first: Option<(Instant, Lane, BTreeSet<Lane>)> = None;
        let mut due: Option<Instant> = None;
        for (lane, runner) in cold {
            let Some(wish) = runner.wanted else { continue };
            let (when, leaving) = self.when(*lane, line, now);
            if when > now {
                due = Some(due.map_or(when, |due| due.min(when)));
            } else if first.as_ref().is_none_or(|(since, _, _)| wish.since < *since) {
                first = Some((wish.since, *lane, leaving));
            }
        }
        if first.is_none() {
            self.due = due;
        }
        first.map(|(_, lane, mut leaving)| {
            if self.runners.get(&lane).is_some_and(|runner| runner.is_outdated) {
                // The server would wait for its calls to end, and let others in meanwhile.
                leaving.insert(lane);
            }
            (lane, leaving)
        })
    }

    /// When a swap for this model may begin, and which models would leave.
    fn when<T>(&self, target: Lane, line: &Line<T>, now: Instant) -> (Instant, BTreeSet<Lane>) {
        let wish = self.runners.get(&target).and_then(|runner| runner.wanted);
        let since = wish.map_or(now, |wish| wish.since);
        let after_pause = self.after_pause(target, since);
        match self.fits(target) {
            Some(true) => (after_pause, BTreeSet::new()),
            // To find out, once.
            None => (after_pause, self.victims(target, line, now)),
            Some(false) => {
                let leaving = self.victims(target, line, now);
                let due = leaving.iter().map(|victim| self.due_at(target, *victim, line, now));
                (due.max().unwrap_or(after_pause), leaving)
            }
        }
    }

    /// When `victim` has stayed long enough for `target`.
    fn due_at<T>(&self, target: Lane, victim: Lane, line: &Line<T>, now: Instant) -> Instant {
        let runner = self.runners.get(&victim);
        let Some((runner, stay)) = runner.and_then(|runner| Some((runner, runner.stay?))) else {
            return now;
        };
        let price = self.load(target) + self.load(victim);
        let wish = self.runners.get(&target).and_then(|runner| runner.wanted);
        let since = wish.map_or(now, |wish| wish.since);
        let after_pause = self.after_pause(target, since);
        let least = later(stay.since, price.mul_f64(LEAST)).max(after_pause);
        let waited_for = later(since, price.mul_f64(self.policy.stay));
        let last = later(since, price.mul_f64(self.policy.most));
        let is_idle = runner.in_flight() == 0 && line.waiting_in(victim) == 0;
        if line.is_all_batch(target) && stay.people {
            let quiet = is_idle.then(|| later(stay.used, price.mul_f64(QUIET)));
            return quiet.map_or(last, |quiet| quiet.min(last)).max(least);
        }
        if is_idle {
            let free = self.free_at(victim, stay);
            return free.min(least.max(waited_for)).max(after_pause);
        }
        if line.is_all_batch(victim) && !line.is_all_batch(target) {
            return later(stay.since, self.load(victim)).max(after_pause);
        }
        let is_promised = line.came_before(victim, stay.newest);
        if is_promised || line.level(target) > line.level(victim) {
            return least.max(last);
        }
        least.max(waited_for)
    }

    /// When an idle model is free to go.
    fn free_at(&self, victim: Lane, stay: Stay) -> Instant {
        let load = self.load(victim);
        match stay.served {
            0 => later(stay.since, load.mul_f64(UNUSED)),
            _ => later(stay.used, load.mul_f64(LINGER)),
        }
    }

    /// A lane whose calls were sent although its model is not loaded.
    fn stray(&self, now: Instant) -> Option<Lane> {
        let is_paused = |runner: &Runner| runner.paused.is_some_and(|until| now < until);
        let stray = |(_, runner): &(&Lane, &Runner)| {
            // Those of an outdated model were sent while it was loaded as it was to be.
            let is_sent = !runner.is_loaded() && !runner.is_outdated && runner.in_flight() > 0;
            // An exempt lane's calls load nothing.
            is_sent && !runner.has_exemption() && !is_paused(runner)
        };
        self.runners.iter().find(stray).map(|(lane, _)| *lane)
    }

    /// Whether the model fits beside those that are loaded; `None` if that is unknown.
    fn fits(&self, target: Lane) -> Option<bool> {
        let mut lanes = self.residents();
        lanes.insert(target);
        self.fit.fits(&lanes)
    }

    /// As many models as had to go for this one the last time: first those for which no job waits,
    /// then those that were asked for least.
    fn victims<T>(&self, target: Lane, line: &Line<T>, now: Instant) -> BTreeSet<Lane> {
        let count = self.runners.get(&target).map_or(1, |runner| runner.evicts);
        let loaded = self.runners.iter().filter(|(lane, _)| **lane != target);
        let mut loaded: Vec<_> = loaded
            .filter(|(_, runner)| runner.is_loaded())
            .map(|(lane, runner)| (line.waiting_in(*lane) > 0, runner.demand(now), *lane))
            .collect();
        loaded.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        loaded.into_iter().take(count).map(|(_, _, lane)| lane).collect()
    }

    /// When a model that is wanted since then may be loaded, as far as failed loads are concerned.
    fn after_pause(&self, lane: Lane, since: Instant) -> Instant {
        let paused = self.runners.get(&lane).and_then(|runner| runner.paused);
        paused.map_or(since, |paused| paused.max(since))
    }

    /// How long until this lane's model will be loaded, as far as that can be foreseen.
    pub fn soonest<T>(&self, lane: Lane, line: &Line<T>, now: Instant) -> Duration {
        if !self.is_cold(lane, now) {
            return Duration::ZERO;
        }
        let left = |swap: &Swap| {
            let drained = match swap.phase {
                Phase::Drain => self.drained(&swap.leaving),
                Phase::Load { .. } => Duration::ZERO,
            };
            drained + self.load_left(swap, now)
        };
        match &self.swap {
            Some(swap) if swap.target == lane => left(swap),
            swap => {
                let (when, leaving) = self.when(lane, line, now);
                let wait = when.saturating_duration_since(now);
                let other = swap.as_ref().map_or(Duration::ZERO, left);
                wait.max(other) + self.drained(&leaving) + self.load(lane)
            }
        }
    }

    /// The least time until this lane's model can be loaded, whatever else happens: for refusals,
    /// which must not rest on guesses.
    pub fn earliest(&self, lane: Lane, now: Instant) -> Duration {
        if !self.is_cold(lane, now) {
            return Duration::ZERO;
        }
        let load = self.load(lane);
        match self.swap.as_ref().filter(|swap| swap.phase != Phase::Drain) {
            Some(swap) if swap.target == lane => self.load_left(swap, now),
            Some(swap) => self.load_left(swap, now) + load,
            None => load,
        }
    }

    /// How long the load of this swap still takes.
    fn load_left(&self, swap: &Swap, now: Instant) -> Duration {
        let since = match swap.phase {
            Phase::Drain => now,
            Phase::Load { since, .. } => since,
        };
        self.load(swap.target).saturating_sub(now.saturating_duration_since(since))
    }

    /// How far a load is, and how long it still takes.
    pub fn state_of<T>(&self, lane: Lane, line: &Line<T>, now: Instant) -> Option<LoadState> {
        if !self.is_known() {
            return None;
        }
        let runner = self.runners.get(&lane)?;
        let swap = self.swap.as_ref();
        let is_leaving = |swap: &Swap| swap.target != lane && swap.leaving.contains(&lane);
        let state = if swap.is_some_and(is_leaving) {
            LoadState::Leaving
        } else if runner.is_loaded() {
            LoadState::Loaded
        } else if swap.is_some_and(|swap| swap.target == lane && swap.phase != Phase::Drain) {
            LoadState::Loading { left: self.soonest(lane, line, now) }
        } else if runner.is_wanted() {
            LoadState::Waiting { left: self.soonest(lane, line, now) }
        } else {
            LoadState::Cold
        };
        Some(state)
    }

    /// How long the running calls of these lanes probably still take.
    fn drained(&self, lanes: &BTreeSet<Lane>) -> Duration {
        let busy = lanes.iter().filter_map(|lane| self.runners.get(lane));
        let busy = busy.filter(|runner| runner.in_flight() > 0);
        busy.filter_map(Runner::mean_hold).max().unwrap_or_default()
    }
}

fn later(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration).unwrap_or(instant)
}
