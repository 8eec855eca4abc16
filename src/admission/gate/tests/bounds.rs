//! Bounds of scheduled loads over random work, at a server that does what it is told: how long a
//! model can be kept out, and what may start meanwhile.
//!
//! A failure prints the work that it needs, which is drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::models::{loaded, needs};
use super::*;
use crate::admission::warm::{LoadEnd, LoadOrder, LoadState, WarmPolicy};

const MODELS: [&str; 4] = ["a", "b", "c", "d"];
/// The most slots in use.
const SLOTS: u32 = 3;
/// For how long work arrives.
const LENGTH: f64 = 3_000.0;

/// Callers of one model, each of whom asks again `think` after its answer.
#[derive(Clone, Debug)]
struct Stream {
    load: f64,
    hold: f64,
    /// Every so many answers one takes ten times as long.
    long: Option<u32>,
    callers: u32,
    think: f64,
    batch: bool,
    from: f64,
}

fn stream() -> impl Strategy<Value = Stream> {
    let times = (0.5..45.0f64, 0.2..8.0f64, 0.0..40.0f64, 0.0..200.0f64);
    let long = prop_oneof![3 => Just(None), 1 => (3..9u32).prop_map(Some)];
    (times, long, 1..5u32, prop::bool::weighted(0.2)).prop_map(
        |((load, hold, think, from), long, callers, batch)| Stream {
            load,
            hold,
            long,
            callers,
            think,
            batch,
            from,
        },
    )
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Comes { model: usize, caller: u32 },
    Ends { job: u32 },
    Loaded,
}

/// The server, the callers, and what is checked of the gate.
struct Server {
    bench: Bench,
    room: usize,
    streams: Vec<Stream>,
    events: BTreeMap<(Instant, u32), Event>,
    count: u32,
    loaded: Vec<usize>,
    order: Option<(LoadOrder, Instant)>,
    jobs: BTreeMap<u32, Job>,
    /// Since when a model is waited for without being loaded.
    kept_out: BTreeMap<usize, Instant>,
    /// Which model was kept out for how long at most.
    longest: (f64, usize),
    next: Option<Arc<str>>,
}

#[derive(Clone, Copy)]
struct Job {
    model: usize,
    caller: u32,
    started: Option<Instant>,
}

impl Server {
    fn new(streams: Vec<Stream>, room: usize) -> Self {
        let mut bench = Bench::new(SLOTS, 1000);
        let patient = Limits { max_queue_wait: seconds(1e6), ..limits(SLOTS, 1000) };
        bench.step(|gate, at, wakes| gate.change(patient, at, wakes));
        bench.step(|gate, at, wakes| gate.schedule(Some(WarmPolicy::default()), at, wakes));
        bench.believe(&[]);
        let start = bench.now;
        let mut server = Self {
            bench,
            room,
            streams,
            events: BTreeMap::new(),
            count: 0,
            loaded: Vec::new(),
            order: None,
            jobs: BTreeMap::new(),
            kept_out: BTreeMap::new(),
            longest: (0.0, 0),
            next: None,
        };
        for (model, stream) in server.streams.clone().iter().enumerate() {
            for caller in 0..stream.callers {
                server.at(start + seconds(stream.from), Event::Comes { model, caller });
            }
        }
        server
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.events.insert((at, self.count), event);
    }

    fn run(&mut self) -> Result<(), TestCaseError> {
        let start = self.bench.now;
        loop {
            let wake = self.bench.gate.next_wake(self.bench.now);
            let event = self.events.first_key_value().map(|((at, number), _)| (*at, *number));
            let before = self.leaving();
            match (event, wake) {
                (None, None) => return Ok(()),
                (Some((at, _)), Some(wake)) if wake < at => self.wake(wake),
                (None, Some(wake)) => self.wake(wake),
                (Some(key), _) => {
                    self.bench.now = key.0;
                    let Some(event) = self.events.remove(&key) else { continue };
                    self.happen(event, start);
                }
            }
            self.check(&before)?;
        }
    }

    fn wake(&mut self, at: Instant) {
        self.bench.now = at;
        self.bench.wake();
    }

