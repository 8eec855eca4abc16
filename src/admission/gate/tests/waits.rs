//! What waiting and refused jobs are told of their wait.

use super::models::with_a_loaded;
use super::*;
use crate::admission::warm::{LoadEnd, Why};
use crate::chat::LoadStage;

#[test]
fn the_expected_wait_counts_the_line_the_breaker_and_the_cooldown() {
    let mut bench = Bench::new(1, 64);
    bench.measure(2.0);
    let wait = |bench: &Bench| bench.gate.expected_wait("m", None, bench.now).as_secs();
    assert_eq!(wait(&bench), 0);
    let jobs = bench.come_many(3, "a");
    assert_eq!(wait(&bench), 6);
    let key = bench.keys[&jobs[2]];
    let place = bench.gate.place(key, bench.now).unwrap();
    assert_eq!((place.ahead, place.expected, place.load), (1, seconds(4.0), None));
    bench.end(jobs[0], Ended::RateLimited { retry_after: Some(seconds(10.0)) });
    assert_eq!(wait(&bench), 16);
    assert_eq!(bench.gate.expected_wait("other", None, bench.now).as_secs(), 6);
}

#[test]
fn a_burst_at_providers_of_which_nothing_is_known_is_spread_over_them() {
    let mut benches = [(); 3].map(|()| Bench::new(1, 64));
    for number in 0..12 {
        let wait = |bench: &&mut Bench| bench.gate.expected_wait("m", None, bench.now);
        let least = benches.iter_mut().min_by_key(wait).unwrap();
        let arrival = least.arrival(&number.to_string());
        least.come(arrival);
    }
    let waiting = |bench: &Bench| bench.keys.len();
    assert_eq!(benches.each_ref().map(waiting), [3; 3]);
}

/// `b` was loaded once, in 40 s, and then `a` again: both do not fit.
fn with_a_loaded_and_b_known() -> Bench {
    let mut bench = with_a_loaded();
    for model in ["b", "a"] {
        let job = bench.come(bench.loading(model));
        // The model that is loaded has to be idle for a while.
        bench.pass(100.0);
        bench.wake();
        let order = bench.gate.take_order().unwrap();
        bench.came(&order, 40.0, &[model]);
        bench.end(job, OK);
    }
    bench
}

fn told(bench: &Bench, job: u32) -> String {
    bench.gate.place(bench.keys[&job], bench.now).unwrap().to_string()
}

#[test]
fn a_job_is_told_of_the_load_that_it_waits_for_and_of_those_who_wait_for_the_same() {
    let mut bench = with_a_loaded_and_b_known();
    let served = bench.come(bench.loading("a"));
    let others: Vec<u32> = (0..4).map(|_| bench.come(bench.loading("a"))).collect();
    assert!(bench.runs(others[2]) && !bench.runs(others[3]), "four slots");
    let jobs: Vec<u32> = (0..3).map(|_| bench.come(bench.loading("b"))).collect();
    let first = told(&bench, jobs[0]);
    assert!(first.starts_with("waiting until `b` is loaded, about "), "{first}");
    assert!(first.ends_with(" s, 0 ahead"), "{first}");
    let last = told(&bench, jobs[2]);
    assert!(last.ends_with(" s, 2 ahead"), "{last}");
    assert_eq!(told(&bench, others[3]).split(',').next(), Some("waiting"), "its model is loaded");
    for job in [served].iter().chain(&others) {
        bench.end(*job, OK);
    }
    let awaits = |bench: &Bench, job| bench.gate.awaits_load(bench.keys[&job]);
    assert!(awaits(&bench, jobs[0]) && !awaits(&bench, others[3]));
    bench.pass(100.0);
    bench.wake();
    assert!(bench.gate.take_order().is_some());
    assert_eq!(told(&bench, jobs[0]), "loading `b`, about 40 s, 0 ahead");
    bench.pass(15.5);
    assert!(told(&bench, jobs[2]).starts_with("loading `b`, about 25 s, 2 ahead"));
    // Later than ever before: nobody knows.
    bench.pass(60.0);
    assert!(told(&bench, jobs[0]).starts_with("loading `b`, 0 ahead"));
}

#[test]
fn a_refusal_names_the_load_that_its_job_would_wait_for() {
    let mut bench = with_a_loaded_and_b_known();
    let hasty = Arrival { deadline: bench.now + seconds(10.0), ..bench.loading("b") };
    let hasty = bench.come(hasty);
    assert_eq!(bench.reason(hasty), Some(PredictedWait));
    let refusal = &bench.refused[&hasty];
    let waiting = refusal.waiting.clone().unwrap();
    let load = waiting.load.unwrap();
    assert_eq!((&*load.model, load.stage, waiting.ahead), ("b", LoadStage::Wanted, 0));
    assert!(load.left >= seconds(40.0) && refusal.expected >= load.left, "{refusal:?}");
    // One whose model is loaded is refused as ever.
    let late = bench.come(Arrival { deadline: bench.now, ..bench.loading("a") });
    assert_eq!(bench.reason(late), Some(DeadlinePassed));
    assert_eq!(bench.refused[&late].waiting, None);
    // And so is one that is refused for another reason than its wait.
    bench.gate.drain();
    let drained = bench.come(bench.loading("b"));
    assert_eq!((bench.reason(drained), &bench.refused[&drained].waiting), (Some(Draining), &None));
}

