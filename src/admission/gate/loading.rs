//! The gate's part in the loading of models: which jobs wait for a load, and how long.
//!
//! Owns nothing: [`Warm`] decides which model is loaded, and this file tells it what the gate knows
//! and does what follows for the waiting jobs. Without a policy everything here does nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Arrival, Ended, Gate, Moment, Permit, Reason, Waiter, Wake};
use crate::admission::cost::Turn;
use crate::admission::line::{Entry, Key, Lane};
use crate::admission::warm::{LoadEnd, LoadOrder, LoadState, Needs, Warm, WarmPolicy};
use crate::chat::RefusalReason;

/// A model that a server says it has loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its name.
    pub model: Arc<str>,
    /// What a job needs that is to run on it.
    pub needs: Needs,
}

impl<W> Gate<W> {
    /// Schedules loads by this policy; `None`: the order of the line alone decides.
    pub fn schedule(
        &mut self,
        policy: Option<WarmPolicy>,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) {
        match (&mut self.warm, policy) {
            (Some(warm), Some(policy)) => warm.change(policy),
            (warm, policy) => *warm = policy.map(Warm::new),
        }
        self.change_all_patience(at.now);
        self.grant(at, wakes);
    }

    /// The load to be carried out now. Its end must be reported by [`Gate::loaded`].
    pub fn take_order(&mut self) -> Option<LoadOrder> {
        self.warm.as_mut()?.take_order()
    }

    /// Whether [`Gate::take_order`] has something to give, or the server should be asked.
    pub fn has_order(&self) -> bool {
        self.warm
            .as_ref()
            .is_some_and(|warm| warm.has_order() || warm.needs_look() || warm.is_stale())
    }

    /// Whether jobs wait for the server's first word about what it has loaded.
    pub fn needs_look(&self) -> bool {
        self.warm.as_ref().is_some_and(Warm::needs_look)
    }

    /// How many more jobs may wait beside a newcomer of this lane, because slots are free for them
    /// once their model is loaded. Slots that batch work leaves free are not.
    pub(super) fn held_back(&self, newcomer: Lane, now: Instant) -> u32 {
        let Some(warm) = self.warm.as_ref().filter(|warm| warm.schedules_any()) else { return 0 };
        match self.line.lanes().chain([newcomer]).any(|lane| !warm.is_open(lane, now)) {
            true => self.usable(now).saturating_sub(self.in_flight),
            false => 0,
        }
    }

    /// The server is another one: nothing is known of it.
    pub(super) fn forget_server(&mut self, now: Instant) {
        if let Some(remembered) = &mut self.remembered {
            remembered.forget_server();
        }
        if let Some(warm) = &mut self.warm {
            warm.forget_server();
            self.change_all_patience(now);
        }
    }

    /// Whether jobs run or wait.
    pub fn has_work(&self) -> bool {
        self.load() > 0
    }

    /// Whether a load was ordered whose end is not known yet.
    pub fn is_loading(&self) -> bool {
        self.warm.as_ref().is_some_and(Warm::is_loading)
    }

    /// The models without calls that hold up a load that is late.
    pub fn holding_up(&self) -> Vec<Arc<str>> {
        self.warm.as_ref().map(Warm::holding_up).unwrap_or_default()
    }

    /// Whether the server should be asked what it has loaded: while there is work, but not during a
    /// load, which servers do not list.
    pub fn wants_look(&self) -> bool {
        let may_ask = |warm: &Warm| !warm.is_loading() && !warm.is_loading_elsewhere();
        self.has_work() && self.warm.as_ref().is_some_and(may_ask)
    }

    /// The server says what it has loaded; `None`: it does not say.
    pub fn believe(
        &mut self,
        loaded: Option<&[Loaded]>,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) {
        let lanes = loaded.map(|loaded| self.lanes_of(loaded, at.now));
        let newest = self.line.newest();
        let Some(warm) = &mut self.warm else { return };
        let changed = match lanes {
            Some(lanes) => warm.believe(&lanes, newest, at.now),
            None => warm.disbelieve(),
        };
        if changed {
            self.change_all_patience(at.now);
        }
        self.forget_unloaded();
        self.grant(at, wakes);
    }

    /// The server has no such models as those for which `is_there` is false: it loads nothing for
    /// them, so that their jobs wait for no load.
    pub fn keep_installed(
        &mut self,
        is_there: impl Fn(&str) -> bool,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) {
        let Some(warm) = &mut self.warm else { return };
        if warm.keep_installed(is_there) {
            self.change_all_patience(at.now);
            self.grant(at, wakes);
        }
    }

    /// What a model is to be loaded with has changed: it is loaded again before its next call.
    /// Returns whether it is loaded, or being loaded, with what it was to have before. `key` is
    /// that of [`Needs`].
    pub fn reload(&mut self, key: &str, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) -> bool {
        let lane = self.models.find(key);
        let Some((lane, warm)) = lane.zip(self.warm.as_mut()) else { return false };
        if !warm.outdate(lane) {
            return false;
        }
        self.change_all_patience(at.now);
        self.grant(at, wakes);
        true
    }