    fn happen(&mut self, event: Event, start: Instant) {
        match event {
            Event::Comes { model, caller } => {
                if self.bench.now > start + seconds(LENGTH) {
                    return;
                }
                let (name, key) = (MODELS[model], format!("{model}-{caller}"));
                let arrival = match self.streams[model].batch {
                    true => self.bench.batch(&key),
                    false => self.bench.arrival(&key),
                };
                let deadline = self.bench.now + seconds(1e6);
                let (needs, model_name) = (Some(needs(name)), Arc::from(name));
                let job =
                    self.bench.come(Arrival { needs, deadline, model: model_name, ..arrival });
                self.jobs.insert(job, Job { model, caller, started: None });
            }
            Event::Ends { job } => {
                self.bench.end(job, OK);
                if let Some(Job { model, caller, .. }) = self.jobs.remove(&job) {
                    let think = seconds(self.streams[model].think);
                    self.at(self.bench.now + think, Event::Comes { model, caller });
                }
            }
            Event::Loaded => self.load(),
        }
    }

    /// The load is over: the model is there, and another one went if there was no room.
    fn load(&mut self) {
        let Some((order, since)) = self.order.take() else { return };
        let model = MODELS.iter().position(|name| **name == *order.model).unwrap();
        self.loaded.retain(|one| *one != model);
        while self.loaded.len() >= self.room {
            let named = |one: &usize| order.leaving.iter().any(|(name, _)| **name == *MODELS[*one]);
            let idle = |one: &usize| !self.runs(*one);
            let victim = self.loaded.iter().position(|one| named(one) && idle(one));
            let victim = victim.or_else(|| self.loaded.iter().position(idle)).unwrap_or_default();
            self.loaded.remove(victim);
        }
        self.loaded.push(model);
        let took = self.bench.now - since;
        let there: Vec<&str> = self.loaded.iter().map(|model| MODELS[*model]).collect();
        let (end, there) = ((LoadEnd::Loaded, took), loaded(&there));
        self.bench.step(|gate, at, wakes| gate.loaded(&order, end, Some(&there), at, wakes));
    }

    fn runs(&self, model: usize) -> bool {
        self.jobs.values().any(|job| job.model == model && job.started.is_some())
    }

    /// The models that start nothing, and how long the oldest call of each has run.
    fn leaving(&self) -> BTreeMap<usize, Instant> {
        let state = |name| self.bench.gate.load_state(name, self.bench.now);
        let is_leaving = |model: &usize| state(MODELS[*model]) == Some(LoadState::Leaving);
        let oldest = |model: usize| {
            let own = self.jobs.values().filter(|job| job.model == model);
            own.filter_map(|job| job.started).min().map(|oldest| (model, oldest))
        };
        (0..self.streams.len()).filter(is_leaving).filter_map(oldest).collect()
    }

    fn check(&mut self, leaving: &BTreeMap<usize, Instant>) -> Result<(), TestCaseError> {
        prop_assert!(self.bench.refused.is_empty(), "{:?}", self.bench.refused);
        if let Some(order) = self.bench.gate.take_order() {
            prop_assert!(self.order.is_none(), "two orders at one time");
            let model = MODELS.iter().position(|name| **name == *order.model).unwrap();
            self.order = Some((order, self.bench.now));
            self.at(self.bench.now + seconds(self.streams[model].load), Event::Loaded);
        }
        self.check_starts(leaving)?;
        self.check_lanes()?;
        self.check_waits()
    }

    fn check_starts(&mut self, leaving: &BTreeMap<usize, Instant>) -> Result<(), TestCaseError> {
        let now = self.bench.now;
        let is_new = |job: &&u32| self.jobs.get(job).is_some_and(|job| job.started.is_none());
        let mut started: Vec<u32> = self.bench.running.keys().filter(is_new).copied().collect();
        started.sort_unstable();
        for number in started {
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            job.started = Some(now);
            let (model, stream) = (job.model, &self.streams[job.model]);
            prop_assert!(self.loaded.contains(&model), "{} is not loaded", MODELS[model]);
            let state = self.bench.gate.load_state(MODELS[model], now);
            if let (Some(LoadState::Leaving), Some(oldest)) = (state, leaving.get(&model)) {
                let age = (now - *oldest).as_secs_f64();
                prop_assert!(age > 2.0 * stream.hold - 1e-6, "{age} s while it leaves: {stream:?}");
            }
            let is_long = stream.long.is_some_and(|every| number.is_multiple_of(every));
            let hold = if is_long { stream.hold * 10.0 } else { stream.hold };
            self.at(now + seconds(hold), Event::Ends { job: number });
        }
        Ok(())
    }

