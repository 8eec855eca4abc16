//! Breakers, probes and cooldowns, as arrivals and waiting jobs see them.

use super::*;

/// A gate whose model `m` has just failed five times.
fn with_broken_model() -> Bench {
    let mut bench = Bench::new(4, 8);
    (0..5).for_each(|_| bench.run_one(broken()));
    bench
}

#[test]
fn an_unreachable_provider_refuses_new_jobs_and_lets_running_ones_finish() {
    let mut bench = Bench::new(5, 8);
    let jobs = bench.come_many(5, "a");
    let waiting = [bench.come(bench.of_model("m")), bench.come(bench.of_model("n"))];
    for job in &jobs[..4] {
        bench.end(*job, UNREACHABLE);
    }
    assert_eq!(bench.running.len(), 3, "the freed slots were used");
    bench.end(jobs[4], UNREACHABLE);
    let more = bench.come_many(2, "a");
    assert_eq!(more.map_reasons(&bench), [Some(BreakerOpen); 2]);
    assert_eq!(bench.retry_after(more[0]), 6);
    assert!(waiting.iter().all(|job| bench.runs(*job)), "what runs may end");
    assert_eq!(bench.snapshot().breaker.state, BreakerState::Open);
}

#[test]
fn waiting_jobs_are_refused_when_the_breaker_opens() {
    let mut bench = Bench::new(5, 8);
    let jobs = bench.come_many(5, "a");
    for job in &jobs[..4] {
        bench.end(*job, UNREACHABLE);
        bench.come(bench.arrival("a"));
    }
    let waiting = [bench.come(bench.of_model("m")), bench.come(bench.of_model("n"))];
    bench.end(jobs[4], UNREACHABLE);
    assert_eq!(waiting.to_vec().map_reasons(&bench), [Some(BreakerOpen); 2]);
}

#[test]
fn a_failing_model_does_not_open_the_breakers_of_others() {
    let mut bench = Bench::new(5, 8);
    let jobs: Vec<u32> = (0..5).map(|_| bench.come(bench.of_model("m"))).collect();
    for job in &jobs[..4] {
        bench.end(*job, broken());
        bench.come(bench.of_model("n"));
    }
    let (same, other) = (bench.come(bench.of_model("m")), bench.come(bench.of_model("n")));
    bench.end(jobs[4], broken());
    assert_eq!((bench.reason(same), bench.runs(other)), (Some(BreakerOpen), true));
    let (same, other) = (bench.come(bench.of_model("m")), bench.come(bench.of_model("n")));
    assert_eq!((bench.reason(same), bench.reason(other)), (Some(BreakerOpen), None));
    assert_eq!(bench.snapshot().breaker.state, BreakerState::Closed);
}

#[test]
fn one_probe_at_a_time_and_two_successes_bring_the_slots_back_over_ten_seconds() {
    let mut bench = with_broken_model();
    bench.pass(5.0);
    for _ in 0..2 {
        let jobs = bench.come_many(3, "a");
        assert!(bench.runs(jobs[0]));
        assert_eq!(jobs[1..].to_vec().map_reasons(&bench), [Some(BreakerOpen); 2]);
        bench.end(jobs[0], OK);
    }
    bench.come_many(4, "a");
    assert_eq!((bench.running.len(), bench.snapshot().queued), (1, 3));
    for running in [2, 3, 4] {
        let next = bench.gate.next_wake(bench.now).unwrap();
        bench.now = next;
        bench.wake();
        assert_eq!(bench.running.len(), running);
    }
    assert_eq!(bench.gate.next_wake(bench.now), None);
}

#[test]
fn a_failing_probe_opens_it_for_twice_as_long() {
    let mut bench = with_broken_model();
    bench.pass(5.0);
    bench.run_one(broken());
    let refused = bench.come(bench.arrival("a"));
    assert_eq!((bench.reason(refused), bench.retry_after(refused)), (Some(BreakerOpen), 11));
}

#[test]
fn the_first_event_of_a_probes_answer_counts_as_success() {
    let mut bench = with_broken_model();
    bench.pass(5.0);
    let jobs: Vec<u32> = (0..2)
        .map(|_| {
            let job = bench.come(bench.arrival("a"));
            let mut permit = bench.running.remove(&job).unwrap();
            bench.step(|gate, at, wakes| gate.answering(&mut permit, at, wakes));
            bench.running.insert(job, permit);
            job
        })
        .collect();
    bench.pass(10.0);
    let next = bench.come(bench.arrival("a"));
    assert!(bench.runs(next), "closed while both answers still come");
    for job in jobs {
        bench.end(job, broken());
    }
    let next = bench.come(bench.arrival("a"));
    assert!(bench.runs(next), "two failures are not five");
}

#[test]
fn a_probe_that_never_ran_lets_the_next_arrival_probe() {
    let mut bench = Bench::new(1, 8);
    (0..5).for_each(|_| bench.run_one(broken()));
    bench.pass(5.0);
    let other = bench.come(bench.of_model("n"));
    let probe = bench.come(bench.of_model("m"));
    let refused = bench.come(bench.of_model("m"));
    assert_eq!((bench.reason(probe), bench.reason(refused)), (None, Some(BreakerOpen)));
    bench.gate.cancel(bench.keys[&probe]);
    let probe = bench.come(bench.of_model("m"));
    assert_eq!(bench.reason(probe), None);
    bench.end(other, OK);
    bench.end(probe, Ended::Unused);
    let probe = bench.come(bench.of_model("m"));
    assert!(bench.runs(probe));
}

