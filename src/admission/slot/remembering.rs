//! The shared gate as those see it who know what a server has in its prompt cache.

use std::sync::Arc;
use std::time::Duration;

use super::{SharedGate, Slot, now};
use crate::admission::remembered::{Counts, RememberPolicy, Share};
use crate::chat::Chain;

impl SharedGate {
    /// Orders jobs by what the server remembers; see [`Gate::remember`](super::Gate::remember).
    pub fn remember(self: &Arc<Self>, policy: Option<RememberPolicy>) {
        self.step(|inner, at, wakes| inner.gate.remember(policy, at, wakes));
    }

    /// How long it would take until a newcomer is answered; see
    /// [`Gate::expected_wait`](super::Gate::expected_wait).
    pub fn expected_wait(&self, key: &str, chain: Option<&Arc<Chain>>) -> Duration {
        self.inner.lock().gate.expected_wait(key, chain, now())
    }

    /// How much of a conversation a model is believed to remember; see
    /// [`Gate::known`](super::Gate::known).
    pub fn known(&self, key: &str, chain: &Chain) -> u32 {
        self.inner.lock().gate.known(key, chain)
    }
}

impl Slot {
    /// The server's counts for the attempt, before it ends.
    pub fn count(&self, counts: Counts) {
        if let Some(permit) = self.permit.as_ref().filter(|permit| permit.is_remembered()) {
            self.gate.inner.lock().gate.count(permit, counts);
        }
    }

    /// How much of the attempt's prompt is believed to be in the server's cache.
    pub fn share(&self) -> Option<Share> {
        let permit = self.permit.as_ref().filter(|permit| permit.is_remembered())?;
        self.gate.inner.lock().gate.share(permit)
    }
}
