//! Which models a server has loaded, and when another one is loaded instead.
//!
//! A server of local models has room for few of them at one time, and a load takes longer than many
//! answers. Served in the order of arrival, requests for several models make it load without end.
//! This is the rule that keeps loads rare and waits bounded: a model stays while the price of
//! another one (both loads) has not been earned, the jobs that waited when it was loaded are served
//! before it is unloaded, and no job waits longer than a few prices.
//!
//! Owns the beliefs about the server (what is loaded, how long loads take, which models fit beside
//! each other), the wishes for models that are not loaded, and the one swap in progress. It is a
//! pure state machine inside the gate: `now` and the line are arguments. [`LoadOrder`]s are carried
//! out by the provider, one at a time, and their result comes back by [`Warm::loaded`].
//!
//! The trap: a call that is sent although its model is not loaded stands in the server's own line,
//! where it waits for ever if the gateway keeps the other models busy. Therefore the models that
//! have to leave are always drained before the order, also when it is unknown whether they must.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::line::{Key, Lane, Line};
use super::types::Permit;
use crate::policy::Priority;
use fit::Fit;
use list::List;
use peers::Peers;
use rule::Foreseen;
use runner::Runner;
use swap::{Phase, Swap};

mod fit;
mod list;
mod outdated;
mod peers;
mod placement;
mod rule;
mod runner;
mod swap;
pub mod types;
mod view;
mod why;
pub mod words;

pub use types::{LoadEnd, LoadOrder, Needs, WarmPolicy};
pub use view::{LoadState, LoadView, SwapView};
pub use why::Why;

/// See the module's introduction.
#[derive(Debug)]
pub struct Warm {
    policy: WarmPolicy,
    list: List,
    runners: BTreeMap<Lane, Runner>,
    fit: Fit,
    swap: Option<Swap>,
    /// The number of the last swap.
    last: u64,
    peers: Peers,
    /// The swap that begins as soon as a model has stayed long enough for the one that is wanted.
    next: Option<Foreseen>,
    /// The order that was not taken yet.
    order: Option<LoadOrder>,
}

impl Warm {
    /// Nothing is known of the server.
    pub fn new(policy: WarmPolicy) -> Self {
        Self {
            policy,
            list: List::Unasked,
            runners: BTreeMap::new(),
            fit: Fit::default(),
            swap: None,
            last: 0,
            peers: Peers::default(),
            next: None,
            order: None,
        }
    }

    /// Uses another policy; beliefs are kept.
    pub fn change(&mut self, policy: WarmPolicy) {
        self.policy = policy;
    }

    /// How long a load may take.
    pub fn load_bound(&self) -> Duration {
        self.policy.load_bound
    }

    /// A job arrives that needs this.
    pub fn arrive(&mut self, lane: Lane, model: &Arc<str>, needs: &Needs, now: Instant) {
        let runner = self.runners.entry(lane).or_insert_with(|| Runner::new(model, needs.by, now));
        runner.arrive(needs, now);
        if self.list == List::Unasked {
            self.list = List::Asked(now);
        }
    }

    /// Whether the server has to be asked for the first time what it has loaded.
    pub fn needs_look(&self) -> bool {
        self.list.is_awaited()
    }

    fn is_known(&self) -> bool {
        self.list == List::Known
    }

    /// The server has loaded a model that may not have been requested yet.
    pub fn know(&mut self, lane: Lane, model: &Arc<str>, needs: &Needs, now: Instant) {
        self.runners.entry(lane).or_insert_with(|| Runner::new(model, needs.by, now));
    }

    /// Forgets the models that the server does not have. Returns whether there were such.
    pub fn keep_installed(&mut self, is_there: impl Fn(&str) -> bool) -> bool {
        let before = self.runners.len();
        self.runners.retain(|_, runner| runner.is_loaded() || is_there(&runner.model));
        let gone = |swap: &Swap| !self.runners.contains_key(&swap.target);
        if self.swap.as_ref().is_some_and(gone) {
            (self.swap, self.order) = (None, None);
        }
        before != self.runners.len()
    }

    /// Whether there is more than one model to choose between.
    pub fn has_several(&self) -> bool {
        self.is_known() && self.runners.len() > 1
    }

    /// The lane belongs to another model now.
    pub fn forget(&mut self, lane: Lane) {
        self.runners.remove(&lane);
        self.fit.forget(lane);
    }

    /// The server is another one. Calls that run at the old one still count.
    pub fn forget_server(&mut self) {
        self.disbelieve();
        self.list = List::Unasked;
        self.fit = Fit::default();
        self.runners.values_mut().for_each(Runner::forget_server);
    }

    /// Whether the lane must keep its model: it is loaded, or wanted.
    pub fn needs_lane(&self, lane: Lane) -> bool {
        let is_target = self.swap.as_ref().is_some_and(|swap| swap.target == lane);
        is_target || self.runners.get(&lane).is_some_and(Runner::is_in_use)
    }

