//! What a gateway may run: the lease it was given, or what it takes when nobody answers.
//!
//! Pure: the present time is an argument. What a reader would get wrong: time is counted from *before* an ask was
//! sent, so that a lease ends here before the Redis gives it to somebody else. And when it ends, the others' do so
//! only within the time that a lease holds; until then this gateway takes no more than it had.

use std::time::{Duration, Instant};

use crate::admission::gate::shared_limit::SharedLimit;

/// How long a lease holds at the Redis after it was given: how long the slots of a gateway that died are lost.
pub const HOLDS: Duration = Duration::from_secs(2);
/// How much earlier it ends here, for clocks and for getting round to it.
pub const MARGIN: Duration = Duration::from_millis(250);
/// How long a gateway that starts waits for its first lease.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// A lease, and what is known beside it.
#[derive(Debug)]
pub struct Lease {
    started: Instant,
    given: Option<Given>,
}

/// What the Redis said last.
#[derive(Clone, Copy, Debug)]
struct Given {
    slots: u32,
    of: u32,
    replicas: u32,
    expected: u32,
    /// Until when nobody gets more than it holds, because the Redis does not know yet who holds what.
    settled: Instant,
    /// When the lease ends here.
    until: Instant,
}

impl Lease {
    /// None yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { started: now, given: None }
    }

    /// Takes what the Redis answered to an ask that was sent at `sent`: the lease, the limit, the replicas, what it
    /// would get if it wanted everything, and the milliseconds until the Redis knows who holds what. Says whether the
    /// answer makes sense.
    pub fn take(&mut self, answer: &[i64], sent: Instant) -> bool {
        let number = |index: usize| u32::try_from(*answer.get(index)?).ok();
        let given = || {
            let settling = Duration::from_millis(number(4)?.into());
            Some(Given {
                slots: number(0)?,
                of: number(1)?,
                replicas: number(2)?.max(1),
                expected: number(3)?,
                settled: sent + settling,
                until: sent + HOLDS.saturating_sub(MARGIN),
            })
        };
        let given = given();
        self.given = given.or(self.given);
        given.is_some()
    }

    /// The part of `limit` that may be used now. `replicas` is how many gateways there were when somebody last knew.
    #[must_use]
    pub fn shared_limit(&self, limit: u32, replicas: u32, now: Instant) -> SharedLimit {
        let alone = (limit / replicas.max(1)).max(1);
        let degraded =
            |lease| SharedLimit { lease, of: limit, replicas, degraded: true, expected: alone };
        match self.given {
            Some(given) if now < given.until => SharedLimit {
                lease: given.slots.min(limit),
                of: given.of.min(limit),
                replicas: given.replicas,
                degraded: false,
                expected: given.expected,
            },
            Some(given) if now < given.until + HOLDS => degraded(given.slots.min(alone)),
            Some(_) => degraded(alone),
            None if now < self.started + PATIENCE => degraded(0),
            None => degraded(alone),
        }
    }

    /// When the part changes by itself; `None` when it does not.
    #[must_use]
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let changes = match self.given {
            Some(given) => [given.until, given.until + HOLDS],
            None => [self.started + PATIENCE; 2],
        };
        changes.into_iter().find(|change| *change > now)
    }

    /// Whether it can be told what this gateway may do, so that it may say that it is ready.
    #[must_use]
    pub fn is_settled(&self, now: Instant) -> bool {
        match self.given {
            Some(given) => now >= given.settled,
            None => now >= self.started + PATIENCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(lease: &Lease, now: Instant) -> (u32, bool) {
        let shared = lease.shared_limit(8, 3, now);
        (shared.lease, shared.degraded)
    }

    #[test]
    fn before_the_first_answer_nobody_starts_for_a_second_and_then_the_own_share() {
        let start = Instant::now();
        let lease = Lease::new(start);
        assert_eq!(slots(&lease, start), (0, true));
        assert!(!lease.is_settled(start));
        assert_eq!(lease.next_change(start), Some(start + PATIENCE));
        assert_eq!(slots(&lease, start + PATIENCE), (2, true));
        assert!(lease.is_settled(start + PATIENCE));
        assert_eq!(lease.next_change(start + PATIENCE), None);
    }

    #[test]
    fn a_lease_ends_before_it_does_at_the_redis_and_the_own_share_waits_for_those_of_the_others() {
        let sent = Instant::now();
        let mut lease = Lease::new(sent);
        for (given, afterwards) in [(5, 2), (1, 1), (0, 0)] {
            assert!(lease.take(&[given, 8, 3, 2, 0], sent));
            let ends = sent + HOLDS - MARGIN;
            let given = u32::try_from(given).unwrap();
            assert_eq!(slots(&lease, ends - Duration::from_nanos(1)), (given, false));
            assert_eq!(slots(&lease, ends), (afterwards, true));
            assert_eq!(slots(&lease, ends + HOLDS), (2, true));
            assert_eq!(lease.next_change(sent), Some(ends));
            assert_eq!(lease.next_change(ends), Some(ends + HOLDS));
            assert_eq!(lease.next_change(ends + HOLDS), None);
        }
    }

    #[test]
    fn a_limit_that_is_lowered_here_counts_at_once() {
        let sent = Instant::now();
        let mut lease = Lease::new(sent);
        assert!(lease.take(&[5, 8, 3, 2, 0], sent));
        assert_eq!(lease.shared_limit(4, 3, sent).lease, 4);
        assert_eq!(lease.shared_limit(1, 3, sent + HOLDS * 2).lease, 1, "never none for good");
    }

    #[test]
    fn an_answer_that_makes_no_sense_changes_nothing() {
        let sent = Instant::now();
        let mut lease = Lease::new(sent);
        assert!(lease.take(&[5, 8, 3, 2, 700], sent));
        for wrong in [&[][..], &[5, 8, 3, 2], &[-1, 8, 3, 2, 0], &[1 << 40, 8, 3, 2, 0]] {
            assert!(!lease.take(wrong, sent + HOLDS));
        }
        assert_eq!(slots(&lease, sent), (5, false));
        assert!(!lease.is_settled(sent) && lease.is_settled(sent + Duration::from_millis(700)));
    }
}
