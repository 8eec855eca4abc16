//! Slots are given out: which waiting jobs start, and when a newcomer may start at once.
//!
//! Owns nothing: the gate's own state changes here whenever something may have made room.

use std::sync::Arc;
use std::time::Instant;

use super::remembering::Next;
use super::{Gate, Moment, Permit, Probe, Waiter, Wake, overdue};
use crate::admission::line::{Lane, Share};
use crate::chat::Chain;
use crate::policy::Priority;

/// The share of the usable slots that batch callers may hold, in percent, and at least one slot: 8
/// of 10, 1 of 1.
const BATCH_PERCENT: u64 = 80;

impl<W> Gate<W> {
    /// Starts waiting jobs while there are slots for them, and refuses those whose time has passed;
    /// then decides about loads.
    pub(super) fn grant(&mut self, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) {
        self.pass_kept(at.now);
        self.fill(at, wakes);
        if self.plan(at.now) {
            // A swap was given up: what it held back may start. That begins another swap at most.
            self.fill(at, wakes);
            self.plan(at.now);
        }
    }

    fn fill(&mut self, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) {
        let now = at.now;
        let limit = self.limit();
        while self.in_flight < self.usable(now) {
            let models = &self.models;
            let may_run = |lane| models.get(lane).is_some_and(|model| model.is_open(limit, now));
            let open = |lane| may_run(lane) && self.is_warm(lane, now);
            let Some(next) = self.next_job(open, self.batch_may_start(now), now) else { return };
            let Next { key, first } = next;
            if let Some(reason) = self.line.get(key).and_then(|entry| overdue(entry, now)) {
                let lane = self.line.get(key).map_or(Lane::default(), |entry| entry.lane);
                let expected = self.wait(lane, self.line.len() as u64, now);
                self.evict(key, (reason, expected), at, wakes);
                continue;
            }
            let turn = self.turn_of_waiting(key);
            if let Some(entry) = self.line.serve(key, first, turn, self.claim(now)) {
                let Waiter { waker, probe, deadline, chain, .. } = entry.load;
                debug_assert!(deadline > now, "a job is started after its deadline");
                let permit = self.start(entry.lane, &entry.share, probe, chain.as_ref(), now);
                wakes.push(Wake::Grant(waker, permit));
            }
        }
    }

    pub(super) fn start(
        &mut self,
        lane: Lane,
        share: &Share,
        probe: Probe,
        chain: Option<&Arc<Chain>>,
        now: Instant,
    ) -> Permit {
        let call = self.note_start(lane, share, chain, now);
        let (caller, priority) = (Arc::clone(&share.caller), share.priority);
        let mut asks = false;
        self.in_flight += 1;
        debug_assert!(self.in_flight <= self.limit(), "more jobs run than the limit allows");
        if priority == Priority::Batch {
            self.batch_in_flight += 1;
        }
        if let Some(model) = self.models.get_mut(lane) {
            model.in_flight += 1;
            if let Some(unready) = &mut model.unready {
                unready.ask();
                asks = true;
            }
        }
        let warm = self.warm.as_mut();
        let load_failed = warm.is_some_and(|warm| warm.start(lane, priority, now));
        self.counters.granted += 1;
        self.count_demand();
        let weight = share.weight;
        Permit { lane, caller, priority, weight, probe, call, asks, load_failed, started: now }
    }

    pub(super) fn may_start(&self, lane: Lane, priority: Priority, now: Instant) -> bool {
        let limit = self.limit();
        let allowed = match priority {
            Priority::Interactive => true,
            Priority::Batch => self.batch_may_start(now),
        };
        let open = self.models.get(lane).is_some_and(|model| model.is_open(limit, now));
        allowed && open && self.is_warm(lane, now) && self.in_flight < self.usable(now)
    }

    /// Whether a batch caller may take a slot: see [`BATCH_PERCENT`].
    fn batch_may_start(&self, now: Instant) -> bool {
        let most = u64::from(self.usable(now)) * BATCH_PERCENT / 100;
        u64::from(self.batch_in_flight) < most.max(1)
    }
}
