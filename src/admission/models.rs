//! What the gate knows about each model of its provider: breaker, cooldown, how many run.
//!
//! Owns a bounded table. Model names come from callers, so the table must not grow with them: it
//! has entries for at most [`MOST_MODELS`]. When it is full, the least recently used model without
//! running or waiting jobs and without remembered failures is replaced; if there is none, the
//! newcomer shares the entry `(other)`. A caller that invents names can therefore neither fill the
//! memory nor evict what is known about a failing model.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::breaker::{Breaker, BreakerPolicy};
use super::cooldown::Cooldown;
use super::evidence::Evidence;
use super::line::Lane;
use super::unready::Unready;

/// How many models have an entry of their own.
pub const MOST_MODELS: usize = 256;

/// Failures of a model that was not asked for in this long may be forgotten.
const STALE: Duration = Duration::from_secs(600);

/// One model of the provider.
#[derive(Debug)]
pub struct Model {
    /// Its name, or `(other)`.
    pub name: Arc<str>,
    /// What it was found by: its name, or what all its names have in common.
    key: Arc<str>,
    /// Its breaker.
    pub breaker: Breaker,
    /// Its cooldown.
    pub cooldown: Cooldown,
    /// Whose fault its failures are.
    pub evidence: Evidence,
    /// Set while the model says that it is not ready.
    pub unready: Option<Unready>,
    /// The last failure, worded for every caller.
    pub cause: Option<Arc<str>>,
    /// How many attempts run.
    pub in_flight: u32,
    /// How many may run at once; `None`: as many as the provider's limit allows.
    pub most: Option<u32>,
    used: Instant,
}

/// The lane of a model.
#[derive(Clone, Copy, Debug)]
pub struct Assigned {
    /// The lane.
    pub lane: Lane,
    /// Whether it belonged to no model, or to another one.
    pub is_new: bool,
}

/// The table of models.
#[derive(Debug)]
pub struct Models {
    policy: BreakerPolicy,
    lanes: HashMap<Arc<str>, Lane>,
    /// Indexed by lane; the first one is shared.
    models: Vec<Model>,
    /// Whether a model may be unready; saves the search when none is, which is nearly always.
    may_be_unready: bool,
}

impl Models {
    /// A table with only the shared entry.
    pub fn new(policy: BreakerPolicy, now: Instant) -> Self {
        let other = Model::new(Arc::from("(other)"), policy, now);
        Self { policy, lanes: HashMap::new(), models: vec![other], may_be_unready: false }
    }

    /// Uses another breaker policy, for known models too.
    pub fn change(&mut self, policy: BreakerPolicy) {
        self.policy = policy;
        self.models.iter_mut().for_each(|model| model.breaker.change(policy));
    }

    /// Resets every breaker and cooldown; running and waiting jobs are kept.
    pub fn forget(&mut self, now: Instant) {
        for model in &mut self.models {
            model.breaker.forget(now);
            model.cooldown = Cooldown::default();
            model.evidence = Evidence::default();
            model.unready = None;
            model.cause = None;
        }
    }

    /// The model's lane, assigned if it has none. `key` is its name or what all its names have in
    /// common; `keeps` says whether a lane has to keep its model.
    pub fn lane(
        &mut self,
        key: &Arc<str>,
        name: &Arc<str>,
        now: Instant,
        keeps: impl Fn(Lane) -> bool,
    ) -> Assigned {
        if let Some(lane) = self.lanes.get(key) {
            if let Some(model) = self.models.get_mut(lane.0 as usize) {
                model.used = now;
            }
            return Assigned { lane: *lane, is_new: false };
        }
        let mut model = Model::new(Arc::clone(name), self.policy, now);
        model.key = Arc::clone(key);
        let lane = if self.models.len() <= MOST_MODELS {
            self.models.push(model);
            Lane((self.models.len() - 1) as u16)
        } else if let Some((lane, place)) = self.replaceable(now, keeps) {
            let replaced = std::mem::replace(place, model);
            self.lanes.remove(&replaced.key);
            lane
        } else {
            return Assigned { lane: Lane::default(), is_new: false };
        };
        self.lanes.insert(Arc::clone(key), lane);
        Assigned { lane, is_new: true }
    }

