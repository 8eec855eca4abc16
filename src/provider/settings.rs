//! The sections `[providers.NAME]`: a provider's address, limits and timeouts.
//!
//! Owns the fields, their units, their defaults, and the defaults that depend on the backend or on
//! trust. Refuses unknown fields; ranges are checked when the configuration is loaded.
//!
//! The trap: [`ProviderSettings::default`] leaves fields that depend on the backend unset. The
//! methods always have a value; in a loaded configuration the fields are filled in.

mod added;
mod backend_name;
mod concurrency;
mod health;
mod limit_wish;
mod model_info;
mod proxy;
mod quirks;
mod remembering;
mod scheduling;
mod served;
mod timeouts;
mod tls;

use crate::admission::backoff::RetryPolicy;
use crate::admission::breaker::BreakerPolicy;
use crate::admission::remembered::RememberPolicy;
use crate::backend::{ApiVersion, LimitField, SystemPlace};
use crate::chat::{ApiWord, Endpoint, PathPattern};
use crate::policy::Trust;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

pub use added::{body_fields, json_of};
pub use backend_name::BackendName;
pub use concurrency::{AUTO, AutoConcurrency, MaxConcurrency};
pub use health::HealthSettings;
pub use limit_wish::LimitWish;
pub use model_info::ModelInfo;
pub use proxy::{Proxy, ProxyUrl};
pub use scheduling::Scheduling;
pub use served::{KeepAlive, ModelSettings, ServedModels};
pub use timeouts::Timeouts;
pub use tls::{Authorities, Roots, TlsSettings};

/// `[providers.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderSettings {
    /// The API it speaks. In a file, a provider named like a backend need not write it.
    pub backend: BackendName,
    /// The address that the provider's own clients use, `http://` or `https://`. Default by
    /// backend: [`BackendName::base_url`].
    pub base_url: String,
    /// The key sent to it. In a file it causes a warning; after loading it also holds the value of
    /// `api_key_env`. Default empty: none is sent.
    pub api_key: Secret,
    /// The environment variable that holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// The model for requests that name none. Default by backend: [`BackendName::default_model`].
    pub default_model: String,
    /// Whether the operator runs it. Default by backend: [`BackendName::trust`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// Globs of the model names it serves, or settings by globs, with which it serves all. Default
    /// `["*"]`.
    pub models: ServedModels,
    /// The limit of tokens for requests without one, 1 or more. Default 8192 for Anthropic, whose
    /// API requires one, else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_max_tokens: Option<u32>,
    /// The version of the API; for Anthropic only. Default `2023-06-01`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<ApiVersion>,
    /// Whether it is asked to count the tokens of streams; for `openai` only, where some servers
    /// refuse that. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_usage: Option<bool>,
    /// Whether earlier turns are sent with the model's own reasoning; for `openai` only. Default by
    /// its address and the model's name: yes for DeepSeek, Kimi, MiniMax and similar, no for
    /// OpenAI's own models, and for others if the client speaks the same API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_back: Option<bool>,
    /// Whether what a client varies with every call is taken out: the first line of Claude Code's
    /// system texts, which would defeat every prompt cache. Anthropic's own service gets it all the
    /// same. Default true.
    pub drop_volatile: bool,
    /// The field of a chat's body for its priority: 0 for `interactive`, 1 for `batch`, as in vLLM.
    /// Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_field: Option<String>,
    /// What happens to a token limit that it rejects because the prompt leaves less room. Default
    /// `asked`.
    pub max_tokens: LimitWish,
    /// Its name for the token limit; for `openai` only. Default `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens_field: Option<LimitField>,
    /// Where it accepts system texts; for `openai` only. Default `first`, except at api.openai.com.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemPlace>,
    /// The APIs it speaks as their vendors do: requests in one of them are passed on as they came,
    /// all others are translated. Default by backend: [`BackendName::apis`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apis: Option<Vec<ApiWord>>,
    /// The paths below which requests are passed on to it without being understood, as in
    /// `/v1/audio/*`; never those that the gateway serves itself. Default none.
    pub passthrough: Vec<PathPattern>,
    /// Calls at one time, all workers together: 1 to 100 000, or `"auto"`. Default 4, a loaded
    /// Ollama's usual number of parallel requests.
    pub max_concurrency: MaxConcurrency,
    /// The bounds of `max_concurrency = "auto"`.
    pub auto_concurrency: AutoConcurrency,
    /// Requests that may wait for a slot. Default 64; 0: none waits.
    pub max_queue: u32,
    /// How long a request may wait for a slot. Default 30 s, more than 0.
    #[serde(with = "crate::units::duration")]
    pub max_queue_wait: Duration,
    /// What decides about the order of requests for different models. Default by backend: `warm`
    /// for Ollama, else `fair`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// Whether what its prompt cache holds decides about the order of requests. Default true for a
    /// local Ollama or server of OpenAI's API.
    pub remember: Option<bool>,
    /// A request waits at most this many times as long as it would without that. Default 1.5, at
    /// least 1.
    pub remember_wait: f64,
    /// A slot stays free for a conversation that is likely to go on for this part of the time that
    /// it takes to read it again. Default 0.6; 0: not at all.
    pub linger: f64,
    /// Where the order of requests does not follow what it remembers, as in clouds: among equals it
    /// is preferred for a conversation that it remembers, unless its line is longer by more than
    /// this. Default 1 s, at most 10 min; 0: it is not.
    #[serde(with = "crate::units::duration")]
    pub affinity_wait: Duration,
    /// Models that are loaded before anybody asks for them, in this order, as far as they fit; only
    /// where loads are scheduled. Default none.
    pub preload: Vec<String>,
    /// How long each step of a call may take.
    pub timeouts: Timeouts,
    /// When a call is retried.
    pub retry: RetrySettings,
    /// When its breaker opens.
    pub breaker: BreakerSettings,
    /// How its health is checked.
    pub health: HealthSettings,
    /// Which certificate authorities are trusted.
    pub tls: TlsSettings,
    /// The proxy through which it is reached, or `none`. Default empty: the environment's, which is
    /// filled in when the configuration is loaded.
    pub proxy: ProxyUrl,
    /// Further headers of every call, any of which may be a secret. They replace the gateway's
    /// headers of the same name. After loading it also holds the values of `headers_env`. Default
    /// none.
    pub headers: BTreeMap<String, Secret>,
    /// The environment variables that hold headers' values. Default none.
    pub headers_env: BTreeMap<String, String>,
    /// The operator's facts about its models, by patterns of their names. Default none.
    pub models_info: BTreeMap<String, ModelInfo>,
    /// Further fields of every chat's body; the request's own fields take precedence. Default none.
    pub body: toml::Table,
}

