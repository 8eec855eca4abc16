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
use super::why::Why;
use super::{Phase, Swap, Warm};
use crate::admission::line::{Lane, Line};

/// A swap as it is foreseen.
#[derive(Debug)]
pub(super) struct Foreseen {
    pub target: Lane,
    /// The models that leave because one of them has to go.
    pub leaving: BTreeSet<Lane>,
    /// When it may begin.
    pub when: Instant,
    /// What decides that.
    pub why: Why,
    /// When the model has been kept out for long enough that no other one may come first.
    last: Instant,
}

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
    ) -> Option<Foreseen> {
        if let Some(target) = self.stray(now) {
            // Its calls stand in the server's own line, and would starve there.
            let leaving = match self.fits(target) {
                Some(true) => BTreeSet::new(),
                Some(false) | None => self.victims(target, line, now),
            };
            return Some(Foreseen { target, leaving, when: now, why: Why::Stray, last: now });
        }
        let cold = self.runners.iter().filter(|(_, runner)| {
            !runner.is_loaded() && !runner.has_failed && !runner.is_exempt(now)
        });
        let cold = cold.filter(|(lane, runner)| runner.is_wanted() && can_run(**lane));
        let mut first: Option<(Instant, Foreseen)> = None;
        let mut next: Option<Foreseen> = None;
        let mut kept_out: Option<Instant> = None;
        for (lane, runner) in cold {
            let Some(wish) = runner.wanted else { continue };
            let foreseen = self.foresee(*lane, line, now);
            if foreseen.when > now {
                if foreseen.last <= now {
                    kept_out = Some(kept_out.map_or(wish.since, |since| since.min(wish.since)));
                }
                if next.as_ref().is_none_or(|next| foreseen.when < next.when) {
                    next = Some(foreseen);
                }
            } else if first.as_ref().is_none_or(|(since, _)| wish.since < *since) {
                first = Some((wish.since, foreseen));
            }
        }
        // Models whose loads are short would replace each other for ever, each before the one whose
        // load is long has waited for as long as its price asks.
        let is_withheld = |(since, foreseen): &(Instant, Foreseen)| {
            !foreseen.leaving.is_empty() && kept_out.is_some_and(|older| older < *since)
        };
        let first = first.filter(|first| !is_withheld(first));
        if first.is_none() {
            self.next = next;
        }
        first.map(|(_, foreseen)| foreseen)
    }

    /// The swap for this model: when it may begin, why then, and which models would leave.
    pub(super) fn foresee<T>(&self, target: Lane, line: &Line<T>, now: Instant) -> Foreseen {
        let runner = self.runners.get(&target);
        let since = runner.and_then(|runner| runner.wanted).map_or(now, |wish| wish.since);
        let fits = self.fits(target);
        let mut leaving = match fits {
            Some(true) => BTreeSet::new(),
            Some(false) | None => self.victims(target, line, now),
        };
        let (mut when, mut why) = match fits {
            Some(true) => (since, Why::Fits),
            // To find out, once.
            None => (since, Why::Untried),
            Some(false) => {
                let due = leaving.iter().map(|victim| self.due_at(target, *victim, line, now));
                due.max().unwrap_or((since, Why::Untried))
            }
        };
        if runner.is_some_and(|runner| runner.is_outdated) {
            // The server would wait for its calls to end, and let others in meanwhile.
            leaving.insert(target);
            why = if fits == Some(true) { Why::Reload } else { why };
        }
        let prices = leaving.iter().map(|victim| self.load(target) + self.load(*victim));
        let price = prices.max().unwrap_or_default();
        let mut last = later(since, price.mul_f64(self.policy.most));
        if let Some(paused) = runner.and_then(|runner| runner.paused).filter(|it| *it > when) {
            (when, why) = (paused, Why::Paused);
            last = last.max(paused);
        }
        Foreseen { target, leaving, when, why, last }
    }

    /// When `victim` has stayed long enough for `target`, and what decides that.
    fn due_at<T>(
        &self,
        target: Lane,
        victim: Lane,
        line: &Line<T>,
        now: Instant,
    ) -> (Instant, Why) {
        let runner = self.runners.get(&victim);
        let Some((runner, stay)) = runner.and_then(|runner| Some((runner, runner.stay?))) else {
            return (now, Why::Idle);
        };
        let price = self.load(target) + self.load(victim);
        let wish = self.runners.get(&target).and_then(|runner| runner.wanted);
        let since = wish.map_or(now, |wish| wish.since);
        let least = later(stay.since, price.mul_f64(LEAST)).max(since);
        let waited_for = later(since, price.mul_f64(self.policy.stay));
        let last = later(since, price.mul_f64(self.policy.most));
        let theirs = self.peers.with(victim);
        let is_used = runner.in_flight() > 0 || line.waiting_in(victim) > 0;
        let is_idle = !is_used && theirs.is_idle();
        if line.is_all_batch(target) && stay.people {
            let quiet = is_idle.then(|| later(stay.used, price.mul_f64(QUIET)));
            return (quiet.map_or(last, |quiet| quiet.min(last)).max(least), Why::Quiet);
        }
        if is_idle {
            let (free, why) = self.free_at(victim, stay);
            let turn = least.max(waited_for);
            let (when, why) = if free <= turn { (free, why) } else { (turn, Why::Turn) };
            return (when.max(since), why);
        }
        if line.is_all_batch(victim) && !theirs.hurry && !line.is_all_batch(target) {
            return (later(stay.since, self.load(victim)).max(since), Why::Batch);
        }
        if theirs.promised || line.came_before(victim, stay.newest) {
            return (least.max(last), Why::Promised);
        }
        // What callers have had is not known of those of other gateways.
        if is_used && line.level(target) > line.level(victim) {
            return (least.max(last), Why::HadMore);
        }
        (least.max(waited_for), Why::Turn)
    }

    /// When an idle model is free to go.
    fn free_at(&self, victim: Lane, stay: Stay) -> (Instant, Why) {
        let load = self.load(victim);
        match stay.served {
            0 => (later(stay.since, load.mul_f64(UNUSED)), Why::Unused),
            _ => (later(stay.used, load.mul_f64(LINGER)), Why::Idle),
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
            .map(|(lane, runner)| {
                let waits = line.waiting_in(*lane) > 0 || !self.peers.with(*lane).is_idle();
                (waits, runner.demand(now), *lane)
            })
            .collect();
        loaded.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        loaded.into_iter().take(count).map(|(_, _, lane)| lane).collect()
    }

    /// How long until this lane's model will be loaded, as far as that can be foreseen.
    pub fn soonest<T>(&self, lane: Lane, line: &Line<T>, now: Instant) -> Duration {
        if !self.is_cold(lane, now) {
            return Duration::ZERO;
        }
        if self.swap.as_ref().is_some_and(|swap| swap.target == lane) {
            return self.swap_left(now);
        }
        let elsewhere = self.swap_elsewhere(now);
        if let Some((_, left)) = elsewhere.filter(|(target, _)| *target == Some(lane)) {
            return left;
        }
        let Foreseen { when, leaving, .. } = self.foresee(lane, line, now);
        let wait = when.saturating_duration_since(now);
        let others = elsewhere.map_or(Duration::ZERO, |(_, left)| left);
        wait.max(self.swap_left(now)).max(others) + self.drained(&leaving) + self.load(lane)
    }

    /// How long the swap in progress still takes; zero without one.
    pub(super) fn swap_left(&self, now: Instant) -> Duration {
        let Some(swap) = &self.swap else { return Duration::ZERO };
        let drained = match swap.phase {
            Phase::Drain => self.drained(&swap.leaving),
            Phase::Load { .. } => Duration::ZERO,
        };
        drained + self.load_left(swap, now)
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
            None => match self.swap_elsewhere(now) {
                Some((Some(target), left)) if target == lane => left,
                Some(_) | None => load,
            },
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

    /// How long the running calls of these lanes probably still take.
    fn drained(&self, lanes: &BTreeSet<Lane>) -> Duration {
        let busy = lanes.iter().filter_map(|lane| self.runners.get(lane));
        let busy = busy.filter(|runner| runner.in_flight() > 0);
        busy.filter_map(Runner::mean_hold).max().unwrap_or_default()
    }

    pub(super) fn residents(&self) -> BTreeSet<Lane> {
        let loaded = self.runners.iter().filter(|(_, runner)| runner.is_loaded());
        loaded.map(|(lane, _)| *lane).collect()
    }

    pub(super) fn keep_wishes<T>(&mut self, line: &Line<T>, now: Instant) {
        let longest = self.runners.values().filter_map(|runner| runner.load).max();
        for (lane, runner) in &mut self.runners {
            let waits = line.waiting_in(*lane) > 0;
            let is_cold = !runner.is_loaded() && !runner.is_exempt(now);
            runner.keep_wish(waits && is_cold, longest.unwrap_or_default(), now);
        }
    }
}

fn later(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration).unwrap_or(instant)
}
