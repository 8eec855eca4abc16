//! The scheduler in a time of its own: who runs, who waits, what is loaded.

use proptest::prelude::*;

use super::*;

const KEEP: Duration = Duration::from_secs(300);

struct Bench {
    scheduler: Scheduler,
    now: Instant,
    granted: Vec<CallId>,
}

impl Bench {
    fn new(max_queue: usize, max_loaded: usize) -> Self {
        let scheduler = Scheduler::new(Bounds { max_queue, max_loaded });
        Self { scheduler, now: Instant::now(), granted: Vec::new() }
    }

    fn arrive(&mut self, model: &str) -> Result<CallId, Busy> {
        self.arrive_with(want(model))
    }

    fn arrive_with(&mut self, want: Want) -> Result<CallId, Busy> {
        let id = self.scheduler.arrive(self.now, want);
        self.collect();
        id
    }

    fn leave(&mut self, id: CallId, end: End) {
        self.scheduler.leave(self.now, id, end);
        self.collect();
    }

    fn end_load(&mut self) {
        let load = self.scheduler.load().expect("a load in progress");
        self.scheduler.load_ended(self.now, load.id);
        self.collect();
    }

    /// Loads a model and leaves it idle.
    fn load(&mut self, model: &str) {
        let id = self.arrive(model).expect("room");
        self.end_load();
        self.leave(id, End::Finished);
    }

    fn collect(&mut self) {
        self.granted.extend(self.scheduler.take_grants().iter().map(|grant| grant.call));
    }

    fn seen(&self) -> SimSnapshot {
        self.scheduler.snapshot()
    }

    fn loaded(&mut self) -> Vec<String> {
        let residents = self.scheduler.residents(self.now);
        residents.iter().map(|it| it.model.stem().to_owned()).collect()
    }
}

fn want(model: &str) -> Want {
    let model = ModelKey::parse(model).expect(model);
    Want { model, num_ctx: 4096, slots: 2, keep_alive: KEEP, generates: true }
}

#[test]
fn a_call_for_a_model_not_loaded_waits_for_its_load() {
    let mut bench = Bench::new(512, 3);
    let id = bench.arrive("a").expect("room");
    assert_eq!((bench.seen().waiting, bench.seen().loading), (1, true));
    bench.now += Duration::from_secs(2);
    let load = bench.scheduler.load().expect("a load");
    bench.scheduler.load_ended(bench.now, load.id);
    let grants = bench.scheduler.take_grants();
    assert_eq!((grants[0].call, grants[0].load), (id, Duration::from_secs(2)));
    assert_eq!((bench.seen().running, bench.seen().loads), (1, 1));
}

#[test]
fn slots_are_given_in_the_order_of_arrival_and_the_line_has_no_bound() {
    let mut bench = Bench::new(0, 3);
    bench.load("a");
    bench.granted.clear();
    let ids: Vec<CallId> = (0..1000).map(|_| bench.arrive("a").expect("no bound")).collect();
    assert_eq!((bench.seen().running, bench.seen().waiting), (2, 998));
    for id in &ids {
        bench.leave(*id, End::Finished);
    }
    assert_eq!(bench.granted, ids);
    assert_eq!((bench.seen().running, bench.seen().most_running), (0, 2));
}

#[test]
fn one_model_loads_at_a_time_and_loaded_ones_go_on() {
    let mut bench = Bench::new(512, 3);
    bench.load("a");
    let (b, c) = (bench.arrive("b").expect("room"), bench.arrive("c").expect("room"));
    let a = bench.arrive("a").expect("room");
    assert!(bench.granted.contains(&a));
    bench.end_load();
    assert!(bench.granted.contains(&b) && !bench.granted.contains(&c));
    bench.end_load();
    assert!(bench.granted.contains(&c));
}

#[test]
fn a_full_queue_refuses_only_calls_that_need_a_load() {
    let mut bench = Bench::new(1, 1);
    bench.load("a");
    let running = bench.arrive("a").expect("loaded");
    assert!(bench.arrive("b").is_ok(), "in the scheduler's hand, waiting for room");
    assert!(bench.arrive("c").is_ok(), "queued");
    assert_eq!(bench.arrive("d"), Err(Busy));
    assert!(bench.arrive("a").is_ok(), "loaded models have no bound");
    assert_eq!(bench.seen().refused, 1);
    assert!(!bench.seen().loading);
    bench.leave(running, End::Finished);
}

#[test]
fn a_queue_of_none_still_lets_the_first_load_through() {
    let mut bench = Bench::new(0, 3);
    assert!(bench.arrive("a").is_ok());
    assert!(bench.arrive("a").is_ok(), "joins the load in progress");
    assert_eq!(bench.arrive("b"), Err(Busy));
}

#[test]
fn room_is_made_by_the_model_idle_for_longest_and_never_by_a_busy_one() {
    let mut bench = Bench::new(512, 2);
    bench.load("a");
    bench.now += Duration::from_secs(1);
    bench.load("b");
    let _busy = bench.arrive("a").expect("loaded");
    bench.load("c");
    assert_eq!(bench.loaded(), ["a", "c"]);
    let busy = bench.arrive("c").expect("loaded");
    let waits = bench.arrive("b").expect("room in the queue");
    assert!(!bench.seen().loading, "both are in use");
    bench.leave(busy, End::Cancelled);
    assert!(bench.seen().loading);
    bench.end_load();
    assert!(bench.granted.contains(&waits));
}

