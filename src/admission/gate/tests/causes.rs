//! Whose fault a failure is: what opens a model's breaker, what concerns only its own request, and
//! what opens nothing.

use super::*;

/// A request that gets the same error for the second time.
fn heard_again(request: u64, said: u64) -> Ended {
    let fault = Fault { request, said: Some(said), repeated: true };
    Ended::Failed { fault, congested: false, crashed: false }
}

fn crash(request: u64) -> Ended {
    let fault = Fault { request, said: None, repeated: false };
    Ended::Failed { fault, congested: false, crashed: true }
}

impl Bench {
    fn run_of(&mut self, caller: &str, ended: Ended) -> Transition {
        let job = self.come(self.arrival(caller));
        let permit = self.running.remove(&job).unwrap();
        let cause = Some(Arc::from("it failed: words"));
        self.step(|gate, at, wakes| gate.end(permit, ended, cause, at, wakes))
    }

    fn model_state(&self) -> BreakerState {
        self.snapshot().models[0].breaker.state
    }

    fn asking(&self, request: u64) -> Arrival {
        Arrival { request: Some(request), ..self.arrival("a") }
    }
}

#[test]
fn five_different_requests_open_a_breaker_and_one_repeated_request_does_not() {
    let mut bench = Bench::new(4, 8);
    for _ in 0..50 {
        bench.run_of("a", failed_by(1));
    }
    assert_eq!(bench.model_state(), BreakerState::Closed);
    let shifts: Vec<_> = (2..6).map(|request| bench.run_of("a", failed_by(request))).collect();
    assert_eq!(shifts, [Transition::None, Transition::None, Transition::None, Transition::Opened]);
}

#[test]
fn one_caller_s_failures_open_no_breaker_while_another_is_answered() {
    let mut bench = Bench::new(4, 8);
    bench.run_of("b", OK);
    for request in 0..100 {
        assert_eq!(bench.run_of("a", failed_by(request)), Transition::None);
    }
    assert_eq!(bench.model_state(), BreakerState::Closed);
    // The other caller fails too.
    assert_eq!(bench.run_of("b", failed_by(1000)), Transition::Opened);
}

#[test]
fn one_caller_s_failures_open_no_breaker_even_as_most_of_a_minute() {
    let mut bench = Bench::new(4, 8);
    for request in 0..200 {
        assert_eq!(bench.run_of("a", failed_by(request)), Transition::None);
        assert_eq!(bench.run_of("a", failed_by(request + 1000)), Transition::None);
        bench.run_of("b", OK);
        bench.pass(0.2);
    }
    assert_eq!(bench.model_state(), BreakerState::Closed);
}

#[test]
fn a_failure_that_is_the_request_s_fault_is_reported_and_not_counted() {
    let mut bench = Bench::new(4, 8);
    bench.run_of("b", OK);
    for request in 0..20 {
        bench.run_of("a", failed_by(request));
        assert_eq!(bench.run_of("a", heard_again(request, 7)), Transition::Blameless);
    }
    assert_eq!(bench.model_state(), BreakerState::Closed);
}

#[test]
fn a_refusal_names_the_failure_behind_it() {
    let mut bench = Bench::new(1, 8);
    let waiting = bench.come_many(2, "a");
    let permit = bench.running.remove(&waiting[0]).unwrap();
    let cause = Some(Arc::from("connection refused"));
    for _ in 0..4 {
        bench.step(|gate, at, _| gate.breaker.fail(false, at.now, 0.5));
    }
    bench.step(|gate, at, wakes| gate.end(permit, Ended::Unreachable, cause, at, wakes));
    let late = bench.come(bench.arrival("b"));
    for job in [waiting[1], late] {
        assert_eq!(bench.reason(job), Some(BreakerOpen));
        assert_eq!(bench.refused[&job].cause.as_deref(), Some("connection refused"));
    }
}

