//! Providers: which server is called, by which client, and what follows when a call fails.
//!
//! A [`Provider`] is the part of one configured provider that all workers share: its settings, its
//! backend and its gate. Each worker runs a [`ProviderActor`] for it, which decides; the tasks it
//! spawns wait and carry bytes. The gate, in [`crate::admission`], decides how many calls run and
//! which jobs wait.
//!
//! The one thing to know: the mailbox of a [`ProviderActor`] is not the waiting line. Work comes by
//! `try_send` and is decided upon at once; jobs that have to wait do so in the gate.

mod actor;
mod attempt;
pub mod catalogue;
mod client;
mod details;
mod discovery;
mod failed;
mod fault;
mod fit;
mod health;
mod loads;
mod pins;
mod preload;
mod reach;
mod refusal_error;
mod remembering;
mod resume;
mod scope;
mod station;
mod status;
mod urgency;
mod wish;

pub mod settings;

pub mod credentials;

pub mod fallback;
pub mod retry;
pub mod retry_after;
pub mod way;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use wildmatch::WildMatch;

use crate::admission::Limits;
use crate::admission::backoff::RetryPolicy;
use crate::admission::breaker::BreakerPolicy;
use crate::admission::concurrency::Concurrency;
use crate::admission::slot::SharedGate;
use crate::admission::warm::WarmPolicy;
use crate::backend::{Backend, Quirks};
use crate::chat::{Facts, Listing, Model, Naming, Usage};
use crate::policy::Trust;
use crate::secret::{MASK, Secret};
use crate::telemetry::TokensUsed;
use catalogue::Catalogue;
use settings::{MaxConcurrency, ProviderSettings, Scheduling, body_fields};

pub use actor::{Bounce, Discover, Dispatch, ProviderActor};
pub use health::{HealthActor, Watch};
pub use loads::{LoadsActor, Tend};
pub use reach::{Reached, reach};
pub use status::{ConfiguredLimits, LastError, Status};

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
    /// The provider's own lists and descriptions of its models.
    pub catalogue: Catalogue,
    backend: &'static dyn Backend,
    quirks: Quirks,
    /// The TLS client configuration, shared by all workers.
    tls: Arc<rustls::ClientConfig>,
    /// Fields that the operator adds to the body of every chat.
    added: Map<String, Value>,
    /// The same without those that are pinned.
    unpinned: Map<String, Value>,
    /// See [`Provider::manner`].
    manner: String,
    /// Messages that wait in the mailboxes of its actors.
    mailbox: AtomicUsize,
    last_error: Mutex<Option<LastError>>,
    credentials: credentials::Asked,
    counts: Arc<Counts>,
    /// The failure of each model's last load, for the job whose attempt it was.
    load_failures: Mutex<HashMap<Arc<str>, failed::Failed>>,
    /// The models that were loaded in advance.
    preloaded: Arc<Mutex<BTreeSet<String>>>,
    /// What its models are loaded with.
    contexts: Arc<pins::Contexts>,
    /// What it runs for the models of its last list.
    runners: Mutex<loads::runners::Known>,
    /// What it was seen to have loaded.
    seen_loaded: Mutex<loads::counted::Seen>,
    /// Notified when an answer took so long to begin that something must have been loaded.
    surprised: Notify,
}

