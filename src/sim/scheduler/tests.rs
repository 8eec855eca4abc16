//! The scheduler in simulated time: which calls run, which wait, which models are loaded.

use proptest::prelude::*;

use super::*;

mod memory;

const KEEP: Duration = Duration::from_secs(300);
const LOAD: Duration = Duration::from_secs(2);
const RECOVERY: Duration = Duration::from_secs(1);

struct Bench {
    scheduler: Scheduler,
    now: Instant,
    granted: Vec<CallId>,
}

impl Bench {
    fn new(max_queue: usize, max_loaded: usize) -> Self {
        let bounds = Bounds { recovery: Duration::ZERO, ..bounds(max_queue, max_loaded) };
        Self::of(bounds)
    }

    fn of(bounds: Bounds) -> Self {
        let scheduler = Scheduler::new(bounds);
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

    /// Advances the time until the load in progress ends.
    fn end_load(&mut self) {
        assert!(self.seen().loading, "no load in progress");
        self.pass(LOAD);
    }

    /// Advances the time, with a stop at each moment at which time alone changes something.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.scheduler.next_change().filter(|next| *next <= until) {
            self.now = next.max(self.now);
            self.scheduler.advance(self.now);
        }
        self.now = until;
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
        residents.iter().map(|it| it.name.stem().to_owned()).collect()
    }
}

fn bounds(max_queue: usize, max_loaded: usize) -> Bounds {
    let (memory, prompts) = (None, PromptBounds::default());
    Bounds { max_queue, max_loaded, memory, recovery: RECOVERY, prompts }
}

fn want(model: &str) -> Want {
    let model = ModelKey::parse(model).expect(model);
    let (name, options) = (model.clone(), RunnerOptions::default());
    let (size, slots, keep_alive) = (0, 2, Some(KEEP));
    let (load, prompt, generates) = (LOAD, Prompt::default(), true);
    Want { model, name, options, load, size, slots, keep_alive, generates, prompt }
}