    /// A lane is exactly one of loaded, about to be, and cold; what runs is what was started; and
    /// no swap begins for a model that nobody needs.
    fn check_lanes(&mut self) -> Result<(), TestCaseError> {
        let snapshot = self.bench.snapshot();
        let mut targets = 0;
        for (model, name) in MODELS.iter().enumerate().take(self.streams.len()) {
            let state = self.bench.gate.load_state(name, self.bench.now);
            let Some(state) = state else { continue };
            let is_there = matches!(state, LoadState::Loaded | LoadState::Leaving);
            prop_assert_eq!(is_there, self.loaded.contains(&model), "{}: {:?}", model, state);
            targets += u32::from(matches!(state, LoadState::Loading { .. }));
            let seen = snapshot.models.iter().find(|view| *view.model == **name);
            let own = self.jobs.values().filter(|job| job.model == model);
            let (running, waiting): (Vec<Job>, Vec<Job>) =
                own.partition(|job| job.started.is_some());
            let count = |jobs: &[Job]| jobs.len() as u64;
            let told = seen.map_or((0, 0), |view| (view.in_flight, view.queued));
            let counted = (count(&running), count(&waiting));
            prop_assert_eq!((u64::from(told.0), told.1 as u64), counted, "{}", name);
        }
        prop_assert!(targets == u32::from(self.order.is_some()), "{targets} loads");
        let next = snapshot.next_load.filter(|next| next.phase != "due").map(|next| next.model);
        if let Some(name) = next.clone().filter(|name| self.next.as_ref() != Some(name)) {
            let waits = self.jobs.values().any(|job| *MODELS[job.model] == *name);
            prop_assert!(waits, "nobody waits for {name}");
        }
        self.next = next;
        Ok(())
    }

    fn check_waits(&mut self) -> Result<(), TestCaseError> {
        let now = self.bench.now;
        let waiting: BTreeSet<usize> = self
            .jobs
            .values()
            .filter(|job| job.started.is_none() && !self.loaded.contains(&job.model))
            .map(|job| job.model)
            .collect();
        self.kept_out.retain(|model, _| waiting.contains(model));
        for model in waiting {
            let since = *self.kept_out.entry(model).or_insert(now);
            let waited = (now - since).as_secs_f64();
            if waited > self.longest.0 {
                self.longest = (waited, model);
            }
        }
        Ok(())
    }