/// What a provider has done since the start of the process.
#[derive(Debug, Default)]
struct Counts {
    attempts: AtomicU64,
    failures: AtomicU64,
    first_events: AtomicU64,
    first_event_micros: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Provider {
    /// A new provider, or one that replaces `before` and keeps its gate and counts.
    #[must_use]
    pub fn new(
        name: &str,
        settings: ProviderSettings,
        backend: &'static dyn Backend,
        before: Option<&Self>,
    ) -> Arc<Self> {
        let gate = match before {
            Some(before) => before.gate_for(&settings),
            None => {
                let (breaker, retry) = policies(&settings);
                SharedGate::new(limits(&settings), breaker, retry)
            }
        };
        gate.schedule(warm_policy(&settings));
        gate.remember(settings.remember_policy());
        let added = body_fields(&settings.body);
        let models = (settings.models.settings(), settings.scheduling());
        let manner = (&added, settings.default_max_tokens, settings.api_version, models);
        Arc::new(Self {
            name: Arc::from(name),
            // A JSON value always serializes.
            manner: serde_json::to_string(&manner).unwrap_or_default(),
            trust: settings.trust(),
            quirks: settings.quirks(),
            tls: client::tls(&settings.tls),
            unpinned: pins::unpinned(&added),
            added,
            settings,
            gate,
            catalogue: Catalogue::default(),
            backend,
            mailbox: AtomicUsize::new(0),
            last_error: Mutex::new(before.and_then(|before| before.last_error.lock().clone())),
            credentials: credentials::Asked::default(),
            load_failures: Mutex::default(),
            preloaded: before.map_or_else(Arc::default, |before| Arc::clone(&before.preloaded)),
            contexts: before.map_or_else(Arc::default, |before| Arc::clone(&before.contexts)),
            runners: Mutex::default(),
            seen_loaded: Mutex::default(),
            surprised: Notify::new(),
            counts: before.map_or_else(Arc::default, |before| Arc::clone(&before.counts)),
        })
    }

    /// The bounds of `max_concurrency = "auto"` here.
    #[must_use]
    pub fn auto(&self) -> Concurrency {
        auto(&self.settings)
    }

    /// Whether its loads are scheduled by what it has loaded.
    #[must_use]
    pub fn schedules_loads(&self) -> bool {
        self.settings.scheduling() == Scheduling::Warm
    }

    /// The settings that change every chat, as text: under other settings the same question has
    /// another answer.
    #[must_use]
    pub fn manner(&self) -> &str {
        &self.manner
    }

    /// How it reads the names of models.
    #[must_use]
    pub fn naming(&self) -> Naming {
        self.backend.naming()
    }

    /// Whether it has listed its models without this one.
    #[must_use]
    pub fn lacks_model(&self, name: &str) -> bool {
        let models = self.catalogue.list(Listing::Installed).models();
        models.is_some_and(|models| !models.iter().any(|model| model.is_called(name)))
    }

    /// What is known of its model: from the operator, then from its entry in the list, then from
    /// its description.
    #[must_use]
    pub fn facts(&self, name: &str, listed: Option<&Model>) -> Facts {
        let matches = |pattern: &str| {
            let pattern = WildMatch::new(pattern);
            self.naming().any(name, |name| pattern.matches(name))
        };
        let own = self.settings.models_info.iter().filter(|(pattern, _)| matches(pattern));
        // The longest pattern is the most specific.
        let own = own.max_by_key(|(pattern, _)| pattern.len()).map(|(_, info)| info.facts());
        let digest = listed.and_then(Model::digest);
        let by_digest = digest.and_then(|digest| self.catalogue.of_digest(digest));
        let listed = listed.map(|model| model.facts.clone()).unwrap_or_default();
        let described = self.catalogue.described(name, Instant::now()).unwrap_or_default();
        own.unwrap_or_default().or(&listed).or(&by_digest.unwrap_or_default()).or(&described)
    }

    /// The gate, for this provider under other settings. A limit that was set at run time stays
    /// until the settings change that same limit.
    fn gate_for(&self, settings: &ProviderSettings) -> Arc<SharedGate> {
        let (before, after) = (limits(&self.settings), limits(settings));
        let mut now = self.gate.limits();
        if before.max_concurrency != after.max_concurrency {
            now.max_concurrency = after.max_concurrency;
        }
        if before.max_queue != after.max_queue {
            now.max_queue = after.max_queue;
        }
        if before.max_queue_wait != after.max_queue_wait {
            now.max_queue_wait = after.max_queue_wait;
        }
        self.gate.change(now);
        let (breaker, retry) = policies(settings);
        self.gate.change_policies(breaker, retry);
        let who = |settings: &ProviderSettings| {
            let ProviderSettings { backend, api_key, tls, headers, .. } = settings;
            (
                *backend,
                settings.base_url().to_owned(),
                api_key.clone(),
                tls.clone(),
                headers.clone(),
            )
        };
        if who(&self.settings) != who(settings) {
            self.gate.forget_failures();
            self.contexts.forget_server();
        }
        Arc::clone(&self.gate)
    }

    /// Counts the tokens of an answer.
    fn count_tokens(&self, model: &str, usage: Usage) {
        let add = |count: &AtomicU64, tokens: Option<u64>| {
            count.fetch_add(tokens.unwrap_or(0), Ordering::Relaxed);
        };
        add(&self.counts.prompt_tokens, usage.prompt);
        add(&self.counts.completion_tokens, usage.completion);
        TokensUsed { provider: &self.name, model: self.model_label(model), usage }.emit();
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

    /// A provider's words without the gateway's own key and headers, which some providers quote
    /// when they refuse them.
    fn without_key(&self, words: String) -> String {
        /// A shorter header is no secret, and replacing it would damage ordinary words.
        const SHORTEST: usize = 8;
        let headers = self.settings.headers.values().map(Secret::expose);
        let headers = headers.filter(|value| value.len() >= SHORTEST);
        let hide = |words: String, secret: &str| match words.contains(secret) {
            true => words.replace(secret, MASK),
            false => words,
        };
        self.api_key().into_iter().chain(headers).fold(words, hide)
    }

    /// The names and patterns of models that the operator has written.
    fn named_models(&self) -> impl Iterator<Item = &str> {
        let models = &self.settings.models;
        models.globs().iter().chain(models.settings().keys()).map(String::as_str)
    }

    /// The model's name where it may be a label: configured names only, since callers choose the
    /// others.
    fn model_label(&self, model: &str) -> &str {
        let default = self.settings.default_model();
        let configured = self.named_models().chain([default]);
        configured
            .filter(|configured| !configured.is_empty())
            .find(|configured| self.naming().any(model, |name| name == *configured))
            .unwrap_or("other")
    }
}

impl Counts {
    /// Records that a call began to answer `after` it was made.
    fn first_event(&self, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.first_event_micros.fetch_add(micros, Ordering::Relaxed);
        self.first_events.fetch_add(1, Ordering::Relaxed);
    }
}

/// The gate's limits, from these settings.
pub fn limits(settings: &ProviderSettings) -> Limits {
    Limits {
        max_concurrency: match settings.max_concurrency {
            MaxConcurrency::Fixed(limit) => Concurrency::Fixed(limit),
            MaxConcurrency::Auto => auto(settings),
        },
        max_queue: settings.max_queue,
        max_queue_wait: settings.max_queue_wait,
    }
}

fn auto(settings: &ProviderSettings) -> Concurrency {
    let bounds = &settings.auto_concurrency;
    Concurrency::Auto { min: bounds.min, max: bounds.max }
}

/// How the gate schedules loads, from these settings; `None`: not at all.
pub fn warm_policy(settings: &ProviderSettings) -> Option<WarmPolicy> {
    match settings.scheduling() {
        Scheduling::Warm => {
            Some(WarmPolicy { load_bound: settings.first_event(), ..WarmPolicy::default() })
        }
        Scheduling::Fair => None,
    }
}

/// The gate's breaker and retry policies, from these settings.
pub fn policies(settings: &ProviderSettings) -> (BreakerPolicy, RetryPolicy) {
    (settings.breaker.policy(), settings.retry.policy())
}

#[cfg(test)]
mod tests;