    /// An order has ended after `took`. `loaded` is what the server says afterwards.
    pub fn loaded(
        &mut self,
        order: &LoadOrder,
        (end, took): (LoadEnd, Duration),
        loaded: Option<&[Loaded]>,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) {
        let lanes = loaded.map(|loaded| self.lanes_of(loaded, at.now));
        let usable = self.usable_soon(at.now);
        let Some(warm) = &mut self.warm else { return };
        let target = order.target;
        let cost = warm.loaded(order, (end, took), lanes.as_ref(), &self.line, at.now);
        // In turns of the line, each of which counts as the mean of all models.
        if let (Some(took), Some(hold)) = (cost, self.costs.mean_hold()) {
            let jobs = took.as_secs_f64() * f64::from(warm.width(target, usable));
            self.line.charge(target, jobs / hold.as_secs_f64().max(f64::MIN_POSITIVE));
        }
        self.forget_unloaded();
        self.change_all_patience(at.now);
        self.grant(at, wakes);
    }

    /// How far a model's load is; `None` where loads are not scheduled, or the model is unknown.
    /// `key` is that of [`Needs`].
    pub fn load_state(&self, key: &str, now: Instant) -> Option<LoadState> {
        self.warm.as_ref()?.state_of(self.models.find(key)?, &self.line, now)
    }

    /// Whether the ends of longest waits have changed since this was last called.
    pub fn take_patience_changed(&mut self) -> bool {
        std::mem::take(&mut self.patience_changed)
    }

    /// When a waiting job stops waiting; `None` when it waits no longer.
    pub fn until(&self, key: Key) -> Option<Instant> {
        self.line.get(key).map(|entry| entry.until)
    }

    /// Whether a waiting job waits for the load of its model.
    pub fn awaits_load(&self, key: Key) -> bool {
        self.line.get(key).is_some_and(|entry| entry.load.was_cold)
    }

    /// The lane of a job's model.
    pub(super) fn lane_of(&mut self, arrival: &Arrival, now: Instant) -> Lane {
        if self.warm.is_some() && arrival.is_about_model {
            // It does not wait for the model, so it has a lane of its own.
            let name = Arc::from(format!("{} (other requests)", arrival.model));
            return self.lane(&name, None, now);
        }
        let lane = self.lane(&arrival.model, arrival.needs.as_ref(), now);
        if let (Some(warm), Some(needs)) = (&mut self.warm, &arrival.needs) {
            warm.arrive(lane, &arrival.model, needs, now);
        }
        // What many models share has no limit of one of them.
        if let Some(model) = self.models.get_mut(lane).filter(|_| lane != Lane::default()) {
            model.most = arrival.most;
        }
        lane
    }

    /// The wish of a job whose model is not loaded; refuses it when the model cannot be loaded
    /// before its deadline. The wish counts all the same.
    pub(super) fn wish(
        &mut self,
        arrival: &Arrival,
        lane: Lane,
        now: Instant,
    ) -> Result<(), Reason> {
        let Some(warm) = self.warm.as_mut().filter(|warm| warm.is_cold(lane, now)) else {
            return Ok(());
        };
        warm.want(lane, now);
        if warm.earliest(lane, now) <= arrival.deadline.saturating_duration_since(now) {
            return Ok(());
        }
        let expected = warm.soonest(lane, &self.line, now);
        self.plan(now);
        Err((RefusalReason::PredictedWait, expected))
    }

    /// Begins what loads have become due. Returns whether jobs may start that could not before.
    pub(super) fn plan(&mut self, now: Instant) -> bool {
        let limit = self.limit();
        let Some(warm) = &mut self.warm else { return false };
        let models = &self.models;
        let can_run = |lane| models.get(lane).is_some_and(|model| model.usable(limit, now) > 0);
        let is_up = self.breaker.usable(limit, now) > 0;
        warm.plan(&self.line, |lane| is_up && can_run(lane), now)
    }

    /// Whether the lane's model is loaded, as far as is known, and takes calls.
    pub(super) fn is_warm(&self, lane: Lane, now: Instant) -> bool {
        self.warm.as_ref().is_none_or(|warm| warm.is_open(lane, now))
    }

    /// How long a job of this lane waits for its model, beside the line.
    pub(super) fn load_left(&self, lane: Lane, now: Instant) -> Duration {
        let warm = self.warm.as_ref();
        warm.map_or(Duration::ZERO, |warm| warm.soonest(lane, &self.line, now))
    }

    /// How much of that is a guess: the load may begin before what is predicted.
    pub(super) fn load_guess(&self, lane: Lane, now: Instant) -> Duration {
        let warm = self.warm.as_ref();
        let earliest = warm.map_or(Duration::ZERO, |warm| warm.earliest(lane, now));
        self.load_left(lane, now).saturating_sub(earliest)
    }