/// `retry = { … }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// Further attempts after the first, 0 to 10; more than 2 count as 2, because a request makes
    /// three calls at most. Default 2, as in the official SDKs.
    pub max_retries: u32,
    /// The first backoff is random between zero and this, which doubles each time. Default 500 ms,
    /// more than 0.
    #[serde(with = "crate::units::duration")]
    pub backoff: Duration,
    /// The limit that doubling stops at. Default 8 s, at least `backoff`.
    #[serde(with = "crate::units::duration")]
    pub max_backoff: Duration,
}

/// `breaker = { … }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// Failures in a row that open it, 1 to 1000. Default 5, Envoy's `consecutive_5xx`.
    pub failures: u32,
    /// How long it stays open the first time; this doubles each time. Default 5 s, more than 0.
    #[serde(with = "crate::units::duration")]
    pub open: Duration,
    /// The limit that doubling stops at. Default 120 s, at least `open`.
    #[serde(with = "crate::units::duration")]
    pub max_open: Duration,
}

impl ProviderSettings {
    /// Its address: as written, else the backend's usual one.
    pub fn base_url(&self) -> &str {
        if self.base_url.is_empty() { self.backend.base_url() } else { &self.base_url }
    }

    /// The model for requests that name none; empty when there is no such model.
    pub fn default_model(&self) -> &str {
        if self.default_model.is_empty() {
            self.backend.default_model()
        } else {
            &self.default_model
        }
    }

    /// Its trust: as written, else the backend's usual one.
    pub fn trust(&self) -> Trust {
        self.trust.unwrap_or(self.backend.trust())
    }

    /// The longest wait for a connection: as written, but never above the total.
    pub fn connect(&self) -> Duration {
        self.timeouts.connect.min(self.timeouts.total)
    }

    /// The longest wait for the first event: as written, else by trust; never above the total.
    pub fn first_event(&self) -> Duration {
        let usual = match self.trust() {
            Trust::Local => Duration::from_secs(300),
            Trust::Cloud => Duration::from_secs(60),
        };
        self.timeouts.first_event.unwrap_or(usual).min(self.timeouts.total)
    }

