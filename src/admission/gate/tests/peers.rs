//! Several gateways before one server: what the gate hears of the others.

use super::models::{loaded, needs};
use super::*;
use crate::admission::gate::loading::Loaded;
use crate::admission::warm::words::{Heard, ModelWord, Report, SwapWord, Word};
use crate::admission::warm::{LoadEnd, LoadOrder, LoadState, WarmPolicy};

impl Bench {
    /// A gate that shares its server, which has `a` loaded; it was asked after the first round.
    fn shared() -> Self {
        let mut bench = Self::new(4, 64);
        bench.step(|gate, at, wakes| {
            gate.schedule(Some(WarmPolicy::default()), at, wakes);
            gate.share_loads();
        });
        bench.hear(Heard { round: 1, ..Heard::default() });
        bench.look(&["a"]);
        bench
    }

    fn hear(&mut self, heard: Heard) {
        self.step(|gate, at, wakes| gate.hear(&heard, at, wakes));
    }

    fn look(&mut self, models: &[&str]) {
        let loaded: Vec<Loaded> = loaded(models);
        self.step(|gate, at, wakes| {
            gate.ask_server();
            gate.believe(Some(&loaded), at, wakes);
        });
    }

    fn wanting(&mut self, model: &str) -> u32 {
        let needs = Some(needs(model));
        self.come(Arrival { needs, ..self.of_model(model) })
    }

    fn report(&mut self) -> Report {
        let now = self.now;
        self.step(|gate, _, _| gate.report(now)).unwrap()
    }

    fn order(&mut self) -> Option<LoadOrder> {
        self.gate.take_order()
    }
}

fn mine(round: u64, others: Vec<Word>) -> Heard {
    Heard { round, is_mine: true, others, ..Heard::default() }
}

/// Another gateway that has so many calls and jobs of `a`.
fn using_a(running: u32, waiting: u32, knows: u64) -> Word {
    let (key, load_ms) = (Arc::from("a"), Some(3_000));
    let (promised, hurry, people) = (false, waiting > 0, true);
    let model = ModelWord { key, running, waiting, promised, hurry, people, load_ms };
    Word { models: vec![model], knows }
}

/// Another gateway's swap from `a` to `b`.
fn swap(loading: bool) -> Option<(SwapWord, Duration)> {
    let (target, model, leaving) = (Arc::from("b"), Arc::from("b"), vec![Arc::from("a")]);
    Some((SwapWord { target, model, leaving, loading }, Duration::ZERO))
}

#[test]
fn a_model_is_loaded_in_turn_only_and_once_all_have_heard_of_it_and_their_calls_have_ended() {
    let mut bench = Bench::shared();
    bench.wanting("b");
    assert_eq!((bench.order(), bench.report().asks), (None, Some(Duration::ZERO)));
    bench.hear(mine(1, vec![using_a(1, 0, 0)]));
    assert_eq!(bench.order(), None, "the other has not heard of it");
    let swap = bench.report().swap.unwrap();
    assert_eq!((&*swap.target, swap.leaving.len(), swap.loading), ("b", 1, false));
    bench.hear(mine(1, vec![using_a(1, 0, 1)]));
    assert_eq!(bench.order(), None, "its call still runs");
    bench.hear(mine(1, vec![using_a(0, 0, 1)]));
    assert_eq!(&*bench.order().unwrap().model, "b");
    assert!(bench.report().swap.unwrap().loading);
}

#[test]
fn what_another_gateway_uses_is_not_idle_and_goes_when_its_time_has_come() {
    let mut bench = Bench::shared();
    // It is known that only one fits.
    bench.wanting("b");
    bench.hear(mine(1, Vec::new()));
    let order = bench.order().unwrap();
    bench.pass(3.0);
    let end = (LoadEnd::Loaded, seconds(3.0));
    let after = loaded(&["b"]);
    bench.step(|gate, at, wakes| gate.loaded(&order, end, Some(&after), at, wakes));
    bench.hear(Heard { round: 2, has_ended: true, ..Heard::default() });
    let using_b = |waiting| {
        let mut word = using_a(1, waiting, 2);
        word.models[0].key = Arc::from("b");
        word
    };
    bench.hear(mine(2, vec![using_b(1)]));
    bench.end(1, OK);
    let job = bench.wanting("a");
    bench.pass(5.0);
    bench.wake();
    assert_eq!(bench.report().swap, None, "another gateway's jobs wait for it");
    // After two prices its time has come.
    bench.pass(8.0);
    bench.wake();
    assert_eq!(&*bench.report().swap.unwrap().target, "a");
    assert!(!bench.runs(job));
}

#[test]
fn what_leaves_for_another_gateway_starts_no_calls_until_the_server_was_asked_again() {
    let mut bench = Bench::shared();
    let running = bench.wanting("a");
    assert!(bench.runs(running));
    let other = vec![using_a(0, 0, 0)];
    bench.hear(Heard { round: 1, swap: swap(false), others: other, ..Heard::default() });
    assert_eq!(bench.report().word.unwrap().knows, 1);
    let second = bench.wanting("a");
    assert!(!bench.runs(second));
    let state = bench.gate.load_state("a", bench.now);
    assert_eq!(state, Some(LoadState::Leaving));
    let told = bench.gate.place(bench.keys[&second], bench.now).unwrap().to_string();
    assert_eq!(told, "`a` makes room for another model and comes back, 0 ahead");
    bench.end(running, OK);
    bench.hear(Heard { round: 1, swap: swap(true), ..Heard::default() });
    assert!(!bench.gate.wants_look(), "a loading model is not listed");
    assert!(!bench.gate.is_stale());
    bench.hear(Heard { round: 2, ..Heard::default() });
    assert!(bench.gate.is_stale() && !bench.runs(second));
    // A turn is of no use before it knows what is loaded.
    bench.hear(mine(2, Vec::new()));
    assert_eq!(bench.report().swap, None);
    bench.look(&["b"]);
    assert!(!bench.runs(second) && !bench.gate.is_stale());
    // It has learnt that both do not fit.
    let begins = bench.snapshot().next_load.unwrap();
    assert_eq!((&*begins.model, begins.leaving.len()), ("a", 1));
}

#[test]
fn a_swap_that_another_gateway_gives_up_opens_what_was_to_leave() {
    let mut bench = Bench::shared();
    let first = bench.wanting("a");
    bench.hear(Heard { round: 1, swap: swap(false), ..Heard::default() });
    bench.end(first, OK);
    let second = bench.wanting("a");
    assert!(!bench.runs(second));
    bench.hear(Heard { round: 2, ..Heard::default() });
    bench.look(&["a"]);
    assert!(bench.runs(second));
}

#[test]
fn alone_it_goes_on_at_once_and_a_turn_that_was_lost_is_asked_for_again() {
    let mut bench = Bench::shared();
    bench.wanting("b");
    bench.hear(mine(1, vec![using_a(1, 0, 0)]));
    assert!(bench.report().swap.is_some());
    bench.hear(Heard { round: 2, others: vec![using_a(1, 0, 0)], ..Heard::default() });
    assert_eq!((bench.order(), bench.report().swap), (None, None));
    assert!(bench.report().asks.is_some());
    bench.step(|gate, at, wakes| gate.be_alone(at, wakes));
    assert_eq!(&*bench.order().unwrap().model, "b");
}
