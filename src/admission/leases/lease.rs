//! How many attempts a gateway may run: its lease, or its share of the limit when Redis does not
//! answer.
//!
//! Pure: the present time is an argument. The trap: time is counted from *before* an ask was sent,
//! so that a lease ends here before Redis gives its slots to another gateway. And when it ends, the
//! others' leases end only within the time that a lease holds; until then this gateway takes no
//! more than it had.

use std::time::{Duration, Instant};

use crate::admission::gate::shared_limit::SharedLimit;

/// How long a lease holds in Redis: how long the slots of a gateway that died are lost.
pub const HOLDS: Duration = Duration::from_secs(2);
/// How much earlier it ends here, as a margin for clocks and scheduling.
pub const MARGIN: Duration = Duration::from_millis(250);
/// How long a starting gateway waits for its first lease.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// A gateway's lease on one provider's limit.
#[derive(Debug)]
pub struct Lease {
    started: Instant,
    given: Option<Given>,
}

/// The last answer of Redis.
#[derive(Clone, Copy, Debug)]
struct Given {
    slots: u32,
    of: u32,
    replicas: u32,
    expected: u32,
    /// Until when no gateway gets more than it holds, because Redis does not know all leases yet.
    settled: Instant,
    /// When the lease ends for this gateway.
    until: Instant,
}

impl Lease {
    /// No lease yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { started: now, given: None }
    }

    /// Takes the answer of Redis to an ask sent at `sent`: the lease, the limit, the replicas, the
    /// slots it would get if it wanted all, and the milliseconds until Redis knows all leases.
    /// Returns whether the answer is valid.
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

    /// How much of `limit` may be used now. `replicas` is the last known number of gateways.
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

    /// When the lease changes by itself; `None` when it does not.
    #[must_use]
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let changes = match self.given {
            Some(given) => [given.until, given.until + HOLDS],
            None => [self.started + PATIENCE; 2],
        };
        changes.into_iter().find(|change| *change > now)
    }

    /// Whether the lease is known, so that the gateway may report that it is ready.
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
    fn before_the_first_answer_no_job_starts_for_a_second_and_then_the_own_share_may() {
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
    fn a_lease_ends_here_before_it_ends_in_redis_and_the_own_share_waits_for_other_leases() {
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
    fn an_invalid_answer_changes_nothing() {
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
