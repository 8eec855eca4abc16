//! The breaker, transition by transition. A `unit` of 0.5 means no jitter.

use super::*;

const PLAIN: f64 = 0.5;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn breaker(now: Instant) -> Breaker {
    Breaker::new(BreakerPolicy::default(), now)
}

/// A breaker that has just opened for the first time.
fn open(now: Instant) -> Breaker {
    let mut breaker = breaker(now);
    for failure in 1..=5 {
        assert_eq!(breaker.fail(false, now, PLAIN), failure == 5);
    }
    breaker
}

/// Fails each probe and returns the length of each pause.
fn pauses(breaker: &mut Breaker, mut now: Instant, rounds: usize) -> Vec<u64> {
    let mut pauses = Vec::new();
    for _ in 0..rounds {
        let (_, left) = breaker.state(now);
        pauses.push(left.as_secs());
        now += left;
        assert_eq!(breaker.permission(now), Permission::Probe);
        breaker.claim_probe();
        assert!(breaker.fail(true, now, PLAIN));
    }
    pauses
}

#[test]
fn five_failures_in_a_row_open_it_and_a_success_in_between_starts_again() {
    let now = Instant::now();
    let mut breaker = breaker(now);
    for _ in 0..4 {
        assert!(!breaker.fail(false, now, PLAIN));
    }
    breaker.succeed(false, now);
    for _ in 0..4 {
        assert!(!breaker.fail(false, now, PLAIN));
    }
    assert_eq!(breaker.permission(now), Permission::Granted);
    assert!(breaker.fail(false, now, PLAIN));
    assert_eq!(breaker.permission(now), Permission::Denied { left: seconds(5.0), auth: false });
}

#[test]
fn fewer_than_half_successes_of_twenty_in_a_minute_open_it() {
    let now = Instant::now();
    let mut breaker = breaker(now);
    // Three failures, two successes, and so on: never five in a row.
    let mut opened_after = None;
    for attempt in 1..=30 {
        let opened = match attempt % 5 {
            1..=3 => breaker.fail(false, now, PLAIN),
            _ => {
                breaker.succeed(false, now);
                false
            }
        };
        if opened {
            opened_after = opened_after.or(Some(attempt));
        }
    }
    assert_eq!(opened_after, Some(21), "the first failure with at least twenty seen");
}

#[test]
fn exactly_half_keeps_it_closed_and_old_failures_are_forgotten() {
    let start = Instant::now();
    let mut breaker = breaker(start);
    for _ in 0..50 {
        breaker.succeed(false, start);
        assert!(!breaker.fail(false, start, PLAIN));
    }
    let later = start + seconds(60.0);
    breaker.succeed(false, later);
    for _ in 0..4 {
        assert!(!breaker.fail(false, later, PLAIN));
    }
}

#[test]
fn the_pause_is_spread_by_a_fifth() {
    let now = Instant::now();
    for (unit, left) in [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)] {
        let mut breaker = breaker(now);
        (0..5).for_each(|_| {
            breaker.fail(false, now, unit);
        });
        assert_eq!(breaker.state(now), (BreakerState::Open, seconds(left)));
    }
}

#[test]
fn failing_probes_double_the_pause_up_to_two_minutes() {
    let now = Instant::now();
    assert_eq!(pauses(&mut open(now), now, 7), [5, 10, 20, 40, 80, 120, 120]);
}

#[test]
fn one_probe_runs_at_a_time_and_two_successes_in_a_row_close_it() {
    let start = Instant::now();
    let mut breaker = open(start);
    let now = start + seconds(5.0);
    for _ in 0..2 {
        assert_eq!(breaker.state(now).0, BreakerState::HalfOpen);
        assert_eq!(breaker.permission(now), Permission::Probe);
        breaker.claim_probe();
        assert_eq!(
            breaker.permission(now),
            Permission::Denied { left: Duration::ZERO, auth: false }
        );
        breaker.succeed(true, now);
    }
    assert_eq!(breaker.permission(now), Permission::Granted);
    let usable = [0.0, 2.5, 5.0, 7.5, 10.0].map(|later| breaker.usable(8, now + seconds(later)));
    assert_eq!(usable, [1, 2, 4, 6, 8]);
    assert_eq!(breaker.next_step(8, now), Some(now + seconds(2.5) + Duration::from_nanos(1)));
}

#[test]
fn a_probe_without_a_result_lets_the_next_arrival_probe() {
    let start = Instant::now();
    let mut breaker = open(start);
    let now = start + seconds(5.0);
    breaker.claim_probe();
    breaker.release_probe();
    assert_eq!(breaker.permission(now), Permission::Probe);
}

#[test]
fn attempts_from_before_it_opened_change_nothing() {
    let start = Instant::now();
    let mut breaker = open(start);
    breaker.succeed(false, start);
    assert!(!breaker.fail(false, start, PLAIN));
    assert_eq!(breaker.state(start), (BreakerState::Open, seconds(5.0)));
    let now = start + seconds(5.0);
    breaker.claim_probe();
    breaker.succeed(false, now);
    breaker.succeed(false, now);
    assert!(!breaker.fail(false, now, PLAIN));
    assert!(!breaker.fail_auth(false, now, PLAIN));
    assert_eq!(breaker.permission(now), Permission::Denied { left: Duration::ZERO, auth: false });
}

#[test]
fn opening_again_while_recovering_continues_to_double_and_later_does_not() {
    for (recovered_for, pause) in [(9.0, 10.0), (10.0, 5.0)] {
        let start = Instant::now();
        let mut breaker = open(start);
        let mut now = start + seconds(5.0);
        for _ in 0..2 {
            breaker.claim_probe();
            breaker.succeed(true, now);
        }
        now += seconds(recovered_for);
        (0..5).for_each(|_| {
            breaker.fail(false, now, PLAIN);
        });
        assert_eq!(breaker.state(now), (BreakerState::Open, seconds(pause)));
    }
}

#[test]
fn refused_credentials_open_it_at_once_and_are_tried_each_minute() {
    let mut now = Instant::now();
    let mut breaker = breaker(now);
    assert!(breaker.fail_auth(false, now, PLAIN));
    for _ in 0..3 {
        assert_eq!(breaker.state(now), (BreakerState::AuthFailed, seconds(60.0)));
        assert_eq!(breaker.permission(now), Permission::Denied { left: seconds(60.0), auth: true });
        now += seconds(60.0);
        assert_eq!(breaker.permission(now), Permission::Probe);
        breaker.claim_probe();
        assert!(breaker.fail_auth(true, now, PLAIN));
    }
}

#[test]
fn a_breaker_is_pristine_until_something_fails_and_after_it_is_forgotten() {
    let now = Instant::now();
    let mut breaker = breaker(now);
    breaker.succeed(false, now);
    assert!(breaker.is_pristine(now));
    breaker.fail(false, now, PLAIN);
    assert!(!breaker.is_pristine(now));
    breaker.succeed(false, now);
    assert!(breaker.is_pristine(now + seconds(60.0)));
}
