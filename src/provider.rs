//! Providers: admission, attempts, retries.
//!
//! A [`Provider`] is what all workers share of one configured provider: its settings, its backend and its gate.
//! Each worker runs a [`ProviderActor`] for it, which decides; the tasks it spawns wait and carry bytes.
//!
//! The admission is pure: [`gate`] decides with the present time and random numbers as arguments, and the files
//! below it each keep one thing it needs. [`slot`] puts a lock, a clock and wake-ups around it.
//!
//! The one thing to know: the mailbox of a [`ProviderActor`] is the door, not the line. Work comes by `try_send`
//! and is decided upon at once; who has to wait waits in the gate.

mod actor;
mod attempt;
mod refused;

pub mod settings;

pub mod slot;

pub mod gate;
pub mod line;
pub mod refusal;

pub mod breaker;
pub mod concurrency;
pub mod cooldown;
pub mod estimate;
pub mod models;

pub mod budget;
pub mod retry;
pub mod retry_after;

pub mod minute;
pub mod ramp;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::Serialize;

use crate::backend::Backend;
use crate::policy::Trust;
use crate::secret::Secret;
use breaker::BreakerPolicy;
use concurrency::Concurrency;
use gate::Limits;
use gate::snapshot::Snapshot;
use retry::RetryPolicy;
use settings::ProviderSettings;
use slot::SharedGate;

pub use actor::{Bounce, Dispatch, ProviderActor};

/// One configured provider, shared by all workers.
pub struct Provider {
    /// Its configured name.
    pub name: Arc<str>,
    /// Its settings, defaults filled in.
    pub settings: ProviderSettings,
    /// Whether it may see a local-only prompt.
    pub trust: Trust,
    /// Its admission. It outlives a change of settings.
    pub gate: Arc<SharedGate>,
    backend: &'static dyn Backend,
    /// Messages that wait in the mailboxes of its actors.
    mailbox: AtomicUsize,
    last_error: Mutex<Option<LastError>>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The latest failure of a provider.
#[derive(Debug, Clone, Serialize)]
pub struct LastError {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What happened.
    pub message: String,
}

impl Provider {
    /// A provider at rest, or one with a gate that is already in use.
    #[must_use]
    pub fn new(
        name: &str,
        settings: ProviderSettings,
        backend: &'static dyn Backend,
        gate: Option<Arc<SharedGate>>,
    ) -> Arc<Self> {
        let limits = limits(&settings);
        let (breaker, retry) = policies(&settings);
        let gate = match gate {
            Some(gate) => {
                gate.change(limits);
                gate.change_policies(breaker, retry);
                gate
            }
            None => SharedGate::new(limits, breaker, retry),
        };
        Arc::new(Self {
            name: Arc::from(name),
            trust: settings.trust(),
            settings,
            gate,
            backend,
            mailbox: AtomicUsize::new(0),
            last_error: Mutex::new(None),
        })
    }

    /// What may be seen of it now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.gate.snapshot()
    }

    /// Messages that wait in the mailboxes of its actors.
    #[must_use]
    pub fn mailbox(&self) -> usize {
        self.mailbox.load(Ordering::Relaxed)
    }

    /// Its latest failure.
    #[must_use]
    pub fn last_error(&self) -> Option<LastError> {
        self.last_error.lock().clone()
    }

    fn failed(&self, message: &str) {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at = at.map_or(0, |since| since.as_secs());
        *self.last_error.lock() = Some(LastError { at, message: message.to_owned() });
    }

    fn api_key(&self) -> Option<&str> {
        let key = &self.settings.api_key;
        (!Secret::is_empty(key)).then(|| key.expose())
    }

    /// The model's name where it may be a label: configured names only, since callers choose the others.
    fn model_label<'a>(&self, model: &'a str) -> &'a str {
        let configured = self.settings.default_model() == model
            || self.settings.models.iter().any(|name| name == model);
        if configured { model } else { "other" }
    }
}

fn limits(settings: &ProviderSettings) -> Limits {
    Limits {
        max_concurrency: Concurrency::Fixed(settings.max_concurrency),
        max_queue: settings.max_queue,
        max_queue_wait: settings.max_queue_wait,
    }
}

fn policies(settings: &ProviderSettings) -> (BreakerPolicy, RetryPolicy) {
    let breaker = BreakerPolicy {
        failures: settings.breaker.failures,
        open: settings.breaker.open,
        max_open: settings.breaker.max_open,
    };
    let retry = RetryPolicy {
        max_retries: settings.retry.max_retries,
        backoff: settings.retry.backoff,
        max_backoff: settings.retry.max_backoff,
    };
    (breaker, retry)
}
