//! What a provider has in its prompt cache, as far as jobs and answers tell.
//!
//! Owns nothing: the beliefs are the gate's.

use std::sync::Arc;
use std::time::Duration;

use super::Provider;
use crate::admission::remembered::Counts;
use crate::chat::{Chain, Usage};
use crate::job::Job;

impl Provider {
    /// What the job's conversation is recognized by, where that counts here.
    pub(super) fn chain(&self, job: &Job) -> Option<Arc<Chain>> {
        if self.settings.remembers() { job.chain().cloned() } else { None }
    }

    /// How long it would take until the job is answered here, for the choice among equals.
    #[must_use]
    pub fn expected_wait(&self, model: &str, job: &Job) -> Duration {
        let chain = self.chain(job);
        self.gate.expected_wait(&self.lane_key(model), chain.as_ref())
    }
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
