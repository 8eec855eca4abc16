//! What a provider has in its prompt cache, as far as jobs and answers tell.
//!
//! Owns nothing: the beliefs are the gate's.

use std::sync::Arc;
use std::time::Duration;

use super::Provider;
use crate::admission::remembered::affinity::Affinity;
use crate::admission::remembered::{Counts, Share};
use crate::admission::slot::Slot;
use crate::chat::{Chain, Usage};
use crate::job::{Job, Remembered};

impl Provider {
    /// What the job's conversation is recognized by, where that counts here.
    pub(super) fn chain(&self, job: &Job) -> Option<Arc<Chain>> {
        if self.settings.remembers() {
            return job.chain().cloned();
        }
        // It counts for the choice between equals only, which was made before.
        let made = job.made_chain().filter(|_| self.settings.remember_policy().is_some());
        made.cloned()
    }

    /// What speaks for this one among equals: how much of the job's conversation it remembers;
    /// `None` where its line follows that, or nothing shall.
    #[must_use]
    pub fn affinity(&self, model: &str, job: &Job) -> Option<Affinity> {
        self.settings.remember_policy().filter(|policy| !policy.orders)?;
        let (key, chain) = (self.lane_key(model), job.chain()?);
        Some(Affinity {
            known: self.gate.known(&key, chain),
            wait: self.gate.expected_wait(&key, None),
            within: self.settings.affinity_wait,
        })
    }

    /// How long it would take until the job is answered here, for the choice among equals.
    #[must_use]
    pub fn expected_wait(&self, model: &str, job: &Job) -> Duration {
        let chain = self.chain(job);
        self.gate.expected_wait(&self.lane_key(model), chain.as_ref())
    }
}

/// How much of an attempt's prompt is believed to be remembered, for the client.
pub(super) fn remembered(slot: &Slot) -> Option<Remembered> {
    let Share { remembered: tokens, total } = slot.share()?;
    Some(Remembered { tokens, total })
}

/// What an answer tells about the reading of its prompt. `first` is how long its first event took,
/// if it did not come all at once.
pub(super) fn counts(usage: Usage, first: Option<Duration>) -> Counts {
    let reading = usage.durations.map(|durations| Duration::from_nanos(durations.prompt));
    Counts {
        prompt: usage.prompt,
        cached: usage.cached,
        answer: usage.completion,
        reading: reading.filter(|reading| !reading.is_zero()).or(first),
    }
}
