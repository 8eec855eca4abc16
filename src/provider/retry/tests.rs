//! The table of failures, row by row.

use super::*;

const POLICY: RetryPolicy = RetryPolicy {
    max_retries: 2,
    backoff: Duration::from_millis(500),
    max_backoff: Duration::from_secs(8),
};

/// The first attempt has failed; another candidate is left; plenty of time.
const FIRST: Standing = Standing {
    attempts: 1,
    here: 1,
    free_used: false,
    elsewhere: true,
    left: Duration::from_secs(600),
    needs: Duration::ZERO,
    delivered: false,
};
const FIRST_ALONE: Standing = Standing { elsewhere: false, ..FIRST };
const SECOND: Standing = Standing { attempts: 2, here: 2, ..FIRST };
const SECOND_ALONE: Standing = Standing { elsewhere: false, ..SECOND };

fn status(status: u16) -> Failure {
    Failure::of_status(status, None)
}

fn limited(seconds: u64) -> Failure {
    Failure::RateLimited { retry_after: Some(Duration::from_secs(seconds)) }
}

fn again(millis: u64) -> Next {
    Next::Again { after: Duration::from_millis(millis), fresh: false, free: false }
}

fn next(failure: Failure, standing: Standing) -> Next {
    decide(&failure, &standing, &POLICY, 1.0)
}

#[test]
fn each_failure_is_followed_as_its_row_says() {
    use Next::{Elsewhere, Line, Stop};
    let free = Next::Again { after: Duration::ZERO, fresh: true, free: true };
    let limited_silently = Failure::RateLimited { retry_after: None };
    let quota = Failure::Quota { retry_after: Some(Duration::from_secs(1)) };
    // With another candidate: after the first and second failure here. Alone: the same.
    let rows = [
        (Failure::LocalResource, [Elsewhere, Elsewhere], [Stop, Stop]),
        (Failure::Connect, [again(500), Elsewhere], [again(500), again(1_000)]),
        (Failure::ResetReused, [free, free], [free, free]),
        (Failure::DiedBeforeFirstEvent, [again(500), Elsewhere], [again(500), Stop]),
        (Failure::FirstEventTimeout, [Elsewhere, Elsewhere], [Stop, Stop]),
        (status(408), [again(500), Elsewhere], [again(500), again(1_000)]),
        (status(409), [again(500), Elsewhere], [again(500), again(1_000)]),
        (status(500), [again(500), Elsewhere], [again(500), again(1_000)]),
        (status(502), [again(500), Elsewhere], [again(500), again(1_000)]),
        (status(503), [again(500), Elsewhere], [again(500), again(1_000)]),
        (status(504), [again(500), Elsewhere], [again(500), again(1_000)]),
        (status(529), [again(500), Elsewhere], [again(500), again(1_000)]),
        (limited(3), [again(3_000), Elsewhere], [again(3_000), again(3_000)]),
        (limited(4), [Elsewhere, Elsewhere], [again(4_000), again(4_000)]),
        (limited(20), [Elsewhere, Elsewhere], [again(20_000), again(20_000)]),
        (limited(21), [Elsewhere, Elsewhere], [Stop, Stop]),
        (limited(0), [again(500), Elsewhere], [again(500), again(1_000)]),
        (limited_silently, [again(500), Elsewhere], [again(500), Stop]),
        (quota, [Elsewhere, Elsewhere], [Stop, Stop]),
        (Failure::DoNotRetry, [Elsewhere, Elsewhere], [Stop, Stop]),
        (status(400), [Stop, Stop], [Stop, Stop]),
        (status(404), [Elsewhere, Elsewhere], [Stop, Stop]),
        (Failure::Crashed, [again(500), Elsewhere], [again(500), again(1_000)]),
        (Failure::OfRequest, [Elsewhere, Elsewhere], [Stop, Stop]),
        (Failure::NotBegun, [Elsewhere, Elsewhere], [Line, Line]),
        (status(413), [Stop, Stop], [Stop, Stop]),
        (status(415), [Stop, Stop], [Stop, Stop]),
        (status(422), [Stop, Stop], [Stop, Stop]),
        (status(307), [Stop, Stop], [Stop, Stop]),
        (Failure::ContextLength, [Elsewhere, Elsewhere], [Stop, Stop]),
        (Failure::ContentFilter, [Stop, Stop], [Stop, Stop]),
        (status(401), [Elsewhere, Elsewhere], [Stop, Stop]),
        (status(403), [Elsewhere, Elsewhere], [Stop, Stop]),
        (Failure::Cut, [again(500), Elsewhere], [again(500), Stop]),
        (Failure::Stalled, [Elsewhere, Elsewhere], [Stop, Stop]),
        (Failure::Differs, [Stop, Stop], [Stop, Stop]),
        (Failure::ClientGone, [Stop, Stop], [Stop, Stop]),
        (Failure::DeadlinePassed, [Stop, Stop], [Stop, Stop]),
    ];
    for (failure, with_others, alone) in rows {
        let decided = [FIRST, SECOND].map(|standing| next(failure, standing));
        assert_eq!(decided, with_others, "{failure:?} with another candidate");
        let decided = [FIRST_ALONE, SECOND_ALONE].map(|standing| next(failure, standing));
        assert_eq!(decided, alone, "{failure:?} alone");
    }
}

