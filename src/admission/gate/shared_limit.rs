//! This gateway's lease on a limit that several gateways share.
//!
//! Owns the lease now in force, and the demand since it was last read. [`crate::admission::leases`]
//! decides about leases; without other gateways there is none, and the limit alone counts.
//!
//! The trap: a lease may be 0. Then no job starts, not even the one that a ramp always allows, and
//! arrivals wait in line for the lease to grow.

use std::time::Instant;

use serde::Serialize;

use super::{Gate, Moment, Wake};

/// This gateway's lease on a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SharedLimit {
    /// How many attempts it may run at once.
    pub lease: u32,
    /// The limit that all gateways share.
    pub of: u32,
    /// How many gateways there are, this one included.
    pub replicas: u32,
    /// Whether it was decided without an answer from Redis.
    pub degraded: bool,
    /// How many slots it would get if it wanted all: used to predict waits.
    #[serde(skip)]
    pub expected: u32,
}

/// How many slots a gate wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The operator's limit for all gateways together.
    pub of: u32,
    /// The most attempts that may run until the lease changes.
    pub held: u32,
    /// The most jobs that ran or waited at one time since the demand was last read, at most the
    /// limit.
    pub wanted: u32,
}

impl<W> Gate<W> {
    /// Takes another lease at once; `None`: the whole limit. Raising it starts waiting jobs;
    /// lowering it lets running attempts finish.
    pub fn change_lease(
        &mut self,
        shared: Option<SharedLimit>,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) {
        self.shared = shared;
        self.grant(at, wakes);
    }

    /// The demand since this was last called.
    pub fn take_demand(&mut self) -> Demand {
        let most = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let load = self.load();
        let peak = std::mem::replace(&mut self.peak, load).max(load);
        Demand {
            of: self.limits.max_concurrency.most(),
            held: self.shared.map_or(0, |shared| shared.lease).max(self.in_flight),
            wanted: most(peak).min(self.slots.get()),
        }
    }

    /// Whether a job waits only because the lease is small.
    pub fn is_short(&self) -> bool {
        let limit = self.slots.get();
        let short = |lease| lease < limit && self.in_flight >= lease && !self.line.is_empty();
        self.shared.is_some_and(|shared| short(shared.lease))
    }

    /// How many attempts may run at once.
    pub(super) fn limit(&self) -> u32 {
        let limit = self.slots.get();
        self.shared.map_or(limit, |shared| limit.min(shared.lease))
    }

    /// How many of them are usable now: fewer while slots come back.
    pub(super) fn usable(&self, now: Instant) -> u32 {
        let limit = self.limit();
        // A ramp always leaves one slot, even of a limit of 0.
        self.breaker.usable(limit, now).min(limit)
    }

    /// How many slots a prediction may count on, at least 1: a lease grows as soon as more is
    /// wanted.
    pub(super) fn usable_soon(&self, now: Instant) -> u32 {
        let limit = self.slots.get();
        let soon = self.shared.map_or(limit, |shared| limit.min(shared.lease.max(shared.expected)));
        self.breaker.usable(soon.max(1), now)
    }

    /// Records the present demand.
    pub(super) fn count_demand(&mut self) {
        self.peak = self.peak.max(self.load());
    }
}
