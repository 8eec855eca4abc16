//! `[providers.NAME]`.

use llm_gateway::policy::Trust;
use toml::Value;

use super::table::{Names, table};
use crate::upstream::Upstream;

table! {
    /// A provider. Durations are as in TOML, such as `"500ms"`.
    Provider {
        #[serde(skip)]
        name: String,
        backend: String,
        base_url: String,
        default_model: String,
        api_key: String,
        api_key_env: String,
        models: Names,
        /// Instead of `models`: the settings of single models.
        #[serde(rename = "models")]
        model_settings: toml::Table,
        models_info: toml::Table,
        apis: Names,
        passthrough: Names,
        preload: Names,
        max_concurrency: Value,
        max_queue_wait: String,
        priority_field: String,
        affinity_wait: String,
        scheduling: String,
        system: String,
        max_tokens: String,
        api_version: String,
        proxy: String,
        headers: toml::Table,
        headers_env: toml::Table,
        body: toml::Table,
        ;
        remember: bool,
        auto_concurrency: AutoConcurrency,
        trust: Trust,
        max_queue: usize,
        stream_usage: bool,
        drop_volatile: bool,
        default_max_tokens: u32,
        retry: Retry,
        breaker: Breaker,
        timeouts: Timeouts,
        health: Health,
        tls: Tls,
    }
}

table! {
    /// `auto_concurrency`.
    AutoConcurrency {
        ;
        min: u32,
        max: u32,
    }
}

table! {
    /// `retry`.
    Retry {
        backoff: String,
        max_backoff: String,
        ;
        max_retries: u32,
    }
}

table! {
    /// `breaker`.
    Breaker {
        open: String,
        max_open: String,
        ;
        failures: u32,
    }
}

table! {
    /// `timeouts`.
    Timeouts {
        connect: String,
        first_event: String,
        whole: String,
        idle: String,
        total: String,
    }
}

table! {
    /// `health`.
    Health {
        interval: String,
        recovery: String,
        timeout: String,
        ;
        failures: u32,
    }
}

table! {
    /// `tls`.
    Tls {
        ca_file: String,
        roots: String,
    }
}

impl Provider {
    /// A provider of this name and backend at this address.
    pub fn new(name: &str, backend: &str, base_url: impl Into<String>) -> Self {
        let provider = Self::default().name(name).backend(backend).base_url(base_url);
        provider.default_model("llama3.1")
    }

    /// The provider `ollama` in front of this upstream.
    pub fn ollama(upstream: &Upstream) -> Self {
        Self::new("ollama", "ollama", upstream.url())
    }

    /// A provider that speaks OpenAI's API, at this upstream's `/v1`.
    pub fn openai(name: &str, upstream: &Upstream) -> Self {
        Self::new(name, "openai", format!("{}/v1", upstream.url()))
    }

    /// Allows at most so many calls at one time.
    pub fn slots(self, count: usize) -> Self {
        self.max_concurrency(i64::try_from(count).unwrap())
    }

    /// Finds out how many calls to allow at one time.
    pub fn adaptive(self, min: u32, max: u32) -> Self {
        self.max_concurrency("auto").auto_concurrency(AutoConcurrency::default().min(min).max(max))
    }

    /// Makes no second attempt.
    pub fn no_retries(self) -> Self {
        self.retry(Retry::default().max_retries(0))
    }

    /// Its name in the configuration.
    pub fn key(&self) -> &str {
        self.name.as_deref().unwrap()
    }
}