#[test]
fn a_call_for_an_unloaded_model_waits_for_its_load() {
    let mut bench = Bench::new(512, 3);
    let id = bench.arrive("a").expect("room");
    assert_eq!((bench.seen().waiting, bench.seen().loading), (1, true));
    bench.now += LOAD;
    bench.scheduler.advance(bench.now);
    let grants = bench.scheduler.take_grants();
    assert_eq!((grants[0].call, grants[0].load), (id, LOAD));
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
fn one_model_loads_at_a_time_while_loaded_ones_serve_calls() {
    let mut bench = Bench::new(512, 3);
    bench.load("a");
    let (b, c) = (bench.arrive("b").expect("room"), bench.arrive("c").expect("room"));
    let a = bench.arrive("a").expect("room");
    assert!(bench.granted.contains(&a));
    assert_eq!(bench.loaded(), ["a"], "a loading model is not shown");
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
    assert!(bench.arrive("b").is_ok(), "the current call, waiting for memory");
    let queued = bench.arrive("c").expect("queued");
    assert_eq!(bench.arrive("d"), Err(Busy));
    assert!(bench.arrive("a").is_ok(), "loaded models have no bound");
    assert_eq!(bench.seen().refused, 1);
    assert!(!bench.seen().loading);
    // The place of a disconnected client stays occupied until its turn comes.
    bench.leave(queued, End::Cancelled);
    assert_eq!(bench.arrive("d"), Err(Busy));
    bench.leave(running, End::Finished);
}

#[test]
fn the_idle_model_with_the_shortest_keep_alive_is_evicted() {
    let mut bench = Bench::new(512, 2);
    let short = Want { keep_alive: Some(Duration::from_secs(60)), ..want("b") };
    bench.load("a");
    let id = bench.arrive_with(short).expect("room");
    bench.end_load();
    bench.leave(id, End::Finished);
    // It is evicted although it was used last.
    bench.load("c");
    assert_eq!(bench.loaded(), ["c", "a"]);
    // A busy model stays: an idle one is evicted, even one with a longer keep-alive.
    let busy = bench.arrive_with(Want { keep_alive: Some(Duration::from_secs(1)), ..want("c") });
    bench.load("d");
    assert!(bench.loaded().contains(&"c".to_owned()) && busy.is_ok());
}

#[test]
fn a_busy_model_is_evicted_only_when_new_calls_leave_it_idle() {
    let mut bench = Bench::new(512, 2);
    bench.load("a");
    bench.load("b");
    let (on_a, on_b) = (bench.arrive("a").expect("loaded"), bench.arrive("b").expect("loaded"));
    let cold = bench.arrive("c").expect("queued");
    // The other model becomes idle, but the scheduler still waits for exactly the first.
    bench.leave(on_b, End::Finished);
    assert!(!bench.seen().loading);
    let newcomer = bench.arrive("a").expect("still loaded");
    assert!(bench.granted.contains(&newcomer));
    bench.leave(on_a, End::Finished);
    assert!(!bench.seen().loading, "a new call uses it");
    // Its keep-alive replaced the zero that was set, so the model is evicted only after that.
    bench.leave(newcomer, End::Finished);
    bench.pass(KEEP - Duration::from_millis(1));
    assert!(!bench.seen().loading);
    bench.pass(LOAD);
    assert!(bench.seen().loading || bench.granted.contains(&cold));
}

#[test]
fn a_load_is_cancelled_with_its_first_client_and_begins_anew_for_the_next() {
    let mut bench = Bench::new(512, 3);
    let (first, second) = (bench.arrive("a").expect("room"), bench.arrive("a").expect("room"));
    bench.pass(LOAD / 2);
    bench.leave(first, End::Cancelled);
    assert_eq!((bench.seen().aborted_loads, bench.seen().loading), (1, true));
    bench.pass(LOAD / 2);
    assert!(bench.granted.is_empty(), "half of the first load is lost");
    bench.pass(LOAD / 2);
    assert_eq!(bench.granted, [second]);
}

#[test]
fn an_eviction_goes_on_when_its_client_disconnects_and_then_the_load_is_cancelled() {
    let mut bench = Bench::new(512, 1);
    bench.load("a");
    let busy = bench.arrive("a").expect("loaded");
    let cold = bench.arrive("b").expect("queued");
    bench.leave(cold, End::Cancelled);
    bench.leave(busy, End::Finished);
    assert_eq!((bench.loaded().len(), bench.seen().aborted_loads), (0, 1));
    // A client that disconnected while it was in the queue is skipped.
    let (next, left) = (bench.arrive("c").expect("room"), bench.arrive("d").expect("room"));
    bench.leave(left, End::Cancelled);
    bench.end_load();
    assert_eq!((bench.granted.last(), bench.seen().aborted_loads), (Some(&next), 1));
    assert_eq!((bench.seen().waiting, bench.seen().loading), (0, false));
}

#[test]
fn other_options_reload_the_model_once_it_is_idle() {
    let mut bench = Bench::new(512, 3);
    let running = bench.arrive("a").expect("room");
    bench.end_load();
    let asked = |num_ctx| RunnerOptions { num_ctx, ..RunnerOptions::default() };
    let longer = Want { options: asked(8192), ..want("a") };
    let longer = bench.arrive_with(longer).expect("room");
    assert!(!bench.seen().loading);
    bench.leave(running, End::Finished);
    bench.end_load();
    assert!(bench.granted.contains(&longer));
    bench.leave(longer, End::Finished);
    for (options, reloads) in [
        (asked(8192), 1),
        (RunnerOptions::default(), 2),
        (asked(4096), 2),
        (RunnerOptions { shift: false, ..asked(4096) }, 3),
    ] {
        let id = bench.arrive_with(Want { options, ..want("a") }).expect("room");
        bench.pass(LOAD);
        bench.leave(id, End::Finished);
        assert_eq!((bench.seen().reloads, bench.seen().loaded), (reloads, 1));
    }
}

#[test]
fn an_idle_model_stays_for_its_keep_alive_and_no_longer() {
    let mut bench = Bench::new(512, 3);
    bench.load("a");
    bench.now += KEEP - Duration::from_secs(1);
    assert_eq!(bench.loaded(), ["a"]);
    bench.now += Duration::from_secs(1);
    assert!(bench.loaded().is_empty());
    let last =
        bench.arrive_with(Want { keep_alive: Some(Duration::ZERO), ..want("b") }).expect("room");
    bench.end_load();
    assert_eq!(bench.loaded(), ["b"], "in use");
    bench.leave(last, End::Finished);
    assert!(bench.loaded().is_empty());
}

#[test]
fn unloading_waits_for_the_calls_that_use_the_model() {
    let mut bench = Bench::new(512, 3);
    let id = bench.arrive("a").expect("room");
    bench.end_load();
    bench.scheduler.unload(bench.now, &want("a").model);
    assert_eq!(bench.loaded(), ["a"]);
    bench.leave(id, End::Finished);
    assert!(bench.loaded().is_empty());
}

#[test]
fn a_model_with_an_endless_keep_alive_blocks_every_load_behind_it() {
    let mut bench = Bench::new(512, 1);
    bench.load("a");
    let first = bench.arrive("a").expect("loaded");
    let cold = bench.arrive("b").expect("queued");
    let forever =
        bench.arrive_with(Want { keep_alive: Some(FOREVER), ..want("a") }).expect("loaded");
    bench.leave(first, End::Finished);
    bench.leave(forever, End::Finished);
    bench.pass(Duration::from_secs(86_400));
    assert!(!bench.granted.contains(&cold) && bench.loaded() == ["a"]);
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

#[test]
fn a_call_without_a_keep_alive_leaves_that_of_the_model() {
    let silent = |model| Want { keep_alive: None, ..want(model) };
    let mut bench = Bench::new(512, 1);
    bench.load("a");
    let busy = bench.arrive("a").expect("loaded");
    let cold = bench.arrive_with(silent("b")).expect("queued");
    let newcomer = bench.arrive_with(silent("a")).expect("loaded");
    bench.leave(busy, End::Finished);
    // The zero that was set to evict it holds.
    bench.leave(newcomer, End::Finished);
    bench.end_load();
    assert!(bench.granted.contains(&cold));
    bench.leave(cold, End::Finished);
    bench.pass(DEFAULT_KEEP_ALIVE);
    assert!(bench.loaded().is_empty(), "the default for a model that nobody said anything of");
}

#[test]
fn whatever_is_unloaded_meanwhile_makes_room_for_the_load() {
    let mut bench = Bench::new(512, 2);
    bench.load("a");
    bench.load("b");
    let (on_a, on_b) = (bench.arrive("a").expect("loaded"), bench.arrive("b").expect("loaded"));
    let cold = bench.arrive("c").expect("queued");
    bench.scheduler.unload(bench.now, &want("b").model);
    bench.leave(on_b, End::Finished);
    bench.end_load();
    assert!(bench.granted.contains(&cold));
    // The victim was told to go all the same.
    bench.leave(on_a, End::Finished);
    assert_eq!((bench.loaded(), bench.seen().unloads), (vec!["c".to_owned()], 2));
}

#[test]
fn names_of_one_model_share_what_is_loaded() {
    let mut bench = Bench::new(512, 1);
    bench.load("a");
    let helper = Want { name: want("helper").model, ..want("a") };
    bench.arrive_with(helper.clone()).expect("loaded");
    assert_eq!((bench.seen().running, bench.loaded()), (1, vec!["a".to_owned()]));
    let mut bench = Bench::new(512, 1);
    bench.arrive_with(helper).expect("room");
    bench.end_load();
    assert_eq!(bench.loaded(), ["helper"], "the name that loaded it");
}

proptest! {
    /// In any order of events, slots stay within their limit, the counters add up, and in the end
    /// every call was served.
    #[test]
    fn no_order_of_events_breaks_the_sums(steps in prop::collection::vec((0..5u8, 0..64usize), 0..300)) {
        let bounds = bounds(3, 2);
        let mut bench = Bench::of(bounds);
        let mut alive: Vec<CallId> = Vec::new();
        for (step, pick) in steps {
            match step {
                0..=2 => {
                    let name = ["a", "b", "c", "d"][pick % 4];
                    let num_ctx = if pick > 50 { 8192 } else { 4096 };
                    let options = RunnerOptions { num_ctx, ..RunnerOptions::default() };
                    alive.extend(bench.arrive_with(Want { options, ..want(name) }).ok());
                }
                3 if !alive.is_empty() => {
                    let id = alive.swap_remove(pick % alive.len());
                    let ran = bench.granted.contains(&id);
                    bench.leave(id, if ran { End::Finished } else { End::Cancelled });
                }
                _ => bench.pass(Duration::from_millis(pick as u64 * 100)),
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
            // Long enough for any keep-alive that a new call has set.
            bench.pass(KEEP);
        }
        prop_assert_eq!((bench.seen().waiting, bench.seen().running), (0, 0));
    }
}