    /// The longest wait for a carried answer that is not streamed: as written, else five times the
    /// wait for a first event; never above the total.
    pub fn whole(&self) -> Duration {
        let usual = self.first_event().saturating_mul(5);
        self.timeouts.whole.unwrap_or(usual).min(self.timeouts.total)
    }

    /// The longest silence between two events: as written, else by trust; never above the total.
    pub fn idle(&self) -> Duration {
        let usual = match self.trust() {
            Trust::Local => Duration::from_secs(120),
            Trust::Cloud => Duration::from_secs(60),
        };
        self.timeouts.idle.unwrap_or(usual).min(self.timeouts.total)
    }

    /// The APIs in which requests are passed on to it: as written, else the usual ones of its kind.
    pub fn apis(&self) -> &[ApiWord] {
        self.apis.as_deref().unwrap_or_else(|| self.backend.apis(self.base_url()))
    }

    /// What decides about the order of requests for different models: as written, else by its kind.
    pub fn scheduling(&self) -> Scheduling {
        self.scheduling.unwrap_or(match self.backend {
            BackendName::Ollama if self.trust() == Trust::Local => Scheduling::Warm,
            BackendName::Ollama
            | BackendName::Gemini
            | BackendName::Openai
            | BackendName::Anthropic => Scheduling::Fair,
        })
    }

    /// Whether requests that were made at `endpoint` are passed on to it as they came.
    pub fn speaks(&self, endpoint: Endpoint) -> bool {
        let has_path = self.backend.spoken().path(endpoint).is_some();
        has_path && self.apis().contains(&endpoint.word())
    }

    /// The same settings with everything that was unset filled in by the methods above.
    #[must_use]
    pub fn resolved(self) -> Self {
        Self {
            base_url: self.base_url().to_owned(),
            default_model: self.default_model().to_owned(),
            trust: Some(self.trust()),
            scheduling: Some(self.scheduling()),
            remember: Some(self.remembers()),
            apis: Some(self.apis().to_vec()).filter(|apis| self.apis.is_some() || !apis.is_empty()),
            timeouts: Timeouts {
                connect: self.connect(),
                first_event: Some(self.first_event()),
                whole: Some(self.whole()),
                idle: Some(self.idle()),
                total: self.timeouts.total,
            },
            ..self
        }
    }
}

impl Default for ProviderSettings {
    fn default() -> Self {
        Self {
            backend: BackendName::default(),
            base_url: String::new(),
            api_key: Secret::default(),
            api_key_env: None,
            default_model: String::new(),
            trust: None,
            models: ServedModels::default(),
            default_max_tokens: None,
            api_version: None,
            stream_usage: None,
            reasoning_back: None,
            drop_volatile: true,
            priority_field: None,
            max_tokens: LimitWish::default(),
            max_tokens_field: None,
            system: None,
            apis: None,
            passthrough: Vec::new(),
            max_concurrency: MaxConcurrency::Fixed(4),
            auto_concurrency: AutoConcurrency::default(),
            max_queue: 64,
            max_queue_wait: Duration::from_secs(30),
            scheduling: None,
            remember: None,
            remember_wait: RememberPolicy::default().wait,
            linger: RememberPolicy::default().linger,
            affinity_wait: Duration::from_secs(1),
            preload: Vec::new(),
            timeouts: Timeouts::default(),
            retry: RetrySettings::default(),
            breaker: BreakerSettings::default(),
            health: HealthSettings::default(),
            tls: TlsSettings::default(),
            proxy: ProxyUrl::default(),
            headers: BTreeMap::new(),
            headers_env: BTreeMap::new(),
            models_info: BTreeMap::new(),
            body: toml::Table::new(),
        }
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        let RetryPolicy { max_retries, backoff, max_backoff } = RetryPolicy::default();
        Self { max_retries, backoff, max_backoff }
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        let BreakerPolicy { failures, open, max_open } = BreakerPolicy::default();
        Self { failures, open, max_open }
    }
}

impl RetrySettings {
    /// The retry policy for the pure code.
    pub fn policy(&self) -> RetryPolicy {
        let Self { max_retries, backoff, max_backoff } = *self;
        RetryPolicy { max_retries, backoff, max_backoff }
    }
}

impl BreakerSettings {
    /// The breaker policy for the pure code.
    pub fn policy(&self) -> BreakerPolicy {
        let Self { failures, open, max_open } = *self;
        BreakerPolicy { failures, open, max_open }
    }
}

#[cfg(test)]
mod tests;