#[test]
fn a_request_that_crashes_the_model_three_times_is_refused_for_a_minute() {
    let mut bench = Bench::new(4, 8);
    for _ in 0..2 {
        bench.run_of("a", crash(1));
    }
    assert!(!bench.gate.has_quarantine());
    bench.run_of("a", crash(1));
    assert!(bench.gate.has_quarantine());
    let again = bench.come(bench.asking(1));
    assert_eq!(bench.reason(again), Some(Quarantined));
    let cause = bench.refused[&again].cause.clone().unwrap();
    assert_eq!(&*cause, "it made `m` fail 3 times: it failed: words");
    let shown = bench.snapshot().quarantined;
    assert_eq!((shown.len(), &*shown[0].caller, shown[0].crashes), (1, "a", 3));
    let other = bench.come(bench.asking(2));
    assert!(bench.running.contains_key(&other), "another request runs");
    let elsewhere = bench.come(Arrival { model: Arc::from("n"), ..bench.asking(1) });
    assert!(bench.running.contains_key(&elsewhere), "at another model it runs");
    bench.pass(60.0);
    let later = bench.come(bench.asking(1));
    assert!(bench.running.contains_key(&later), "its minute is over");
}

#[test]
fn an_outage_puts_no_request_in_quarantine() {
    let mut bench = Bench::new(4, 8);
    bench.run_of("b", crash(99));
    for _ in 0..3 {
        bench.run_of("a", crash(1));
    }
    assert!(!bench.gate.has_quarantine());
}

#[test]
fn credentials_are_blamed_after_three_callers_or_models_were_refused() {
    let mut bench = Bench::new(4, 8);
    for _ in 0..10 {
        assert_eq!(bench.run_of("a", Ended::AuthDoubted), Transition::None);
    }
    bench.run_of("b", OK);
    assert_eq!(bench.run_of("a", Ended::AuthDoubted), Transition::None);
    assert_eq!(bench.run_of("b", Ended::AuthDoubted), Transition::None);
    assert_eq!(bench.run_of("c", Ended::AuthDoubted), Transition::Opened);
    assert_eq!(bench.snapshot().breaker.state, BreakerState::AuthFailed);
}

#[test]
fn one_request_asks_an_unready_model_each_second_and_all_start_once_it_answers() {
    let mut bench = Bench::new(4, 8);
    let jobs = bench.come_many(3, "a");
    for job in &jobs {
        bench.end(*job, Ended::NotBegun);
    }
    let again: Vec<_> =
        (0..3).map(|_| bench.come(Arrival { again: true, ..bench.arrival("a") })).collect();
    assert!(bench.running.is_empty() && bench.refused.is_empty(), "all of them wait");
    for _ in 0..5 {
        bench.pass(0.9);
        bench.wake();
        assert!(bench.running.is_empty(), "asked too soon");
        bench.pass(0.1);
        bench.wake();
        let asking: Vec<_> = bench.running.keys().copied().collect();
        assert_eq!(asking.len(), 1, "one asks for all");
        bench.end(asking[0], Ended::NotBegun);
        bench.come(Arrival { again: true, ..bench.arrival("a") });
    }
    bench.pass(1.0);
    bench.wake();
    let asking = *bench.running.keys().next().unwrap();
    let mut permit = bench.running.remove(&asking).unwrap();
    assert!(permit.is_awaited());
    bench.step(|gate, at, wakes| gate.answering(&mut permit, at, wakes));
    assert_eq!(bench.running.len(), 2, "the others start with its first event");
    assert!(bench.refused.is_empty() && again.len() == 3);
}

#[test]
fn an_unready_model_is_asked_again_when_a_call_ends_there() {
    let mut bench = Bench::new(4, 8);
    let jobs = bench.come_many(2, "a");
    bench.end(jobs[0], Ended::NotBegun);
    bench.come(Arrival { again: true, ..bench.arrival("a") });
    assert_eq!(bench.running.len(), 1);
    bench.end(jobs[1], Ended::Neutral);
    assert_eq!(bench.running.len(), 1, "who waited asks");
}

#[test]
fn a_retry_continues_its_longest_wait_and_its_refusal_names_the_cause() {
    let mut bench = Bench::new(4, 8);
    bench.run_of("a", Ended::NotBegun);
    let waited = seconds(29.5);
    let job = bench.come(Arrival { again: true, waited, ..bench.arrival("a") });
    bench.pass(0.5);
    assert_eq!(bench.expire(job), Some(WaitedTooLong));
    assert_eq!(bench.refused[&job].cause.as_deref(), Some("it failed: words"));
}
