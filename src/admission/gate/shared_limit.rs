//! This gateway's part of a limit that several gateways keep together.
//!
//! Owns the part now in force, and how much was wanted since somebody last asked. Who decides about parts is
//! [`crate::admission::leases`]; without other gateways there is no part, and the limit alone counts.
//!
//! What one would get wrong: a part may be 0. Then nobody starts, not even the one that a ramp always allows, and
//! whoever comes waits in line for the part to grow.

use std::time::Instant;

use serde::Serialize;

use super::{Gate, Moment, Wake};

/// What this gateway may use of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SharedLimit {
    /// Attempts that it may run at once.
    pub lease: u32,
    /// The limit that all keep together.
    pub of: u32,
    /// How many gateways there are, this one included.
    pub replicas: u32,
    /// Whether it had to be decided without the others.
    pub degraded: bool,
    /// How much it would get if it wanted everything: what waits are predicted with.
    #[serde(skip)]
    pub expected: u32,
}

/// How much a gate has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// What the operator allows at most, all gateways together.
    pub of: u32,
    /// The most that may run until the part changes.
    pub held: u32,
    /// The most that ran or waited at one time since this was last asked, as far as it may run.
    pub wanted: u32,
}

impl<W> Gate<W> {
    /// Takes another part of the limit at once; `None`: all of it. Raising starts those who wait; lowering lets what
    /// runs end.
    pub fn change_lease(
        &mut self,
        shared: Option<SharedLimit>,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) {
        self.shared = shared;
        self.grant(at, wakes);
    }

    /// How much there is to do. What was wanted is counted anew from here on.
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

    /// Whether somebody waits only because the part is small.
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

    /// How many of them now: fewer while slots come back.
    pub(super) fn usable(&self, now: Instant) -> u32 {
        let limit = self.limit();
        // A ramp always leaves one slot, of a limit of none as well.
        self.breaker.usable(limit, now).min(limit)
    }

    /// How many a prediction may count on, at least 1: a part grows as soon as more is wanted.
    pub(super) fn usable_soon(&self, now: Instant) -> u32 {
        let limit = self.slots.get();
        let soon = self.shared.map_or(limit, |shared| limit.min(shared.lease.max(shared.expected)));
        self.breaker.usable(soon.max(1), now)
    }

    /// Notes how much there is to do.
    pub(super) fn count_demand(&mut self) {
        self.peak = self.peak.max(self.load());
    }
}