    /// The model in a lane.
    pub fn get(&self, lane: Lane) -> Option<&Model> {
        self.models.get(lane.0 as usize)
    }

    /// The model in a lane.
    pub fn get_mut(&mut self, lane: Lane) -> Option<&mut Model> {
        self.models.get_mut(lane.0 as usize)
    }

    /// What the lane's model is found by.
    pub fn key(&self, lane: Lane) -> Option<&Arc<str>> {
        self.get(lane).map(|model| &model.key)
    }

    /// The model's lane by its key, if it has one.
    pub fn find(&self, key: &str) -> Option<Lane> {
        self.lanes.get(key).copied()
    }

    /// Hastens every model's breaker; see [`Breaker::hasten`].
    pub fn hasten(&mut self, least: Duration, now: Instant) {
        self.models.iter_mut().for_each(|model| model.breaker.hasten(least, now));
    }

    /// The model in this lane says that it is not ready; `asks` says whether the request was sent
    /// to find that out.
    pub fn not_begun(&mut self, lane: Lane, asks: bool, now: Instant) {
        if let Some(model) = self.get_mut(lane) {
            model.unready = Some(Unready::again(model.unready.take(), asks, now));
            self.may_be_unready = true;
        }
    }

    /// A call has ended: models that were not ready are asked again at once.
    pub fn ask_again(&mut self, now: Instant) {
        if !std::mem::take(&mut self.may_be_unready) {
            return;
        }
        for unready in self.models.iter_mut().filter_map(|model| model.unready.as_mut()) {
            unready.ask_again(now);
            self.may_be_unready = true;
        }
    }

    /// All entries with their lanes.
    pub fn iter(&self) -> impl Iterator<Item = (Lane, &Model)> + '_ {
        self.models.iter().enumerate().map(|(index, model)| (Lane(index as u16), model))
    }

    fn replaceable(
        &mut self,
        now: Instant,
        keeps: impl Fn(Lane) -> bool,
    ) -> Option<(Lane, &mut Model)> {
        let named = self.models.iter_mut().enumerate().skip(1);
        let named = named.map(|(index, model)| (Lane(index as u16), model));
        let idle = named.filter(|(lane, model)| model.is_replaceable(now) && !keeps(*lane));
        idle.min_by_key(|(_, model)| model.used)
    }
}

impl Model {
    fn new(name: Arc<str>, policy: BreakerPolicy, now: Instant) -> Self {
        Self {
            key: Arc::clone(&name),
            name,
            breaker: Breaker::new(policy, now),
            cooldown: Cooldown::default(),
            evidence: Evidence::default(),
            unready: None,
            cause: None,
            in_flight: 0,
            most: None,
            used: now,
        }
    }

    /// How many of `limit` slots this model may use now.
    pub fn usable(&self, limit: u32, now: Instant) -> u32 {
        let limit = self.most.map_or(limit, |most| most.min(limit));
        self.breaker.usable(limit, now).min(self.cooldown.usable(limit, now))
    }

    /// Whether one more attempt may start now.
    pub fn is_open(&self, limit: u32, now: Instant) -> bool {
        let may_be_asked = self.unready.as_ref().is_none_or(|unready| unready.may_be_asked(now));
        may_be_asked && self.in_flight < self.usable(limit, now)
    }

    /// Whether as many attempts run as its own limit allows.
    pub fn is_full(&self) -> bool {
        self.most.is_some_and(|most| self.in_flight >= most)
    }

    /// When one more slot becomes usable by itself, if the model cannot start an attempt before.
    pub fn next_step(&self, limit: u32, now: Instant) -> Option<Instant> {
        if self.is_open(limit, now) {
            return None;
        }
        if let Some(unready) = &self.unready {
            return unready.next_step(now);
        }
        let steps = [self.breaker.next_step(limit, now), self.cooldown.next_step(limit, now)];
        steps.into_iter().flatten().min()
    }