    /// Whether one more call may start in this lane.
    pub fn is_open(&self, lane: Lane, now: Instant) -> bool {
        let Some(runner) = self.runners.get(&lane) else { return true };
        if runner.is_full() {
            return false;
        }
        if !self.is_known() {
            return self.list.awaited_until().is_none_or(|until| until <= now);
        }
        if runner.is_exempt(now) || runner.has_failed {
            return true;
        }
        if !runner.is_loaded() {
            return false;
        }
        match self.swap.as_ref().filter(|swap| swap.leaving.contains(&lane)) {
            None if self.peers.hold_back(lane) => {
                self.peers.drains(lane).is_some_and(|since| runner.may_fill(since, now))
            }
            None => true,
            Some(swap) => swap.phase == Phase::Drain && runner.may_fill(swap.since, now),
        }
    }

    /// Whether the lane's model has to be loaded before a call may start.
    pub fn is_cold(&self, lane: Lane, now: Instant) -> bool {
        self.is_known()
            && self
                .runners
                .get(&lane)
                .is_some_and(|runner| !runner.is_loaded() && !runner.is_exempt(now))
    }

    /// A call starts. Returns whether it is the attempt that gets the failure of a load.
    pub fn start(&mut self, lane: Lane, priority: Priority, now: Instant) -> bool {
        let Some(runner) = self.runners.get_mut(&lane) else { return false };
        if std::mem::take(&mut runner.has_failed) {
            return true;
        }
        runner.start(priority, now);
        false
    }

    /// A call has ended, after `held` when that says something about the model.
    pub fn end(&mut self, permit: &Permit, held: Option<(Duration, bool)>, now: Instant) {
        if let Some(runner) = self.runners.get_mut(&permit.lane).filter(|_| !permit.load_failed) {
            runner.end(permit.started, held, now);
        }
    }

    /// A job needs a model that is not loaded. This counts even if the job is refused because the
    /// load takes too long.
    pub fn want(&mut self, lane: Lane, now: Instant) {
        if self.is_cold(lane, now)
            && let Some(runner) = self.runners.get_mut(&lane)
        {
            runner.want(now);
        }
    }

    /// Decides about the next swap. Returns whether lanes may have opened.
    ///
    /// `can_run` says whether a lane's breaker and cooldown let calls through.
    pub fn plan<T>(
        &mut self,
        line: &Line<T>,
        can_run: impl Fn(Lane) -> bool,
        now: Instant,
    ) -> bool {
        self.next = None;
        self.peers.want_no_turn();
        if !self.is_known() {
            return false;
        }
        self.keep_wishes(line, now);
        if self.swap.is_some() {
            return self.go_on(now);
        }
        let Some(Foreseen { target, leaving, why, .. }) = self.next_swap(line, can_run, now) else {
            return false;
        };
        if !self.peers.may_swap() {
            self.want_turn(target, now);
            return false;
        }
        self.last += 1;
        let (number, phase) = (self.last, Phase::Drain);
        self.swap = Some(Swap { number, target, leaving, why, since: now, phase });
        self.order_when_drained(now);
        false
    }

    /// When time alone changes what may start or be loaded.
    pub fn next_step(&self, now: Instant) -> Option<Instant> {
        let swap = self.swap.as_ref().and_then(|swap| match swap.phase {
            Phase::Load { late, .. } => late,
            Phase::Drain => {
                let leaving = swap.leaving.iter().filter_map(|lane| self.runners.get(lane));
                leaving.filter_map(|runner| runner.fills_at(swap.since)).min()
            }
        });
        let first_word = self.list.awaited_until();
        let due = self.next.as_ref().map(|next| next.when);
        due.into_iter().chain(swap).chain(first_word).filter(|instant| *instant > now).min()
    }

    /// Takes the order that waits to be carried out.
    pub fn take_order(&mut self) -> Option<LoadOrder> {
        self.order.take()
    }

    /// Whether an order waits to be carried out.
    pub fn has_order(&self) -> bool {
        self.order.is_some()
    }

    /// Whether the lane's model is known not to be loaded.
    pub fn is_unloaded(&self, lane: Lane) -> bool {
        self.is_known() && self.runners.get(&lane).is_some_and(|runner| !runner.is_loaded())
    }

    /// Whether a load was ordered whose end is not known yet.
    pub fn is_loading(&self) -> bool {
        self.swap.as_ref().is_some_and(|swap| matches!(swap.phase, Phase::Load { .. }))
    }