    /// The longest that a model may be kept out: eight prices, the quantum of whichever model came
    /// last, the end of its calls and the load, for each other model.
    fn bound(&self) -> f64 {
        let longest = |value: fn(&Stream) -> f64| {
            let mut values: Vec<f64> = self.streams.iter().map(value).collect();
            values.sort_by(|a, b| b.total_cmp(a));
            values
        };
        let loads = longest(|stream| stream.load);
        let price = loads[0] + loads[1];
        let drain = longest(|stream| stream.hold * stream.long.map_or(1.0, |_| 10.0))[0];
        let quantum = 2.0 * price;
        let others = self.streams.len() as f64 - 1.0;
        // Calls that start while another one runs for long (`may_fill`) run as long once more.
        (8.0 * price + quantum + 2.0 * drain + loads[0]) * others
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_model_is_kept_out_for_longer_than_eight_prices_for_each_other_model(
        streams in prop::collection::vec(stream(), 2..=4),
        room in 1..3usize,
    ) {
        let mut server = Server::new(streams, room);
        server.run()?;
        let ((longest, model), bound) = (server.longest, server.bound());
        prop_assert!(longest <= bound, "{} for {longest} s, {bound} s are allowed", MODELS[model]);
    }

    #[test]
    fn one_model_alone_starts_the_same_jobs_as_without_scheduling(
        steps in prop::collection::vec((0..4u8, 0..5u8, any::<bool>(), 0..5_000u64), 1..200),
    ) {
        let (mut fair, mut warm) = (Bench::new(SLOTS, 12), super::models::with_a_loaded());
        // No wait is predicted to be too long: a lane trusts its own measurements earlier.
        let patient = Limits { max_queue_wait: seconds(1e6), ..limits(SLOTS, 12) };
        for bench in [&mut fair, &mut warm] {
            bench.step(|gate, at, wakes| gate.change(patient, at, wakes));
        }
        for (act, caller, batch, millis) in steps {
            let mut told = Vec::new();
            for (bench, is_scheduled) in [(&mut fair, false), (&mut warm, true)] {
                bench.now += Duration::from_millis(millis);
                if act < 2 {
                    let caller = format!("caller-{caller}");
                    let arrival = if batch { bench.batch(&caller) } else { bench.arrival(&caller) };
                    let needs = is_scheduled.then(|| needs("a"));
                    let deadline = bench.now + seconds(1e6);
                    bench.come(Arrival { needs, deadline, model: Arc::from("a"), ..arrival });
                } else if act == 2 {
                    let mut running: Vec<u32> = bench.running.keys().copied().collect();
                    running.sort_unstable();
                    if let Some(job) = running.get(usize::from(caller) % running.len().max(1)) {
                        bench.end(*job, OK);
                    }
                } else {
                    bench.wake();
                }
                prop_assert!(bench.gate.take_order().is_none());
                let mut running: Vec<u32> = bench.running.keys().copied().collect();
                running.sort_unstable();
                let mut refused: Vec<_> =
                    bench.refused.iter().map(|(job, refusal)| (*job, refusal.reason)).collect();
                refused.sort_unstable_by_key(|(job, _)| *job);
                told.push((running, refused, bench.snapshot().queued));
            }
            prop_assert_eq!(&told[0], &told[1]);
        }
    }
}

fn stream_of(load: f64, think: f64, batch: bool, from: f64) -> Stream {
    Stream { load, hold: 0.2, long: None, callers: 1, think, batch, from }
}

fn kept_out_and_bound(streams: Vec<Stream>) -> (f64, f64) {
    let mut server = Server::new(streams, 1);
    server.run().unwrap();
    (server.longest.0, server.bound())
}

#[test]
fn models_whose_loads_are_short_do_not_replace_each_other_for_ever() {
    for batch in [false, true] {
        let short = [stream_of(0.5, 18.0, false, 0.0), stream_of(0.5, 0.0, false, 0.0)];
        let streams = short.into_iter().chain([stream_of(25.0, 0.0, batch, 0.0)]).collect();
        let (longest, bound) = kept_out_and_bound(streams);
        assert!(longest <= bound, "{longest} s, {bound} s are allowed");
    }
}

#[test]
fn a_small_model_does_not_count_as_one_that_loads_as_long_as_the_largest() {
    let streams = vec![stream_of(0.5, 0.0, false, 200.0), stream_of(26.0, 0.0, true, 0.0)];
    let (longest, bound) = kept_out_and_bound(streams);
    assert!(longest <= bound, "{longest} s, {bound} s are allowed");
}

#[test]
fn an_order_is_answered_once() {
    let mut bench = super::models::with_a_loaded();
    let job = bench.come(bench.loading("b"));
    let order = bench.gate.take_order().unwrap();
    bench.came(&order, 8.0, &["a", "b"]);
    assert!(bench.runs(job) && !bench.gate.is_loading());
    // The same answer again says nothing: neither that `b` failed, nor that `a` went.
    let waits = bench.come(bench.loading("c"));
    let next = bench.gate.take_order().unwrap();
    let failed = (LoadEnd::Failed, seconds(1.0));
    bench.step(|gate, at, wakes| gate.loaded(&order, failed, Some(&[]), at, wakes));
    assert!(bench.gate.is_loading() && !bench.runs(waits));
    let state = |bench: &Bench, model| bench.gate.load_state(model, bench.now);
    assert_eq!(state(&bench, "b"), Some(LoadState::Loaded));
    bench.came(&next, 8.0, &["a", "b", "c"]);
    assert!(bench.runs(waits));
}

#[test]
fn a_slot_that_batch_work_leaves_free_makes_the_line_no_longer() {
    let mut bench = super::models::with_a_loaded();
    bench.step(|gate, at, wakes| gate.change(limits(SLOTS, 4), at, wakes));
    for number in 0..7 {
        let arrival = bench.batch(&format!("caller-{number}"));
        bench.come(Arrival { needs: Some(needs("a")), model: Arc::from("a"), ..arrival });
    }
    assert_eq!((bench.running.len(), bench.snapshot().queued), (2, 4));
}
