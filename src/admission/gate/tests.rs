//! The gate, rule by rule; properties over random histories are in `random` and `loads`.

use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::admission::breaker::BreakerState;
use crate::admission::concurrency::Concurrency;
use crate::admission::evidence::Fault;
use crate::admission::line::Share;
use crate::admission::refusal::Refusal;
use RefusalReason::*;
mod bounds;
mod causes;
mod checks;
mod closing;
mod loads;
mod models;
mod peers;
mod random;
mod shared_limit;
mod waits;

const OK: Ended = Ended::Success;
const UNREACHABLE: Ended = Ended::Unreachable;

/// The model failed a request that was not made before.
fn broken() -> Ended {
    failed_by(fastrand::u64(..))
}

/// The same, because the model has too much to do.
fn congested() -> Ended {
    let fault = Fault { request: fastrand::u64(..), said: None, repeated: false };
    Ended::Failed { fault, congested: true, crashed: false }
}

fn failed_by(request: u64) -> Ended {
    let fault = Fault { request, said: None, repeated: false };
    Ended::Failed { fault, congested: false, crashed: false }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn limits(slots: u32, line: u32) -> Limits {
    Limits {
        max_concurrency: Concurrency::Fixed(slots),
        max_queue: line,
        max_queue_wait: seconds(30.0),
    }
}

/// A gate with a clock of its own, no jitter, and jobs that are named by numbers.
struct Bench {
    gate: Gate<u32>,
    now: Instant,
    jobs: u32,
    keys: HashMap<u32, Key>,
    running: HashMap<u32, Permit>,
    refused: HashMap<u32, Refusal>,
}

impl Bench {
    fn new(slots: u32, line: u32) -> Self {
        let now = Instant::now();
        let (breaker, retry) = (BreakerPolicy::default(), RetryPolicy::default());
        Self {
            gate: Gate::new(limits(slots, line), breaker, retry, now),
            now,
            jobs: 0,
            keys: HashMap::new(),
            running: HashMap::new(),
            refused: HashMap::new(),
        }
    }

    fn arrival(&self, caller: &str) -> Arrival {
        let share = Share { caller: Arc::from(caller), weight: 1, priority: Priority::Interactive };
        Arrival::new(share, Arc::from("m"), self.now + seconds(600.0))
    }

    fn batch(&self, caller: &str) -> Arrival {
        let mut arrival = self.arrival(caller);
        arrival.share.priority = Priority::Batch;
        arrival
    }

    fn of_model(&self, model: &str) -> Arrival {
        Arrival { model: Arc::from(model), ..self.arrival("a") }
    }

    /// Admits a job and returns its number.
    fn come(&mut self, arrival: Arrival) -> u32 {
        self.jobs += 1;
        let job = self.jobs;
        let decision = self.step(|gate, at, wakes| gate.admit(arrival, at, || job, wakes));
        match decision {
            Decision::Run(permit) => drop(self.running.insert(job, permit)),
            Decision::Wait { key, .. } => drop(self.keys.insert(job, key)),
            Decision::Refuse(refusal) => drop(self.refused.insert(job, refusal)),
        }
        job
    }

    fn come_many(&mut self, count: u32, caller: &str) -> Vec<u32> {
        (0..count).map(|_| self.come(self.arrival(caller))).collect()
    }

    fn end(&mut self, job: u32, ended: Ended) {
        let permit = self.running.remove(&job).unwrap();
        self.step(|gate, at, wakes| gate.end(permit, ended, None, at, wakes));
    }

    /// Runs one job of model `m` from its arrival to its end.
    fn run_one(&mut self, ended: Ended) {
        let job = self.come(self.arrival("a"));
        self.end(job, ended);
    }

    /// A waiting job's own timer runs out.
    fn expire(&mut self, job: u32) -> Option<RefusalReason> {
        let key = self.keys[&job];
        let (expired, refusal) = self.step(|gate, at, _| gate.expire(key, at))?;
        assert_eq!(expired, job);
        let reason = refusal.reason;
        self.refused.insert(job, refusal);
        Some(reason)
    }

    fn pass(&mut self, time: f64) {
        self.now += seconds(time);
    }

    fn wake(&mut self) {
        self.step(|gate, at, wakes| gate.wake(at, wakes));
    }

    fn step<R>(
        &mut self,
        act: impl FnOnce(&mut Gate<u32>, &mut Moment<'_>, &mut Vec<Wake<u32>>) -> R,
    ) -> R {
        let mut wakes = Vec::new();
        let mut at = Moment { now: self.now, unit: &mut || 0.5 };
        let result = act(&mut self.gate, &mut at, &mut wakes);
        for wake in wakes {
            match wake {
                Wake::Grant(job, permit) => drop(self.running.insert(job, permit)),
                Wake::Refuse(job, refusal) => drop(self.refused.insert(job, refusal)),
            }
        }
        result
    }

    fn runs(&self, job: u32) -> bool {
        self.running.contains_key(&job)
    }

    fn reason(&self, job: u32) -> Option<RefusalReason> {
        self.refused.get(&job).map(|refusal| refusal.reason)
    }

    fn retry_after(&self, job: u32) -> u64 {
        self.refused[&job].retry_after.as_secs_f64().ceil() as u64
    }

    fn snapshot(&self) -> snapshot::Snapshot {
        self.gate.snapshot(self.now)
    }

    /// Makes the average hold time known and trusted.
    fn measure(&mut self, hold: f64) {
        for _ in 0..20 {
            let job = self.come(self.arrival("measured"));
            self.pass(hold);
            self.end(job, OK);
        }
    }
}

#[test]
fn jobs_get_slots_then_wait_in_line_then_are_refused() {
    let mut bench = Bench::new(2, 3);
    let jobs = bench.come_many(6, "a");
    assert!(bench.runs(jobs[0]) && bench.runs(jobs[1]));
    assert_eq!(bench.snapshot().queued, 3);
    assert_eq!(bench.reason(jobs[5]), Some(QueueFull));
    bench.end(jobs[1], OK);
    assert!(bench.runs(jobs[2]) && !bench.runs(jobs[3]));
}

#[test]
fn without_a_line_no_job_waits() {
    let mut bench = Bench::new(1, 0);
    let jobs = bench.come_many(2, "a");
    let other = bench.come(bench.arrival("b"));
    assert_eq!([bench.reason(jobs[1]), bench.reason(other)], [Some(QueueFull); 2]);
}

#[test]
fn a_predicted_wait_that_is_too_long_is_refused_after_twenty_attempts() {
    let mut bench = Bench::new(1, 64);
    bench.measure(10.0);
    bench.come_many(3, "a");
    let in_time = bench.come(bench.arrival("a"));
    let late = bench.come(bench.arrival("a"));
    assert_eq!(bench.reason(in_time), None);
    assert_eq!((bench.reason(late), bench.retry_after(late)), (Some(PredictedWait), 40));
    let hurried = Arrival { deadline: bench.now + seconds(9.0), ..bench.arrival("b") };
    let hurried = bench.come(hurried);
    assert_eq!(bench.reason(hurried), Some(PredictedWait), "two turns of ten seconds");
}

#[test]
fn nineteen_measurements_refuse_no_job() {
    let mut bench = Bench::new(1, 64);
    for _ in 0..19 {
        let job = bench.come(bench.arrival("a"));
        bench.pass(100.0);
        bench.end(job, OK);
    }
    let jobs = bench.come_many(10, "a");
    assert!(jobs.iter().all(|job| bench.reason(*job).is_none()));
}

#[test]
fn a_prediction_counts_a_callers_own_queue_and_share_not_the_whole_line() {
    let mut bench = Bench::new(1, 64);
    bench.come_many(31, "many");
    let running = *bench.running.keys().next().unwrap();
    for _ in 0..20 {
        bench.gate.costs.held(seconds(4.0), false);
    }
    let many = bench.come(bench.arrival("many"));
    let few = bench.come(bench.arrival("few"));
    assert_eq!(bench.reason(many), Some(PredictedWait));
    assert_eq!(bench.reason(few), None);
    bench.end(running, OK);
    let next = *bench.running.keys().next().unwrap();
    bench.end(next, OK);
    assert!(bench.runs(few), "it is the other caller's turn");
}

#[test]
fn batch_uses_at_most_four_fifths_of_the_slots_and_at_least_one() {
    for (slots, batch) in [(1, 1), (2, 1), (4, 3), (5, 4), (10, 8)] {
        let mut bench = Bench::new(slots, 64);
        for _ in 0..slots {
            bench.come(bench.batch("b"));
        }
        assert_eq!(bench.snapshot().batch_in_flight, batch, "of {slots}");
        let interactive = bench.come(bench.arrival("a"));
        assert_eq!(bench.runs(interactive), slots > 1);
    }
}

#[test]
fn an_interactive_newcomer_pushes_the_newest_batch_job_out_of_a_full_line() {
    let mut bench = Bench::new(1, 3);
    bench.come_many(2, "a");
    let batch = [(); 2].map(|()| bench.come(bench.batch("b")));
    let newcomer = bench.come(bench.arrival("c"));
    assert_eq!(bench.reason(newcomer), None);
    assert_eq!(batch.map(|job| bench.reason(job)), [None, Some(PushedOut)]);
}

#[test]
fn while_others_wait_one_caller_holds_at_most_half_the_line() {
    let mut bench = Bench::new(1, 8);
    let jobs = bench.come_many(9, "a");
    let others = bench.come_many(6, "b");
    let pushed: Vec<_> = jobs.iter().filter(|job| bench.reason(**job) == Some(PushedOut)).collect();
    assert_eq!(pushed, [&jobs[5], &jobs[6], &jobs[7], &jobs[8]], "the newest of the longest queue");
    assert_eq!(bench.reason(others[3]), None);
    assert_eq!(bench.reason(others[4]), Some(OverShare));
    let more = bench.come(bench.arrival("a"));
    assert_eq!(bench.reason(more), Some(OverShare));
}

#[test]
fn a_job_whose_time_has_passed_is_never_started() {
    let mut bench = Bench::new(1, 8);
    let running = bench.come(bench.arrival("a"));
    let short = Arrival { deadline: bench.now + seconds(2.0), ..bench.arrival("a") };
    let short = bench.come(short);
    let patient = bench.come(bench.arrival("a"));
    bench.pass(2.0);
    bench.end(running, OK);
    assert_eq!(bench.reason(short), Some(DeadlinePassed));
    assert!(bench.runs(patient));
    let waits = bench.come(bench.arrival("a"));
    bench.pass(30.0);
    bench.end(patient, OK);
    assert_eq!(bench.reason(waits), Some(WaitedTooLong));
    let late = Arrival { deadline: bench.now, ..bench.arrival("a") };
    let late = bench.come(late);
    assert_eq!(bench.reason(late), Some(DeadlinePassed));
}

#[test]
fn a_waiting_jobs_own_timer_takes_it_out_only_when_its_time_has_come() {
    let mut bench = Bench::new(1, 8);
    let jobs = bench.come_many(3, "a");
    assert_eq!(bench.expire(jobs[1]), None);
    bench.pass(30.0);
    assert_eq!(bench.expire(jobs[1]), Some(WaitedTooLong));
    assert_eq!(bench.expire(jobs[1]), None, "only once");
    assert_eq!(bench.snapshot().queued, 1);
}

#[test]
fn a_cancelled_job_makes_room_at_once() {
    let mut bench = Bench::new(1, 2);
    let jobs = bench.come_many(3, "a");
    assert_eq!(bench.gate.cancel(bench.keys[&jobs[1]]), Some(jobs[1]));
    assert_eq!(bench.gate.cancel(bench.keys[&jobs[1]]), None);
    let next = bench.come(bench.arrival("a"));
    assert_eq!(bench.reason(next), None);
    bench.end(jobs[0], OK);
    assert!(bench.runs(jobs[2]));
}

#[test]
fn raising_the_limit_starts_waiting_jobs_and_lowering_it_lets_running_attempts_finish() {
    let mut bench = Bench::new(2, 8);
    let jobs = bench.come_many(6, "a");
    bench.step(|gate, at, wakes| gate.change(limits(4, 8), at, wakes));
    assert_eq!((bench.running.len(), bench.snapshot().free), (4, 0));
    bench.step(|gate, at, wakes| gate.change(limits(1, 8), at, wakes));
    assert_eq!((bench.running.len(), bench.snapshot().free), (4, 0));
    for job in &jobs[..3] {
        bench.end(*job, OK);
    }
    assert_eq!((bench.running.len(), bench.snapshot().queued), (1, 2));
    bench.end(jobs[3], OK);
    assert!(bench.runs(jobs[4]) && !bench.runs(jobs[5]));
}

#[test]
fn a_drained_gate_serves_only_waiting_jobs_and_retries() {
    let mut bench = Bench::new(1, 8);
    let jobs = bench.come_many(2, "a");
    bench.gate.drain();
    let new = bench.come(bench.arrival("a"));
    let again = bench.come(Arrival { again: true, ..bench.arrival("a") });
    assert_eq!((bench.reason(new), bench.reason(again)), (Some(Draining), None));
    bench.end(jobs[0], OK);
    bench.end(again, OK);
    assert!(bench.runs(jobs[1]));
    bench.gate.resume();
    let new = bench.come(bench.arrival("a"));
    assert_eq!(bench.reason(new), None);
}

#[test]
fn a_retry_goes_first_and_is_not_refused_for_a_full_line() {
    let mut bench = Bench::new(1, 2);
    let jobs = bench.come_many(3, "a");
    let again = bench.come(Arrival { again: true, ..bench.arrival("a") });
    assert_eq!(bench.snapshot().queued, 3);
    bench.end(jobs[0], OK);
    assert!(bench.runs(again));
}

#[test]
fn an_adaptive_limit_falls_on_congestion_and_rises_with_success() {
    let mut bench = Bench::new(1, 64);
    let auto = Limits { max_concurrency: Concurrency::Auto { min: 1, max: 10 }, ..limits(0, 64) };
    bench.step(|gate, at, wakes| gate.change(auto, at, wakes));
    for _ in 0..200 {
        bench.come_many(10, "a");
        let jobs: Vec<u32> = bench.running.keys().copied().collect();
        jobs.into_iter().for_each(|job| bench.end(job, OK));
    }
    assert_eq!(bench.snapshot().limit, 10);
    let job = *bench.running.keys().next().unwrap();
    bench.end(job, congested());
    assert_eq!(bench.snapshot().limit, 7);
}

#[test]
fn a_lone_request_against_an_idle_provider_can_use_both_retries() {
    let mut bench = Bench::new(1, 8);
    bench.run_one(broken());
    for _ in 0..2 {
        assert!(bench.gate.take_retry(bench.now));
        let again = bench.come(Arrival { again: true, ..bench.arrival("a") });
        bench.end(again, broken());
        bench.gate.give_back_retry();
    }
    assert_eq!(bench.snapshot().retried, 2);
}

#[test]
fn a_snapshot_adds_up_and_serializes() {
    let mut bench = Bench::new(2, 2);
    bench.come_many(5, "a");
    bench.pass(1.5);
    let snapshot = bench.snapshot();
    assert_eq!((snapshot.limit, snapshot.in_flight, snapshot.free), (2, 2, 0));
    assert_eq!((snapshot.granted, snapshot.waited, snapshot.refused[&QueueFull]), (2, 2, 1));
    assert_eq!((snapshot.oldest_wait_ms, snapshot.queued_by_caller["a"]), (1_500, 2));
    let json = serde_json::to_value(&snapshot).unwrap();
    assert_eq!(json["breaker"]["state"], "closed");
    assert_eq!(json["refused"]["queue_full"], 1);
    assert_eq!(json["models"][0]["model"], "m");
    assert_eq!(json["queued_by_caller"]["a"], 2);
}
