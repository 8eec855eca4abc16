//! Models with a limit of their own, and models that are loaded again.

use super::*;
use crate::admission::gate::loading::Loaded;
use crate::admission::refusal::UNMEASURED;
use crate::admission::warm::{LoadEnd, LoadOrder, Needs, WarmPolicy};
use crate::chat::LoadBy;

impl Bench {
    pub(super) fn bounded(&self, model: &str, most: Option<u32>) -> Arrival {
        Arrival { most, ..self.of_model(model) }
    }

    pub(super) fn loading(&self, model: &str) -> Arrival {
        Arrival { needs: Some(needs(model)), ..self.of_model(model) }
    }

    pub(super) fn believe(&mut self, models: &[&str]) {
        let loaded = loaded(models);
        self.step(|gate, at, wakes| gate.believe(Some(&loaded), at, wakes));
    }

    pub(super) fn reload(&mut self, model: &str) -> bool {
        self.step(|gate, at, wakes| gate.reload(model, at, wakes))
    }

    pub(super) fn came(&mut self, order: &LoadOrder, took: f64, models: &[&str]) {
        self.pass(took);
        let (end, loaded) = ((LoadEnd::Loaded, seconds(took)), loaded(models));
        self.step(|gate, at, wakes| gate.loaded(order, end, Some(&loaded), at, wakes));
    }
}

pub(super) fn needs(model: &str) -> Needs {
    Needs { key: Arc::from(model), by: LoadBy::Prompt, slots: None }
}

pub(super) fn loaded(models: &[&str]) -> Vec<Loaded> {
    models.iter().map(|model| Loaded { model: Arc::from(*model), needs: needs(model) }).collect()
}

/// A gate whose server has `a` loaded.
pub(super) fn with_a_loaded() -> Bench {
    let mut bench = Bench::new(4, 64);
    bench.step(|gate, at, wakes| gate.schedule(Some(WarmPolicy::default()), at, wakes));
    bench.believe(&["a"]);
    bench
}

#[test]
fn a_model_with_a_limit_of_its_own_leaves_the_other_slots_to_others() {
    let mut bench = Bench::new(4, 64);
    let first = bench.come(bench.bounded("m", Some(1)));
    let second = bench.come(bench.bounded("m", Some(1)));
    let other = bench.come(bench.of_model("n"));
    assert_eq!([first, second, other].map(|job| bench.runs(job)), [true, false, true]);
    let view = |bench: &Bench| {
        let models = bench.snapshot().models;
        let view = models.iter().find(|view| &*view.model == "m").unwrap().clone();
        (view.max_concurrency, view.in_flight, view.queued)
    };
    assert_eq!(view(&bench), (Some(1), 1, 1));
    bench.end(first, OK);
    assert!(bench.runs(second));
    let third = bench.come(bench.bounded("m", Some(1)));
    // The limit is raised by what the next arrival says; who waits already goes first.
    let fourth = bench.come(bench.bounded("m", Some(2)));
    assert_eq!([third, fourth].map(|job| bench.runs(job)), [true, false]);
    assert_eq!(view(&bench), (Some(2), 2, 1));
    let fifth = bench.come(bench.bounded("m", None));
    assert_eq!([fourth, fifth].map(|job| bench.runs(job)), [true, false]);
    assert_eq!(view(&bench), (None, 3, 1));
}

#[test]
fn the_wait_for_a_model_with_a_limit_of_its_own_counts_its_own_line() {
    let mut bench = Bench::new(4, 64);
    bench.measure(2.0);
    let jobs: Vec<u32> = (0..3).map(|_| bench.come(bench.bounded("m", Some(1)))).collect();
    assert!(bench.runs(jobs[0]));
    let place =
        |bench: &Bench, job| bench.gate.place(bench.keys[&job], bench.now).unwrap().expected;
    assert_eq!(place(&bench, jobs[1]), seconds(2.0));
    assert_eq!(place(&bench, jobs[2]), seconds(4.0));
    // Three slots are free for all others.
    let other = bench.come(bench.of_model("n"));
    assert!(bench.runs(other));
    let mut alone = Bench::new(4, 64);
    alone.measure(2.0);
    alone.come(alone.bounded("m", Some(1)));
    assert_eq!(alone.gate.expected_wait("m", None, alone.now), seconds(2.0));
    assert_eq!(alone.gate.expected_wait("n", None, alone.now), seconds(0.0));
}

