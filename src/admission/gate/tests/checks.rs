//! Health checks, and what a flapping provider costs with them and without.

use super::*;
use crate::admission::gate::health_checks::{Check, Health};
use fastrand::Rng;

fn check(bench: &mut Bench, check: Check) -> Option<Health> {
    bench.step(|gate, at, wakes| gate.checked(check, 3, None, at, wakes))
}

#[test]
fn failed_checks_in_a_row_open_the_breaker_and_refuse_the_line_at_once() {
    let mut bench = Bench::new(1, 8);
    let jobs = bench.come_many(2, "a");
    assert_eq!([check(&mut bench, Check::Failed), check(&mut bench, Check::Failed)], [None, None]);
    assert!(bench.reason(jobs[1]).is_none(), "two are not three");
    assert_eq!(check(&mut bench, Check::Failed), Some(Health::Failing));
    assert!(bench.runs(jobs[0]), "what runs may end");
    assert_eq!(bench.reason(jobs[1]), Some(BreakerOpen));
    let late = bench.come(bench.arrival("a"));
    assert_eq!(bench.reason(late), Some(BreakerOpen));
    assert_eq!(check(&mut bench, Check::Failed), None, "known already");
    let view = bench.snapshot();
    assert_eq!((view.health, view.failed_checks), (Health::Failing, 4));
    assert_eq!(view.breaker.state, BreakerState::Open);
}

#[test]
fn a_passed_check_allows_an_early_probe_and_only_answers_close_the_breaker() {
    let mut bench = Bench::new(4, 8);
    let failing = [(); 3].map(|()| check(&mut bench, Check::Failed));
    assert_eq!(failing, [None, None, Some(Health::Failing)]);
    assert_eq!(check(&mut bench, Check::Passed), Some(Health::Passing));
    assert_eq!(bench.snapshot().breaker.state, BreakerState::HalfOpen);
    let probe = bench.come(bench.arrival("a"));
    let other = bench.come(bench.arrival("a"));
    assert!(bench.runs(probe));
    assert_eq!(bench.reason(other), Some(BreakerOpen), "one probe at a time");
    bench.end(probe, OK);
    bench.run_one(OK);
    assert_eq!(bench.snapshot().breaker.state, BreakerState::Closed);
}

#[test]
fn an_answer_resets_the_count_of_failed_checks() {
    let mut bench = Bench::new(4, 8);
    for _ in 0..5 {
        (0..2).for_each(|_| assert_eq!(check(&mut bench, Check::Failed), None));
        bench.run_one(OK);
    }
    assert_eq!(bench.snapshot().breaker.state, BreakerState::Closed);
}

#[test]
fn passed_checks_hasten_a_failing_models_probe_only_a_little() {
    let mut bench = Bench::new(4, 8);
    check(&mut bench, Check::Passed);
    // 5 s, 10 s, 20 s: the last is cut to fifteen.
    for pause in [5.0, 10.0] {
        (0..5).for_each(|_| {
            let job = bench.come(bench.arrival("a"));
            if bench.runs(job) {
                bench.end(job, broken());
            }
        });
        check(&mut bench, Check::Passed);
        assert_eq!(bench.snapshot().models[0].breaker.left_ms, (pause * 1000.0) as u64);
        bench.now += seconds(pause);
    }
    bench.run_one(broken());
    assert_eq!(bench.snapshot().models[0].breaker.left_ms, 20_000);
    check(&mut bench, Check::Passed);
    assert_eq!(bench.snapshot().models[0].breaker.left_ms, 15_000);
}

#[test]
fn passed_checks_do_not_close_a_breaker_that_refused_credentials_opened() {
    let mut bench = Bench::new(4, 8);
    bench.run_one(Ended::AuthFailed);
    assert!(!bench.gate.is_left_alone(bench.now), "a check says nothing about the key");
    check(&mut bench, Check::Passed);
    assert_eq!(bench.snapshot().breaker.state, BreakerState::AuthFailed);
}