#[test]
fn each_failure_counts_as_its_row_says() {
    let fault = Fault { request: 1, said: Some(2), repeated: true };
    let model = |congested| Ended::Failed { fault, congested, crashed: false };
    let crashed = Ended::Failed { fault, congested: false, crashed: true };
    let rows = [
        (Failure::LocalResource, Ended::Neutral),
        (Failure::Connect, Ended::Unreachable),
        (Failure::ResetReused, Ended::Neutral),
        (Failure::DiedBeforeFirstEvent, crashed),
        (Failure::Crashed, crashed),
        (Failure::FirstEventTimeout, model(true)),
        (status(408), Ended::Neutral),
        (status(409), Ended::Neutral),
        (status(500), model(false)),
        (status(502), model(false)),
        (status(503), model(true)),
        (status(504), model(false)),
        (status(529), model(true)),
        (limited(7), Ended::RateLimited { retry_after: Some(Duration::from_secs(7)) }),
        (Failure::Quota { retry_after: None }, Ended::RateLimited { retry_after: None }),
        (Failure::DoNotRetry, Ended::Neutral),
        (status(404), Ended::Neutral),
        (Failure::ContextLength, Ended::Neutral),
        (Failure::ContentFilter, Ended::Neutral),
        (status(401), Ended::AuthDoubted),
        (Failure::Auth, Ended::AuthFailed),
        (status(403), Ended::Neutral),
        (Failure::OfRequest, Ended::Neutral),
        (Failure::NotBegun, Ended::NotBegun),
        (Failure::Cut, crashed),
        (Failure::Stalled, crashed),
        (Failure::Differs, Ended::Neutral),
        (Failure::ClientGone, Ended::Neutral),
        (Failure::DeadlinePassed, Ended::Neutral),
    ];
    for (failure, ended) in rows {
        assert_eq!(failure.ended(|| fault), ended, "{failure:?}");
    }
}

#[test]
fn a_request_makes_at_most_three_attempts() {
    for failure in [Failure::Connect, Failure::ResetReused, Failure::Auth, status(500), limited(1)]
    {
        for elsewhere in [true, false] {
            let standing = Standing { attempts: 3, here: 1, elsewhere, ..FIRST };
            assert_eq!(next(failure, standing), Next::Stop, "{failure:?}");
        }
    }
}

#[test]
fn a_reused_connection_that_breaks_twice_is_an_ordinary_failure() {
    let standing = Standing { attempts: 2, free_used: true, ..FIRST_ALONE };
    assert_eq!(next(Failure::ResetReused, standing), again(500));
}

#[test]
fn fewer_retries_may_be_configured_but_not_more() {
    let decided = |max_retries, standing| {
        decide(&status(500), &standing, &RetryPolicy { max_retries, ..POLICY }, 1.0)
    };
    assert_eq!(decided(0, FIRST_ALONE), Next::Stop);
    assert_eq!(decided(0, FIRST), Next::Elsewhere);
    assert_eq!(decided(1, FIRST_ALONE), again(500));
    assert_eq!(decided(1, SECOND_ALONE), Next::Stop);
    assert_eq!(decided(9, Standing { attempts: 3, here: 3, ..FIRST_ALONE }), Next::Stop);
}

#[test]
fn no_attempt_is_started_that_cannot_end_before_the_deadline() {
    let left = |millis| Standing { left: Duration::from_millis(millis), ..FIRST };
    assert_eq!(next(status(500), left(501)), again(500));
    assert_eq!(next(status(500), left(500)), Next::Elsewhere);
    assert_eq!(next(status(500), left(0)), Next::Stop);
    assert_eq!(next(limited(2), left(2_000)), Next::Elsewhere);
    assert_eq!(next(Failure::ResetReused, left(0)), Next::Stop);
    let needs = Standing { needs: Duration::from_secs(5), ..left(5_100) };
    assert_eq!(next(status(500), needs), Next::Elsewhere);
    assert_eq!(next(status(500), Standing { left: Duration::from_secs(5), ..needs }), Next::Stop);
}

#[test]
fn backoff_is_random_up_to_a_doubling_bound() {
    let bounds = [0, 1, 2, 3, 4, 5, 40].map(|retries| POLICY.step(retries).as_millis());
    assert_eq!(bounds, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    for (unit, millis) in [(0.0, 0), (0.25, 500), (1.0, 2_000), (7.0, 2_000)] {
        assert_eq!(POLICY.backoff(2, unit), Duration::from_millis(millis));
    }
}