#[test]
fn a_load_that_nobody_waits_for_any_longer_is_given_up() {
    let mut bench = Bench::new(512, 3);
    let (first, second) = (bench.arrive("a").expect("room"), bench.arrive("a").expect("room"));
    let queued = bench.arrive("b").expect("room");
    let stale = bench.scheduler.load().expect("a load");
    bench.leave(first, End::Cancelled);
    assert_eq!(bench.scheduler.load(), Some(stale), "one still waits");
    bench.leave(second, End::Cancelled);
    assert_eq!(bench.seen().aborted_loads, 1);
    // The next load begins at once, and the old timer cannot end it.
    bench.scheduler.load_ended(bench.now, stale.id);
    assert_eq!((bench.seen().loads, bench.seen().loading), (0, true));
    bench.end_load();
    assert_eq!(bench.granted, [queued]);
}

#[test]
fn another_context_length_reloads_the_model_once_it_is_idle() {
    let mut bench = Bench::new(512, 3);
    let running = bench.arrive("a").expect("room");
    bench.end_load();
    let longer = bench.arrive_with(Want { num_ctx: 8192, ..want("a") }).expect("room");
    assert!(!bench.seen().loading);
    bench.leave(running, End::Finished);
    bench.end_load();
    assert!(bench.granted.contains(&longer));
    assert_eq!((bench.seen().loads, bench.seen().unloads, bench.seen().loaded), (2, 1, 1));
}

#[test]
fn an_idle_model_stays_for_its_keep_alive_and_no_longer() {
    let mut bench = Bench::new(512, 3);
    bench.load("a");
    bench.now += KEEP - Duration::from_secs(1);
    assert_eq!(bench.loaded(), ["a"]);
    bench.now += Duration::from_secs(1);
    assert!(bench.loaded().is_empty());
    let last = bench.arrive_with(Want { keep_alive: Duration::ZERO, ..want("b") }).expect("room");
    bench.end_load();
    assert_eq!(bench.loaded(), ["b"], "in use");
    bench.leave(last, End::Finished);
    assert!(bench.loaded().is_empty());
}

#[test]
fn unloading_waits_for_those_who_use_the_model() {
    let mut bench = Bench::new(512, 3);
    let id = bench.arrive("a").expect("room");
    bench.end_load();
    bench.scheduler.unload(bench.now, &want("a").model);
    assert_eq!(bench.loaded(), ["a"]);
    bench.leave(id, End::Finished);
    assert!(bench.loaded().is_empty());
}

#[test]
fn a_call_that_only_loads_takes_no_slot() {
    let mut bench = Bench::new(512, 3);
    let load = bench.arrive_with(Want { generates: false, ..want("a") }).expect("room");
    bench.end_load();
    assert_eq!(bench.granted, [load]);
    assert_eq!((bench.seen().running, bench.seen().finished, bench.seen().loaded), (0, 1, 1));
    bench.leave(load, End::Cancelled);
    assert_eq!((bench.seen().finished, bench.seen().cancelled), (1, 0));
}

proptest! {
    /// Whatever comes in whatever order, slots are kept, the sums add up, and in the end
    /// everybody was served.
    #[test]
    fn no_order_of_events_breaks_the_sums(steps in prop::collection::vec((0..6u8, 0..64usize), 0..300)) {
        let mut bench = Bench::new(3, 2);
        let mut alive: Vec<CallId> = Vec::new();
        for (step, pick) in steps {
            match step {
                0..=2 => {
                    let name = ["a", "b", "c", "d"][pick % 4];
                    let num_ctx = if pick > 50 { 8192 } else { 4096 };
                    alive.extend(bench.arrive_with(Want { num_ctx, ..want(name) }).ok());
                }
                3 if !alive.is_empty() => {
                    let id = alive.swap_remove(pick % alive.len());
                    let ran = bench.granted.contains(&id);
                    bench.leave(id, if ran { End::Finished } else { End::Cancelled });
                }
                4 if bench.seen().loading => bench.end_load(),
                _ => bench.now += Duration::from_secs(pick as u64),
            }
            let seen = bench.seen();
            let settled = seen.refused + seen.finished + seen.cancelled;
            prop_assert_eq!(seen.requests, settled + (seen.waiting + seen.running) as u64);
            prop_assert_eq!(alive.len(), seen.waiting + seen.running);
            prop_assert!(seen.running <= 4 && seen.loaded <= 2);
            prop_assert!(seen.loaded + usize::from(seen.loading) <= 2);
        }
        while !alive.is_empty() {
            let running: Vec<CallId> =
                alive.iter().copied().filter(|id| bench.granted.contains(id)).collect();
            for id in running {
                bench.leave(id, End::Finished);
                alive.retain(|other| *other != id);
            }
            if bench.seen().loading {
                bench.end_load();
            }
        }
        prop_assert_eq!((bench.seen().waiting, bench.seen().running), (0, 0));
    }
}