/// The result of a minute in which a provider flapped, and of the time after it.
struct Minute {
    down_phases: usize,
    failed: usize,
    served: usize,
    /// From the end of the last down phase to the next answer.
    used_again: Duration,
    /// Whether all slots were usable again at the end.
    is_whole: bool,
}

/// Sends ten requests a second to a provider that flaps for a minute and is up from then on.
/// Requests that it refuses or fails are served elsewhere. `how` is how it fails; if `checks`, a
/// check is made every ten seconds while a breaker is open.
fn flap(seed: u64, how: fn() -> Ended, checks: bool) -> Minute {
    let mut dice = Rng::with_seed(seed);
    let mut units = Rng::with_seed(seed ^ 7);
    let start = Instant::now();
    let (breaker, retry) = (BreakerPolicy::default(), RetryPolicy::default());
    let mut gate: Gate<u32> = Gate::new(limits(4, 8), breaker, retry, start);
    let mut wakes = Vec::new();
    let (mut is_up, mut turns_at) = (true, start + seconds(dice.f64() * 5.0));
    let mut recovery = start;
    let mut minute =
        Minute { down_phases: 0, failed: 0, served: 0, used_again: Duration::MAX, is_whole: false };
    let arrival = Bench::new(1, 1).arrival("a");
    for tick in 0..1500u32 {
        let now = start + Duration::from_millis(100) * tick;
        if now >= turns_at && (now < start + seconds(60.0) || !is_up) {
            is_up = !is_up || now >= start + seconds(60.0);
            turns_at = now + seconds(0.5 + dice.f64() * 12.0);
            minute.down_phases += usize::from(!is_up);
            recovery = now;
        }
        let at = &mut Moment { now, unit: &mut || units.f64() };
        if checks && tick % 100 == 0 && gate.is_left_alone(now) {
            let reached = is_up || how() != UNREACHABLE;
            let check = if reached { Check::Passed } else { Check::Failed };
            gate.checked(check, 3, None, at, &mut wakes);
        }
        let deadline = now + seconds(60.0);
        let arrival = Arrival { deadline, elsewhere: true, ..arrival.clone() };
        let Decision::Run(permit) = gate.admit(arrival, at, || 0, &mut wakes) else { continue };
        gate.end(permit, if is_up { OK } else { how() }, None, at, &mut wakes);
        minute.failed += usize::from(!is_up);
        minute.served += usize::from(is_up);
        if is_up && now >= start + seconds(60.0) && minute.used_again == Duration::MAX {
            minute.used_again = now.saturating_duration_since(recovery);
        }
    }
    let view = gate.snapshot(start + seconds(150.0));
    minute.is_whole = view.usable == view.limit && view.breaker.state == BreakerState::Closed;
    minute
}

#[test]
fn a_flapping_provider_gets_few_attempts_and_is_used_within_half_a_minute_after() {
    for seed in 0..200 {
        for how in [broken, || UNREACHABLE] {
            let minute = flap(seed, how, true);
            let who = format!("seed {seed}, {:?}", how());
            assert!(minute.used_again <= seconds(30.0), "{who}: {:?}", minute.used_again);
            // Five failures open the breaker after each recovery, and the probes fail.
            let most = 5 * minute.down_phases + 12;
            assert!(minute.failed <= most, "{who}: {} of at most {most}", minute.failed);
            assert!(minute.served > 400, "{who}: {}", minute.served);
            assert!(minute.is_whole, "{who}");
        }
    }
}

#[test]
fn without_checks_only_the_breaker_s_open_time_counts() {
    let longest = (0..200).map(|seed| flap(seed, || UNREACHABLE, false).used_again).max().unwrap();
    assert!(longest > seconds(10.0), "{longest:?}: no phase was ever unlucky");
    let hurried = (0..200).map(|seed| flap(seed, || UNREACHABLE, true).used_again).max().unwrap();
    assert!(hurried <= seconds(15.0), "{hurried:?}");
}