#[test]
fn a_job_that_waited_too_long_for_a_load_is_told_so() {
    let mut bench = with_a_loaded_and_b_known();
    let job = bench.come(bench.loading("b"));
    bench.pass(1_000.0);
    assert_eq!(bench.expire(job), Some(DeadlinePassed));
    let waiting = bench.refused[&job].waiting.clone().unwrap();
    assert_eq!((waiting.ahead, waiting.load.map(|load| load.model)), (0, Some(Arc::from("b"))));
}

#[test]
fn the_next_load_is_told_with_its_reason_and_its_time() {
    let mut bench = with_a_loaded_and_b_known();
    assert_eq!(bench.snapshot().next_load, None);
    let next = |bench: &Bench| bench.snapshot().next_load.unwrap();
    // Both loads take 40 s, so that a price is 80 s.
    let job = bench.come(bench.loading("a"));
    let wanted = bench.come(bench.loading("b"));
    let foreseen = next(&bench);
    assert_eq!((&*foreseen.model, foreseen.phase, foreseen.why), ("b", "due", Why::Turn));
    assert_eq!(foreseen.leaving, [Arc::from("a")]);
    assert_eq!((foreseen.wanted_ms, foreseen.begins_ms), (Some(0), 160_000));
    assert!(foreseen.left_ms >= 200_000, "{foreseen:?}");
    bench.end(job, OK);
    // Idle models go sooner.
    let idle = next(&bench);
    assert_eq!((idle.why, idle.begins_ms), (Why::Idle, 4_000));
    let job = bench.come(bench.loading("a"));
    bench.pass(20.0);
    bench.wake();
    assert_eq!((next(&bench).wanted_ms, next(&bench).begins_ms), (Some(20_000), 140_000));
    bench.pass(140.0);
    bench.wake();
    let drain = next(&bench);
    assert_eq!((drain.phase, drain.why, drain.begins_ms), ("drain", Why::Turn, 0));
    let load = |bench: &Bench, model: &str| {
        let models = bench.snapshot().models;
        models.into_iter().find(|view| &*view.model == model).unwrap().load.unwrap()
    };
    assert_eq!((load(&bench, "a").state, load(&bench, "a").since_ms), ("leaving", Some(0)));
    assert_eq!((load(&bench, "b").state, load(&bench, "b").since_ms), ("waiting", Some(160_000)));
    bench.pass(3.0);
    bench.end(job, OK);
    let order = bench.gate.take_order().unwrap();
    bench.pass(15.0);
    assert_eq!((next(&bench).phase, next(&bench).left_ms), ("load", 25_000));
    assert_eq!((load(&bench, "b").state, load(&bench, "b").since_ms), ("loading", Some(15_000)));
    assert_eq!(load(&bench, "a").since_ms, Some(18_000));
    bench.came(&order, 25.0, &["b"]);
    assert!(bench.runs(wanted));
    assert_eq!(bench.snapshot().next_load, None);
    bench.pass(2.0);
    assert_eq!((load(&bench, "a").state, load(&bench, "a").since_ms), ("cold", Some(2_000)));
    assert_eq!((load(&bench, "b").state, load(&bench, "b").since_ms), ("loaded", Some(2_000)));
}

#[test]
fn each_reason_of_the_rule_is_the_one_that_decides() {
    let why = |bench: &Bench| bench.snapshot().next_load.unwrap().why;
    // Another client has had `b` loaded, and no job has used it.
    let mut bench = with_a_loaded_and_b_known();
    bench.believe(&["b"]);
    for _ in 0..6 {
        bench.come(bench.loading("a"));
    }
    assert_eq!(why(&bench), Why::Unused);
    bench.pass(20.0);
    bench.wake();
    let order = bench.gate.take_order().unwrap();
    bench.came(&order, 40.0, &["a"]);
    bench.come(bench.loading("b"));
    assert_eq!((bench.running.len(), why(&bench)), (4, Why::Promised));

    // Those who have had less are served first.
    let mut bench = with_a_loaded_and_b_known();
    let of = |bench: &Bench, caller: &str, model: &str| {
        let share = bench.arrival(caller).share;
        Arrival { share, ..bench.loading(model) }
    };
    let greedy: Vec<u32> = (0..8).map(|_| bench.come(of(&bench, "greedy", "a"))).collect();
    bench.come(of(&bench, "greedy", "b"));
    for job in greedy.into_iter().take(4) {
        bench.end(job, OK);
    }
    bench.come(of(&bench, "modest", "a"));
    assert_eq!(why(&bench), Why::HadMore);

    // A load that failed is not tried again at once.
    let mut bench = with_a_loaded_and_b_known();
    let failed = bench.come(bench.loading("b"));
    bench.pass(100.0);
    bench.wake();
    let order = bench.gate.take_order().unwrap();
    let end = (LoadEnd::Failed, seconds(1.0));
    bench.step(|gate, at, wakes| gate.loaded(&order, end, None, at, wakes));
    bench.end(failed, broken());
    bench.come(bench.loading("b"));
    assert_eq!(why(&bench), Why::Paused);

    // Batch work makes room for people, and waits until they are gone.
    let mut bench = with_a_loaded_and_b_known();
    let batch = Arrival { needs: bench.loading("a").needs, ..bench.batch("night") };
    let batch = Arrival { model: Arc::from("a"), ..batch };
    for _ in 0..6 {
        bench.come(batch.clone());
    }
    bench.come(bench.loading("b"));
    assert_eq!(why(&bench), Why::Batch);
    let mut bench = with_a_loaded_and_b_known();
    let people = bench.come(bench.loading("a"));
    let needs = bench.loading("b").needs;
    bench.come(Arrival { needs, model: Arc::from("b"), ..bench.batch("night") });
    bench.end(people, OK);
    assert_eq!(why(&bench), Why::Quiet);
}