    /// How much longer a job may wait because its model has to be loaded first.
    pub(super) fn load_bound(&self, lane: Lane, now: Instant) -> Duration {
        let warm = self.warm.as_ref().filter(|warm| warm.is_cold(lane, now));
        warm.map_or(Duration::ZERO, Warm::load_bound)
    }

    /// The same for a job that may have waited for the load before.
    pub(super) fn most_load_bound(&self, lane: Lane) -> Duration {
        let warm = self.warm.as_ref().filter(|warm| warm.schedules(lane));
        warm.map_or(Duration::ZERO, Warm::load_bound)
    }

    /// How far behind the clock a caller may be when its turn comes: one that was held back while
    /// other models were loaded has a claim to what it missed.
    pub(super) fn claim(&self, now: Instant) -> u64 {
        let Some(warm) = self.warm.as_ref().filter(|warm| warm.has_several()) else { return 0 };
        let hold = self.costs.mean_hold().unwrap_or_default().as_secs_f64();
        if hold == 0.0 {
            return 0;
        }
        let jobs = warm.longest_wait().as_secs_f64() * f64::from(self.usable(now)) / hold;
        (jobs * Turn::MEAN.0 as f64) as u64
    }

    /// Tells what the end of a call means for its model.
    pub(super) fn note_end(&mut self, permit: &Permit, ended: Ended, now: Instant) {
        let Some(warm) = &mut self.warm else { return };
        let held = now.saturating_duration_since(permit.started);
        let held = match ended {
            _ if permit.load_failed => None,
            Ended::Success | Ended::Neutral => Some((held, false)),
            Ended::Unreachable
            | Ended::Failed { .. }
            | Ended::AuthFailed
            | Ended::AuthDoubted
            | Ended::RateLimited { .. } => Some((held, true)),
            Ended::NotBegun | Ended::Unused => None,
        };
        warm.end(permit, held, now);
    }

    fn lane(&mut self, model: &Arc<str>, needs: Option<&Needs>, now: Instant) -> Lane {
        let (line, warm) = (&self.line, &mut self.warm);
        let keeps = |lane| {
            line.waiting_in(lane) > 0 || warm.as_ref().is_some_and(|warm| warm.needs_lane(lane))
        };
        let key = needs.map_or(model, |needs| &needs.key);
        let assigned = self.models.lane(key, model, now, keeps);
        if let Some(warm) = warm.as_mut().filter(|_| assigned.is_new) {
            warm.forget(assigned.lane);
        }
        if let Some(remembered) = self.remembered.as_mut().filter(|_| assigned.is_new) {
            remembered.forget(assigned.lane);
        }
        assigned.lane
    }

    fn lanes_of(&mut self, loaded: &[Loaded], now: Instant) -> BTreeSet<Lane> {
        let mut lanes = BTreeSet::new();
        for Loaded { model, needs } in loaded {
            let lane = self.lane(model, Some(needs), now);
            if let Some(warm) = self.warm.as_mut().filter(|_| lane != Lane::default()) {
                warm.know(lane, model, needs, now);
                lanes.insert(lane);
            }
        }
        lanes
    }

    /// How long it takes to serve all jobs that wait in this lane.
    fn time_of_all(&self, lane: Lane, now: Instant) -> Duration {
        let waiting = self.line.waiting_in(lane) as u64;
        match waiting.checked_sub(1) {
            Some(ahead) => self.line_cost(lane, ahead, now),
            None => Duration::ZERO,
        }
    }

    /// Gives the waiting jobs the patience that loaded and not loaded models are worth.
    fn change_all_patience(&mut self, now: Instant) {
        let lanes: Vec<Lane> = self.line.lanes().collect();
        let load_bound = self.warm.as_ref().map_or(Duration::ZERO, Warm::load_bound);
        for lane in lanes {
            let bound = self.load_bound(lane, now);
            let longest = self.limits.max_queue_wait;
            let promised = longest.max(self.time_of_all(lane, now) * 2);
            let is_cold = !bound.is_zero();
            self.line.change_patience(lane, |entry: &Entry<Waiter<W>>| {
                let Waiter { deadline, was_cold, .. } = &entry.load;
                let until = match (was_cold, is_cold) {
                    (false, false) | (true, true) => return entry.until,
                    // From now on it waits in line only; the jobs that waited for the load are not
                    // refused because they are many.
                    (true, false) => {
                        let until = entry.since.checked_add(longest.saturating_add(load_bound));
                        now.checked_add(promised).min(until)
                    }
                    (false, true) => entry.since.checked_add(longest.saturating_add(bound)),
                };
                until.map_or(*deadline, |until| until.min(*deadline))
            });
            self.line.each_in(lane, |waiter| waiter.was_cold = is_cold);
        }
        self.patience_changed = true;
    }
}
