//! What operators see of a provider, apart from its gate's own snapshot.
//!
//! The one thing to know: `configured` is what the configuration says and the flattened snapshot
//! what is in force; they differ after a change at run time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::settings::BackendName;
use super::{Provider, limits};
use crate::admission::Limits;
use crate::admission::concurrency::Concurrency;
use crate::admission::gate::snapshot::Snapshot;
use crate::policy::Trust;

/// A provider at one instant, for the console and for tests.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    /// Its configured name.
    pub name: &'a str,
    /// The API it speaks.
    pub backend: BackendName,
    /// Whether it may see a local-only prompt.
    pub trust: Trust,
    /// The model for requests that name none.
    pub default_model: &'a str,
    /// Its admission.
    #[serde(flatten)]
    pub gate: Snapshot,
    /// The limits that the configuration says, which may have been changed at run time.
    pub configured: ConfiguredLimits,
    /// Messages that wait in the mailboxes of its actors.
    pub mailbox_depth: usize,
    /// Calls made since the start.
    pub attempts: u64,
    /// Of these, those that the provider failed; refusals that are the request's fault are not
    /// counted.
    pub failures: u64,
    /// Of these, the attempts that began to answer, and the sum of their times to the first event.
    #[serde(skip)]
    pub first_events: (u64, Duration),
    /// Prompt tokens that it counted since the start.
    pub prompt_tokens: u64,
    /// Completion tokens that it counted since the start.
    pub completion_tokens: u64,
    /// Its latest failure.
    pub last_error: Option<LastError>,
}

/// A provider's limits by the configuration, in the words of the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConfiguredLimits {
    /// Calls at one time: a number, or `"auto"`.
    pub max_concurrency: Concurrency,
    /// How many jobs may wait.
    pub max_queue: u32,
    /// How long a job may wait.
    pub max_queue_wait_ms: u64,
}

/// The latest failure of a provider.
#[derive(Debug, Clone, Serialize)]
pub struct LastError {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What happened.
    pub message: String,
}

impl ConfiguredLimits {
    fn of(limits: &Limits) -> Self {
        Self {
            max_concurrency: limits.max_concurrency,
            max_queue: limits.max_queue,
            max_queue_wait_ms: u64::try_from(limits.max_queue_wait.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Provider {
    /// The limits that the configuration says.
    #[must_use]
    pub fn configured_limits(&self) -> Limits {
        limits(&self.settings)
    }

    /// The provider's present state.
    #[must_use]
    pub fn status(&self) -> Status<'_> {
        let counted = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Status {
            name: &self.name,
            backend: self.settings.backend,
            trust: self.trust,
            default_model: self.settings.default_model(),
            gate: self.snapshot(),
            configured: ConfiguredLimits::of(&self.configured_limits()),
            mailbox_depth: self.mailbox.load(Ordering::Relaxed),
            attempts: counted(&self.counts.attempts),
            failures: counted(&self.counts.failures),
            first_events: (
                counted(&self.counts.first_events),
                Duration::from_micros(counted(&self.counts.first_event_micros)),
            ),
            prompt_tokens: counted(&self.counts.prompt_tokens),
            completion_tokens: counted(&self.counts.completion_tokens),
            last_error: self.last_error.lock().clone(),
        }
    }
}