    fn is_replaceable(&self, now: Instant) -> bool {
        let pristine = self.breaker.is_pristine(now)
            && self.cooldown.is_pristine(now)
            && self.evidence.is_pristine(now)
            && self.unready.is_none();
        let stale = now.saturating_duration_since(self.used) >= STALE;
        self.in_flight == 0 && (pristine || stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Arc<str> {
        Arc::from(format!("model-{number}"))
    }

    fn assign(
        models: &mut Models,
        number: usize,
        now: Instant,
        keeps: impl Fn(Lane) -> bool,
    ) -> Lane {
        models.lane(&name(number), &name(number), now, keeps).lane
    }

    #[test]
    fn invented_names_neither_fill_the_table_nor_evict_failing_models() {
        let now = Instant::now();
        let mut models = Models::new(BreakerPolicy::default(), now);
        let broken = assign(&mut models, 0, now, |_| false);
        models.get_mut(broken).unwrap().breaker.fail(false, now, 0.5);
        for number in 1..10_000 {
            assign(&mut models, number, now + Duration::from_millis(number as u64), |_| false);
        }
        assert_eq!(models.iter().count(), MOST_MODELS + 1);
        assert!(models.find("model-9999").is_some());
        assert!(models.find("model-1").is_none());
        let broken = models.find("model-0").and_then(|lane| models.get(lane)).unwrap();
        assert!(!broken.breaker.is_pristine(now));
    }

    #[test]
    fn models_in_use_are_never_replaced_and_newcomers_share_an_entry() {
        let now = Instant::now();
        let mut models = Models::new(BreakerPolicy::default(), now);
        for number in 0..MOST_MODELS {
            let lane = assign(&mut models, number, now, |_| false);
            models.get_mut(lane).unwrap().in_flight = 1;
        }
        assert_eq!(assign(&mut models, MOST_MODELS, now, |_| false), Lane(0));
        models.get_mut(Lane(7)).unwrap().in_flight = 0;
        assert_eq!(assign(&mut models, MOST_MODELS, now, |lane| lane == Lane(7)), Lane(0));
        assert_eq!(assign(&mut models, MOST_MODELS, now, |_| false), Lane(7));
        assert_eq!(models.get(Lane(7)).unwrap().name, name(MOST_MODELS));
    }

    #[test]
    fn a_model_s_own_limit_bounds_its_attempts_and_no_other_s() {
        let now = Instant::now();
        let mut models = Models::new(BreakerPolicy::default(), now);
        let lanes = [1, 2].map(|number| assign(&mut models, number, now, |_| false));
        models.get_mut(lanes[0]).unwrap().most = Some(2);
        for (running, open) in [(0, true), (1, true), (2, false), (3, false)] {
            models.get_mut(lanes[0]).unwrap().in_flight = running;
            let model = models.get(lanes[0]).unwrap();
            assert_eq!(model.is_open(4, now), open, "{running}");
            // Only the end of an attempt makes room.
            assert_eq!(model.next_step(4, now), None);
        }
        assert_eq!(lanes.map(|lane| models.get(lane).unwrap().usable(4, now)), [2, 4]);
        assert!(!models.get(lanes[0]).unwrap().is_open(0, now));
    }

    #[test]
    fn old_failures_are_forgotten_when_room_is_needed() {
        let now = Instant::now();
        let mut models = Models::new(BreakerPolicy::default(), now);
        for number in 0..MOST_MODELS {
            let lane = assign(&mut models, number, now, |_| false);
            (0..5).for_each(|_| {
                models.get_mut(lane).unwrap().breaker.fail(false, now, 0.5);
            });
        }
        assert_eq!(assign(&mut models, MOST_MODELS, now, |_| false), Lane(0));
        assert_ne!(assign(&mut models, MOST_MODELS, now + STALE, |_| false), Lane(0));
    }
}
