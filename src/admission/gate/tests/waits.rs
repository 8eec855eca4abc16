//! What waiting and refused jobs are told of their wait.

use super::models::with_a_loaded;
use super::*;

#[test]
fn the_expected_wait_counts_the_line_the_breaker_and_the_cooldown() {
    let mut bench = Bench::new(1, 64);
    bench.measure(2.0);
    let wait = |bench: &Bench| bench.gate.expected_wait("m", bench.now).as_secs();
    assert_eq!(wait(&bench), 0);
    let jobs = bench.come_many(3, "a");
    assert_eq!(wait(&bench), 6);
    let key = bench.keys[&jobs[2]];
    let place = bench.gate.place(key, bench.now).unwrap();
    assert_eq!((place.ahead, place.expected, place.load), (1, seconds(4.0), None));
    bench.end(jobs[0], Ended::RateLimited { retry_after: Some(seconds(10.0)) });
    assert_eq!(wait(&bench), 16);
    assert_eq!(bench.gate.expected_wait("other", bench.now).as_secs(), 6);
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
    assert_eq!((&*load.model, load.is_loading, waiting.ahead), ("b", false, 0));
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
