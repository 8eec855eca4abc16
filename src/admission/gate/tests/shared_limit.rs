//! A part of the limit, the rest of which other gateways have.

use super::*;
use crate::admission::gate::shared_limit::Demand;

fn shared_limit(lease: u32, expected: u32) -> Option<SharedLimit> {
    Some(SharedLimit { lease, of: 8, replicas: 3, degraded: false, expected })
}

fn take(bench: &mut Bench, lease: u32, expected: u32) {
    bench.step(|gate, at, wakes| gate.change_lease(shared_limit(lease, expected), at, wakes));
}

#[test]
fn no_more_than_the_part_starts_and_a_larger_part_starts_the_next() {
    let mut bench = Bench::new(8, 8);
    take(&mut bench, 2, 2);
    let jobs = bench.come_many(5, "a");
    assert_eq!(jobs.iter().filter(|job| bench.runs(**job)).count(), 2);
    let seen = bench.snapshot();
    assert_eq!((seen.limit, seen.free, seen.queued), (2, 0, 3));
    take(&mut bench, 4, 4);
    assert_eq!(bench.running.len(), 4);
    // A smaller one ends nobody, and nobody starts before enough have ended.
    take(&mut bench, 1, 1);
    for job in &jobs[..3] {
        bench.end(*job, OK);
        assert!(!bench.runs(jobs[4]));
    }
    bench.end(jobs[3], OK);
    assert!(bench.runs(jobs[4]));
    bench.step(|gate, at, wakes| gate.change_lease(None, at, wakes));
    assert_eq!(bench.snapshot().limit, 8);
}

#[test]
fn without_any_part_all_wait_and_nobody_looks_again_for_nothing() {
    let mut bench = Bench::new(8, 8);
    // After the breaker was open slots come back one by one, the first at once: but not of none.
    (0..5).for_each(|_| bench.run_one(broken()));
    bench.pass(5.0);
    (0..2).for_each(|_| bench.run_one(OK));
    take(&mut bench, 0, 2);
    let jobs = bench.come_many(3, "a");
    assert_eq!(bench.running.len(), 0);
    assert!(jobs.iter().all(|job| bench.reason(*job).is_none()));
    assert_eq!(bench.gate.next_wake(bench.now), None);
    bench.pass(5.0);
    bench.wake();
    assert_eq!(bench.running.len(), 0);
    take(&mut bench, 8, 8);
    assert_eq!(bench.running.len(), 3);
}

#[test]
fn waits_are_predicted_with_the_part_that_it_would_get() {
    let mut bench = Bench::new(8, 100);
    bench.measure(10.0);
    take(&mut bench, 0, 4);
    // Eleven are served by four in 30 s, which is as long as anybody may wait.
    let jobs = bench.come_many(13, "a");
    assert!(jobs[..11].iter().all(|job| bench.reason(*job).is_none()));
    assert_eq!(bench.reason(jobs[12]), Some(PredictedWait));
}

#[test]
fn what_is_wanted_is_the_most_since_it_was_last_asked() {
    let mut bench = Bench::new(8, 8);
    take(&mut bench, 3, 3);
    let jobs = bench.come_many(5, "a");
    assert!(bench.gate.is_short());
    jobs[..3].iter().for_each(|job| bench.end(*job, OK));
    assert!(!bench.gate.is_short());
    assert_eq!(bench.gate.take_demand(), Demand { of: 8, held: 3, wanted: 5 });
    take(&mut bench, 1, 3);
    assert_eq!(bench.gate.take_demand(), Demand { of: 8, held: 2, wanted: 2 });
    bench.come_many(12, "a");
    assert_eq!(bench.gate.take_demand(), Demand { of: 8, held: 2, wanted: 8 });
}