#[test]
fn refused_credentials_close_the_provider_and_are_tried_each_minute() {
    let mut bench = Bench::new(1, 8);
    let jobs = bench.come_many(2, "a");
    bench.end(jobs[0], Ended::AuthFailed);
    assert_eq!(bench.reason(jobs[1]), Some(AuthFailed));
    let refused = bench.come(bench.of_model("n"));
    assert_eq!((bench.reason(refused), bench.retry_after(refused)), (Some(AuthFailed), 60));
    bench.pass(60.0);
    let probe = bench.come(bench.arrival("a"));
    assert!(bench.runs(probe));
}

#[test]
fn rate_limits_never_trip_the_breaker() {
    let mut bench = Bench::new(1, 8);
    for _ in 0..50 {
        let job = bench.come(bench.arrival("a"));
        bench.end(job, Ended::RateLimited { retry_after: None });
        bench.pass(60.0);
    }
    let snapshot = bench.snapshot();
    assert_eq!(snapshot.models[0].breaker.state, BreakerState::Closed);
    assert_eq!(snapshot.breaker.state, BreakerState::Closed);
}

#[test]
fn during_a_cooldown_no_job_of_that_model_starts_and_then_one_at_a_time() {
    let mut bench = Bench::new(4, 8);
    let jobs = bench.come_many(8, "a");
    let limited = Ended::RateLimited { retry_after: Some(seconds(5.0)) };
    jobs[..4].iter().for_each(|job| bench.end(*job, limited));
    assert!(bench.running.is_empty() && bench.refused.is_empty());
    let other = bench.come(bench.of_model("n"));
    assert!(bench.runs(other));
    bench.end(other, OK);
    let end = bench.gate.next_wake(bench.now).unwrap();
    assert_eq!(end, bench.now + seconds(5.0));
    for running in [1, 2, 3, 4] {
        bench.now = bench.gate.next_wake(bench.now).unwrap();
        bench.wake();
        assert_eq!(bench.running.len(), running);
    }
    assert_eq!(bench.now, end + seconds(5.0), "slots come back over as long as the pause was");
    assert!(bench.runs(jobs[4]) && bench.runs(jobs[7]));
}

#[test]
fn a_newcomer_does_not_overtake_jobs_that_waited_out_a_cooldown() {
    let mut bench = Bench::new(1, 8);
    let jobs = bench.come_many(2, "a");
    bench.end(jobs[0], Ended::RateLimited { retry_after: Some(seconds(5.0)) });
    bench.pass(5.0);
    let newcomer = bench.come(bench.arrival("b"));
    assert!(bench.runs(jobs[1]) && !bench.runs(newcomer));
}

#[test]
fn jobs_that_cannot_outlast_a_cooldown_are_refused_at_once() {
    let mut bench = Bench::new(1, 8);
    let running = bench.come(bench.arrival("a"));
    let short = Arrival { deadline: bench.now + seconds(4.0), ..bench.arrival("a") };
    let short = bench.come(short);
    let movable = bench.come(Arrival { elsewhere: true, ..bench.arrival("a") });
    let patient = bench.come(bench.arrival("a"));
    bench.end(running, Ended::RateLimited { retry_after: Some(seconds(5.0)) });
    let reasons = vec![short, movable, patient].map_reasons(&bench);
    assert_eq!(reasons, [Some(CoolingDown), Some(CoolingDown), None]);
    assert_eq!(bench.retry_after(short), 6);
    let short = Arrival { deadline: bench.now + seconds(4.0), ..bench.arrival("a") };
    let short = bench.come(short);
    let movable = bench.come(Arrival { elsewhere: true, ..bench.arrival("a") });
    assert_eq!(vec![short, movable].map_reasons(&bench), [Some(CoolingDown); 2]);
    bench.pass(2.0);
    let movable = bench.come(Arrival { elsewhere: true, ..bench.arrival("a") });
    assert_eq!(bench.reason(movable), None, "three seconds are short");
}

#[test]
fn a_cooldown_longer_than_the_longest_wait_refuses_new_jobs() {
    let mut bench = Bench::new(1, 8);
    let waiting = bench.come_many(2, "a");
    bench.end(waiting[0], Ended::RateLimited { retry_after: Some(seconds(300.0)) });
    let late = bench.come(bench.arrival("a"));
    assert_eq!(vec![waiting[1], late].map_reasons(&bench), [Some(CoolingDown); 2]);
    assert_eq!(bench.retry_after(late), 60);
    bench.pass(271.0);
    let late = bench.come(bench.arrival("a"));
    assert_eq!(bench.reason(late), None);
    assert_eq!(bench.gate.next_wake(bench.now), Some(bench.now + seconds(29.0)));
}

trait Reasons {
    fn map_reasons(&self, bench: &Bench) -> Vec<Option<RefusalReason>>;
}

impl Reasons for Vec<u32> {
    fn map_reasons(&self, bench: &Bench) -> Vec<Option<RefusalReason>> {
        self.iter().map(|job| bench.reason(*job)).collect()
    }
}
