//! A lease on a limit that other gateways share.

use super::*;
use crate::admission::gate::shared_limit::Demand;

fn shared_limit(lease: u32, expected: u32) -> Option<SharedLimit> {
    Some(SharedLimit { lease, of: 8, replicas: 3, degraded: false, expected })
}

fn take(bench: &mut Bench, lease: u32, expected: u32) {
    bench.step(|gate, at, wakes| gate.change_lease(shared_limit(lease, expected), at, wakes));
}

#[test]
fn no_more_than_the_lease_starts_and_a_larger_lease_starts_the_next() {
    let mut bench = Bench::new(8, 8);
    take(&mut bench, 2, 2);
    let jobs = bench.come_many(5, "a");
    assert_eq!(jobs.iter().filter(|job| bench.runs(**job)).count(), 2);
    let seen = bench.snapshot();
    assert_eq!((seen.limit, seen.free, seen.queued), (2, 0, 3));
    take(&mut bench, 4, 4);
    assert_eq!(bench.running.len(), 4);
    // A smaller lease ends no attempt, and none starts before enough have ended.
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
fn with_a_lease_of_zero_all_jobs_wait_and_no_wake_is_scheduled() {
    let mut bench = Bench::new(8, 8);
    // After the breaker was open slots come back one by one, the first at once, but a lease of 0
    // has none.
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
fn waits_are_predicted_with_the_lease_that_is_expected() {
    let mut bench = Bench::new(8, 100);
    bench.measure(10.0);
    take(&mut bench, 0, 4);
    // Four slots serve eleven in 30 s, which is the longest wait.
    let jobs = bench.come_many(13, "a");
    assert!(jobs[..11].iter().all(|job| bench.reason(*job).is_none()));
    assert_eq!(bench.reason(jobs[12]), Some(PredictedWait));
}

#[test]
fn the_demand_is_the_peak_since_it_was_last_read() {
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