#[test]
fn a_model_that_is_to_be_loaded_otherwise_is_drained_and_loaded_once() {
    let mut bench = with_a_loaded();
    let first = bench.come(bench.loading("a"));
    assert!(bench.runs(first));
    assert!(bench.reload("a"));
    let second = bench.come(bench.loading("a"));
    assert!(!bench.runs(second), "it would run with the old options");
    // The server still has it, with the old options: that is no news.
    bench.believe(&["a"]);
    assert!(!bench.runs(second));
    assert_eq!(bench.gate.take_order(), None, "its call still runs");
    bench.end(first, OK);
    let order = bench.gate.take_order().unwrap();
    assert_eq!((&*order.model, order.leaving.len()), ("a", 0));
    bench.came(&order, 3.0, &["a"]);
    assert!(bench.runs(second));
    let third = bench.come(bench.loading("a"));
    assert!(bench.runs(third));
    assert_eq!(bench.gate.take_order(), None);
}

#[test]
fn a_model_that_nobody_waits_for_is_loaded_again_by_the_next_job() {
    let mut bench = with_a_loaded();
    let first = bench.come(bench.loading("a"));
    bench.end(first, OK);
    assert!(bench.reload("a"));
    assert_eq!(bench.gate.take_order(), None);
    let second = bench.come(bench.loading("a"));
    let order = bench.gate.take_order().unwrap();
    assert!(!bench.runs(second));
    // A change during the load is told, so that it can be made good afterwards.
    assert!(bench.reload("a"));
    bench.came(&order, 3.0, &["a"]);
    assert!(bench.runs(second));
}

#[test]
fn what_is_not_loaded_need_not_be_loaded_again() {
    let mut bench = with_a_loaded();
    assert!(!bench.reload("b"), "nobody knows it");
    assert!(bench.reload("a"));
    // It went before it could be loaded again.
    bench.believe(&[]);
    bench.believe(&["a"]);
    let first = bench.come(bench.loading("a"));
    assert!(bench.runs(first));
    bench.come(bench.loading("b"));
    assert!(!bench.reload("b"), "it is not loaded yet");
    let mut fair = Bench::new(4, 64);
    fair.come(fair.of_model("a"));
    assert!(!fair.reload("a"));
}

#[test]
fn a_model_that_has_to_be_loaded_costs_its_load_those_that_go_for_it_and_one_turn() {
    let mut bench = with_a_loaded();
    bench.measure(2.0);
    let wait = |bench: &Bench, model| bench.gate.expected_wait(model, None, bench.now);
    assert_eq!(wait(&bench, "a"), seconds(0.0));
    // Neither load was ever seen, and nobody knows whether it fits beside the other.
    assert_eq!(wait(&bench, "b"), (UNMEASURED + UNMEASURED) + seconds(2.0));
    bench.come(bench.loading("b"));
    let order = bench.gate.take_order().unwrap();
    // It comes anyway: nothing has to go for one job more.
    let comes = wait(&bench, "b");
    assert!(comes < wait(&bench, "c"), "{comes:?}");
    bench.came(&order, 3.0, &["a", "b"]);
    // What fits beside the others costs nobody else a load.
    assert_eq!(wait(&bench, "a"), seconds(0.0));
    bench.come(bench.loading("c"));
    let order = bench.gate.take_order().unwrap();
    bench.came(&order, 5.0, &["a", "b", "c"]);
    bench.believe(&["b", "c"]);
    assert_eq!(wait(&bench, "a"), seconds(5.0 + 2.0));
}

#[test]
fn who_waits_for_a_load_does_not_make_a_loaded_model_s_newcomers_wait() {
    let mut bench = with_a_loaded();
    bench.measure(2.0);
    let running = bench.come(bench.loading("a"));
    bench.come(bench.loading("b"));
    assert!(bench.runs(running));
    assert!(bench.gate.expected_wait("a", None, bench.now) > seconds(0.0), "it is about to go");
    bench.end(running, OK);
    let order = bench.gate.take_order().unwrap();
    bench.came(&order, 3.0, &["b"]);
    bench.come(bench.loading("a"));
    assert_eq!(bench.gate.expected_wait("b", None, bench.now), seconds(0.0));
}