    /// The server says what it has loaded. Returns whether that changed anything.
    pub fn believe(&mut self, loaded: &BTreeSet<Lane>, newest: Key, now: Instant) -> bool {
        if self.list == (List::Missing { is_mute: true }) && loaded.is_empty() {
            return false;
        }
        let mut changed = std::mem::replace(&mut self.list, List::Known) != List::Known;
        self.note_round(loaded);
        for (lane, runner) in &mut self.runners {
            changed |= runner.set_loaded(loaded.contains(lane), newest, now);
        }
        if !loaded.is_empty() {
            self.fit.together(loaded);
        }
        changed
    }

    /// The server does not say what it has loaded: nothing is held back any more. Returns whether
    /// that changed anything.
    pub fn disbelieve(&mut self) -> bool {
        self.swap = None;
        self.order = None;
        self.runners.values_mut().for_each(|runner| runner.is_outdated = false);
        if matches!(self.list, List::Missing { .. }) {
            return false;
        }
        self.list = List::Missing { is_mute: false };
        true
    }

    /// An order has ended after `took`; `loaded` is what the server has loaded now, where it could
    /// be asked. Returns the cost of the load for the jobs that wait for the model, in time for
    /// which they would have held their slots.
    pub fn loaded<T>(
        &mut self,
        order: &LoadOrder,
        (end, took): (LoadEnd, Duration),
        loaded: Option<&BTreeSet<Lane>>,
        line: &Line<T>,
        now: Instant,
    ) -> Option<Duration> {
        let target = order.target;
        let is_ours =
            |swap: &Swap| swap.number == order.number && matches!(swap.phase, Phase::Load { .. });
        if !self.swap.as_ref().is_some_and(is_ours) {
            // It was ordered from a server that is no longer this provider's.
            return None;
        }
        self.swap = None;
        let before = self.residents();
        let cost = match end {
            LoadEnd::Loaded => self.came(target, took, loaded, line.newest(), &before, now),
            LoadEnd::Failed => {
                let (usual, is_told) = (self.load(target), line.waiting_in(target) > 0);
                if let Some(runner) = self.runners.get_mut(&target) {
                    runner.fail(is_told, usual, now);
                }
                None
            }
            LoadEnd::Busy => {
                if let Some(runner) = self.runners.get_mut(&target) {
                    runner.wait_for_server(now);
                }
                None
            }
            LoadEnd::Refused => {
                if let Some(runner) = self.runners.get_mut(&target) {
                    runner.exempt(now);
                }
                None
            }
        };
        if end != LoadEnd::Loaded
            && let Some(loaded) = loaded
        {
            self.believe(loaded, line.newest(), now);
        }
        let others_wait = line.lanes().any(|lane| lane != target);
        cost.filter(|_| others_wait)
    }

    /// The mean time that a call of this lane holds its slot, where it was measured often enough to
    /// rely on.
    pub fn hold(&self, lane: Lane) -> Option<Duration> {
        self.runners.get(&lane).and_then(Runner::trusted_hold)
    }

    /// How many calls may run at one time in this lane, of this many slots.
    pub fn width(&self, lane: Lane, usable: u32) -> u32 {
        self.runners.get(&lane).map_or(usable, |runner| runner.width(usable))
    }

    /// Whether the lane is one of those whose loads are scheduled.
    pub fn schedules(&self, lane: Lane) -> bool {
        self.is_known() && self.runners.contains_key(&lane)
    }

    /// Whether jobs may be held back.
    pub fn schedules_any(&self) -> bool {
        self.is_known() || self.needs_look()
    }

    /// How far behind the clock a caller's virtual time may be that was held back while other
    /// models were loaded: the longest wait, in slots held for so long.
    pub fn longest_wait(&self) -> Duration {
        let mut loads: Vec<Duration> = self.runners.keys().map(|lane| self.load(*lane)).collect();
        loads.sort_unstable();
        let price: Duration = loads.iter().rev().take(2).sum();
        price.mul_f64(self.policy.most)
    }

    fn came(
        &mut self,
        target: Lane,
        took: Duration,
        loaded: Option<&BTreeSet<Lane>>,
        newest: Key,
        before: &BTreeSet<Lane>,
        now: Instant,
    ) -> Option<Duration> {
        if loaded.is_some_and(BTreeSet::is_empty) {
            self.disbelieve();
            self.list = List::Missing { is_mute: true };
            return None;
        }
        let usual = self.load(target);
        let runner = self.runners.get_mut(&target)?;
        let was_load = runner.learn_load(took, usual);
        // What was not looked at afterwards is as it was.
        let mut after = loaded.unwrap_or(before).clone();
        after.insert(target);
        let gone = before.difference(&after).count();
        if was_load && loaded.is_some() {
            runner.evicts = gone.max(1);
        }
        runner.has_come();
        if gone > 0 {
            let all = before.iter().copied().chain([target]).collect();
            self.fit.apart(all);
        }
        self.believe(&after, newest, now);
        was_load.then_some(took)
    }
}
