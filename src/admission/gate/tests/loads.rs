//! Scheduled loads over random histories, at a server with room for some of four models.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::models::{loaded, needs};
use super::*;
use crate::admission::gate::loading::Loaded;
use crate::admission::warm::{LoadEnd, LoadOrder, LoadState, WarmPolicy};

const MODELS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    Come {
        caller: u8,
        model: usize,
        batch: bool,
    },
    End {
        which: usize,
    },
    Leave {
        which: usize,
    },
    /// The server carries out the order, if there is one, in so many milliseconds.
    Load {
        millis: u64,
        ends: u8,
    },
    /// The server says what it has loaded.
    Look,
    /// Another client has it load this model.
    Evict {
        model: usize,
    },
    Pass {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..4u8, 0..4usize, any::<bool>())
            .prop_map(|(caller, model, batch)| Step::Come { caller, model, batch }),
        8 => (0..64usize).prop_map(|which| Step::End { which }),
        1 => (0..64usize).prop_map(|which| Step::Leave { which }),
        4 => (0..9_000u64, 0..8u8).prop_map(|(millis, ends)| Step::Load { millis, ends }),
        2 => Just(Step::Look),
        1 => (0..4usize).prop_map(|model| Step::Evict { model }),
        4 => (0..20_000u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

/// A server, and the gate before it.
struct World {
    bench: Bench,
    room: usize,
    loaded: Vec<&'static str>,
    order: Option<LoadOrder>,
    models: HashMap<u32, &'static str>,
    waiting: BTreeSet<u32>,
}

impl World {
    fn new(room: usize) -> Self {
        let mut bench = Bench::new(3, 1000);
        bench.step(|gate, at, wakes| gate.schedule(Some(WarmPolicy::default()), at, wakes));
        let (loaded, order) = (Vec::new(), None);
        let (models, waiting) = (HashMap::new(), BTreeSet::new());
        let mut world = Self { bench, room, loaded, order, models, waiting };
        world.look();
        world
    }

    fn act(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let before: BTreeSet<u32> = self.bench.running.keys().copied().collect();
        match step {
            Step::Come { caller, model, batch } => {
                let model = MODELS[*model];
                let caller = format!("caller-{caller}");
                let arrival = match batch {
                    true => self.bench.batch(&caller),
                    false => self.bench.arrival(&caller),
                };
                let needs = Some(needs(model));
                let deadline = self.bench.now + seconds(1e6);
                let job = self.bench.come(Arrival {
                    needs,
                    deadline,
                    model: Arc::from(model),
                    ..arrival
                });
                self.models.insert(job, model);
                if !self.bench.refused.contains_key(&job) {
                    self.waiting.insert(job);
                }
            }
            Step::End { which } => {
                let running: Vec<u32> = self.bench.running.keys().copied().collect();
                if let Some(job) = running.get(which % running.len().max(1)) {
                    self.bench.end(*job, OK);
                }
            }
            Step::Leave { which } => {
                let waiting: Vec<u32> = self.waiting.iter().copied().collect();
                if let Some(job) = waiting.get(which % waiting.len().max(1))
                    && let Some(key) = self.bench.keys.get(job).copied()
                    && self.bench.step(|gate, _, _| gate.cancel(key)).is_some()
                {
                    self.waiting.remove(job);
                }
            }
            Step::Load { millis, ends } => self.load(*millis, *ends),
            Step::Look => self.look(),
            Step::Evict { model } => self.make_room_for(MODELS[*model]),
            Step::Pass { millis } => {
                self.bench.now += Duration::from_millis(*millis);
                self.bench.wake();
            }
        }
        self.check(&before)
    }

    fn check(&mut self, before: &BTreeSet<u32>) -> Result<(), TestCaseError> {
        if let Some(order) = self.bench.gate.take_order() {
            prop_assert!(self.order.is_none(), "two orders at one time");
            self.order = Some(order);
        }
        prop_assert!(self.bench.running.len() <= 3);
        let started: Vec<u32> =
            self.bench.running.keys().filter(|job| !before.contains(job)).copied().collect();
        for job in started {
            self.waiting.remove(&job);
            let state = self.bench.gate.load_state(self.models[&job], self.bench.now);
            let is_told = self.bench.running[&job].load_failed;
            let is_there = matches!(state, Some(LoadState::Loaded | LoadState::Leaving));
            prop_assert!(is_told || is_there, "{} started: {state:?}", self.models[&job]);
        }
        let refused = &self.bench.refused;
        self.waiting.retain(|job| !refused.contains_key(job));
        Ok(())
    }

    fn load(&mut self, millis: u64, ends: u8) {
        let Some(order) = self.order.take() else { return };
        self.bench.now += Duration::from_millis(millis);
        let end = match ends {
            0 => LoadEnd::Failed,
            1 => LoadEnd::Busy,
            _ => LoadEnd::Loaded,
        };
        if end == LoadEnd::Loaded {
            let target = MODELS.into_iter().find(|model| **model == *order.model).unwrap();
            self.make_room_for(target);
        }
        let (took, loaded) = (Duration::from_millis(millis), self.seen());
        self.bench
            .step(|gate, at, wakes| gate.loaded(&order, (end, took), Some(&loaded), at, wakes));
    }

    fn make_room_for(&mut self, model: &'static str) {
        if !self.loaded.contains(&model) {
            self.loaded.push(model);
            while self.loaded.len() > self.room {
                self.loaded.remove(0);
            }
        }
    }

    fn look(&mut self) {
        if self.order.is_none() && !self.bench.gate.is_loading() {
            let loaded = self.seen();
            self.bench.step(|gate, at, wakes| gate.believe(Some(&loaded), at, wakes));
        }
    }

    fn seen(&self) -> Vec<Loaded> {
        loaded(&self.loaded)
    }
}

proptest! {
    #[test]
    fn calls_start_on_loaded_models_only_and_every_job_is_answered(
        room in 1..4usize,
        steps in prop::collection::vec(step(), 1..160),
    ) {
        let mut world = World::new(room);
        for step in &steps {
            world.act(step)?;
        }
        // From now on everything works: all who still wait are served, whatever happened before.
        for round in 0..2_000 {
            if world.waiting.is_empty() && world.bench.running.is_empty() {
                break;
            }
            world.act(&Step::Load { millis: 500, ends: 7 })?;
            world.act(&Step::Look)?;
            for which in 0..3 {
                world.act(&Step::End { which })?;
            }
            world.act(&Step::Pass { millis: 1_000 })?;
            prop_assert!(round < 1_999, "{:?} wait for ever", world.waiting);
        }
    }
}
