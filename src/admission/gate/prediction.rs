//! How long jobs will wait: for the choice between providers, for refusals and for the waiting
//! clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Gate;
use super::remembering::DAY;
use crate::admission::breaker::{Breaker, Permission};
use crate::admission::cost::Cost;
use crate::admission::line::{Entry, Key, Lane, Share};
use crate::admission::models::Model;
use crate::admission::refusal::UNMEASURED;
use crate::admission::warm::LoadState;
use crate::chat::{AwaitedLoad, Chain, LoadStage, Waiting};

impl<W> Gate<W> {
    /// When time alone may next let a job start; `None` when no job waits for that. What is due
    /// already is not counted: [`Gate::wake`] uses it.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let limit = self.limit();
        if limit == 0 {
            // With no slots at all, time alone makes no room.
            return None;
        }
        let whole = if self.line.is_empty() || self.in_flight < self.usable(now) {
            None
        } else {
            self.breaker.next_step(limit, now)
        };
        let models = self.line.lanes().filter_map(|lane| self.models.get(lane));
        let steps = models.filter_map(|model| model.next_step(limit, now)).chain(whole);
        let load = self.warm.as_ref().filter(|_| !self.line.is_empty());
        let load = load.and_then(|warm| warm.next_step(now));
        steps.chain(load).chain(self.kept_until(now)).min()
    }

    /// How long a newcomer for this model would wait here, for the choice among equals: zero when it
    /// could start at once. An open breaker or a cooldown counts with the time left, and a model
    /// that is not loaded with more than its wait; see [`Warm::placement`].
    ///
    /// `key` is the model's name, or what all its names have in common.
    ///
    /// Where a prompt cache counts, the time to read what is not remembered of `chain` is part of
    /// it: the wait is then the time until the answer begins.
    ///
    /// [`Warm::placement`]: crate::admission::warm::Warm::placement
    pub fn expected_wait(&self, key: &str, chain: Option<&Arc<Chain>>, now: Instant) -> Duration {
        let shut = |breaker: &Breaker| match breaker.permission(now) {
            Permission::Granted | Permission::Probe => Duration::ZERO,
            Permission::Denied { left, .. } => {
                left.max(self.costs.mean_hold().unwrap_or(UNMEASURED))
            }
        };
        let lane = self.models.find(key);
        let known = lane.and_then(|lane| self.models.get(lane));
        let model = known
            .map_or(Duration::ZERO, |model| shut(&model.breaker).max(model.cooldown.left(now)));
        let has_room = self.in_flight < self.usable(now) && !known.is_some_and(Model::is_full);
        let queue = if has_room && self.is_next(lane, now) {
            Duration::ZERO
        } else {
            let (lane, ahead) = (lane.unwrap_or_default(), self.line.len() as u64);
            let cost = Cost { load: Duration::ZERO, ..self.cost(lane, ahead, now) }.total();
            match self.costs.mean_hold() {
                Some(_) => cost,
                // Of equals that are only guessed at, the one with the shortest line comes first.
                None => cost + Duration::from_millis(ahead),
            }
        };
        let reading = lane.map_or(0.0, |lane| self.estimate(lane, chain).reading);
        let reading = Duration::from_secs_f64(reading.min(DAY));
        shut(&self.breaker).max(model) + queue + self.placement(lane, now) + reading
    }

    /// Whether a newcomer in this lane would be the first to get a slot.
    fn is_next(&self, lane: Option<Lane>, now: Instant) -> bool {
        // Those who wait for models that are not loaded leave it the free slots.
        let warm = self.warm.as_ref().zip(lane).filter(|(warm, lane)| warm.schedules(*lane));
        match warm {
            Some((warm, lane)) => {
                self.line.waiting_in(lane) == 0
                    && (warm.is_open(lane, now) || warm.is_cold(lane, now))
            }
            None => self.line.is_empty(),
        }
    }

    /// What the load of this model costs a newcomer.
    fn placement(&self, lane: Option<Lane>, now: Instant) -> Duration {
        let Some(warm) = &self.warm else { return Duration::ZERO };
        let hold = lane.and_then(|lane| warm.hold(lane)).or(self.costs.mean_hold());
        warm.placement(lane, &self.line, (hold.unwrap_or(UNMEASURED), UNMEASURED), now)
    }

    /// The most jobs served before this waiting job, and how long that and the load of its model
    /// take; `None` when it no longer waits.
    ///
    /// Linear in the caller's own queue: for heartbeats, not for decisions.
    pub fn place(&self, key: Key, now: Instant) -> Option<Waiting> {
        let Entry { lane, load: waiter, .. } = self.line.get(key)?;
        let load = self.awaited_load(*lane, &waiter.model, now);
        // Those who wait for other models are served before the load, which counts them.
        let ahead = match load {
            Some(_) => self.line.ahead_in_lane(key)?,
            None => self.line.ahead_of(key)?,
        };
        Some(Waiting { ahead, expected: self.told_wait(*lane, ahead, now), load })
    }

    /// The wait that a client is told: without the line while no attempt has been measured, since a
    /// guess would be taken for more.
    pub(super) fn told_wait(&self, lane: Lane, ahead: u64, now: Instant) -> Duration {
        let cost = self.cost(lane, ahead, now);
        let line = self.costs.mean_hold().map_or(Duration::ZERO, |_| cost.line);
        self.cooldown_left(lane, now) + Cost { line, ..cost }.total()
    }

    /// The load that the jobs of this lane wait for, which name their model like that.
    pub(super) fn awaited_load(
        &self,
        lane: Lane,
        model: &Arc<str>,
        now: Instant,
    ) -> Option<AwaitedLoad> {
        let load = |stage, left| AwaitedLoad { model: Arc::clone(model), stage, left };
        match self.warm.as_ref()?.state_of(lane, &self.line, now)? {
            LoadState::Loading { left } => Some(load(LoadStage::Loading, left)),
            LoadState::Waiting { left } => Some(load(LoadStage::Wanted, left)),
            // When it comes back is decided once it has gone.
            LoadState::Leaving => Some(load(LoadStage::Leaving, Duration::ZERO)),
            LoadState::Loaded | LoadState::Cold => None,
        }
    }

    /// The predicted wait of a newcomer; a guess while nothing has been measured.
    pub(super) fn newcomer_wait(
        &self,
        share: &Share,
        lane: Lane,
        again: bool,
        now: Instant,
    ) -> Duration {
        let ahead = self.line.ahead_of_newcomer(share, again);
        self.cooldown_left(lane, now) + self.wait(lane, ahead, now)
    }

    pub(super) fn wait(&self, lane: Lane, ahead: u64, now: Instant) -> Duration {
        self.cost(lane, ahead, now).total()
    }

    /// The cost of a job in this lane with `ahead` others before it.
    fn cost(&self, lane: Lane, ahead: u64, now: Instant) -> Cost {
        let slots = self.usable_soon(now);
        if let Some(line) = self.work(ahead, slots, now) {
            let load = self.load_left(lane, now);
            return Cost { line, load, ..Cost::default() };
        }
        let most = self.models.get(lane).and_then(|model| model.most);
        let own = most.map_or(slots, |most| most.min(slots));
        let Some(warm) = self.warm.as_ref().filter(|warm| warm.schedules(lane)) else {
            // Those who wait for other models need none of the few slots of this one.
            let narrow = self.costs.of(ahead.min(self.line.waiting_in(lane) as u64), own);
            let whole = self.costs.of(ahead, slots);
            return if narrow.line > whole.line { narrow } else { whole };
        };
        // Those who wait for other models are served by other slots, or before a swap that the load
        // counts.
        let ahead = ahead.min(self.line.waiting_in(lane) as u64);
        let load = warm.soonest(lane, &self.line, now);
        self.costs.of_model(warm.hold(lane), ahead, warm.width(lane, own), load)
    }

    /// The part of the cost that is spent in line.
    pub(super) fn line_cost(&self, lane: Lane, ahead: u64, now: Instant) -> Duration {
        self.cost(lane, ahead, now).line
    }

    /// Whether predictions for this lane rest on enough attempts to refuse a job.
    pub(super) fn is_trusted(&self, lane: Lane) -> bool {
        match self.warm.as_ref().filter(|warm| warm.schedules(lane)) {
            Some(warm) => warm.hold(lane).is_some(),
            None => self.costs.is_trusted(),
        }
    }

    pub(super) fn cooldown_left(&self, lane: Lane, now: Instant) -> Duration {
        self.models.get(lane).map_or(Duration::ZERO, |model| model.cooldown.left(now))
    }
}
