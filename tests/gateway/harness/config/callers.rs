//! `[[keys]]` and `[[routes]]`.

use llm_gateway::policy::{DataPolicy, OnCut, Priority};

use super::table::{Names, table};

table! {
    /// A key.
    Key {
        name: String,
        key: String,
        env: String,
        models: Names,
        providers: Names,
        expires: toml::Value,
        ;
        priority: Priority,
        data_policy: DataPolicy,
        weight: u32,
        manage_models: bool,
        rate: Rate,
        tokens_per_minute: u64,
        tokens_per_day: u64,
        max_concurrency: u32,
    }
}

table! {
    /// A rate of requests or failures.
    Rate {

        ;
        capacity: u32,
        refill_per_second: f64,
    }
}

table! {
    /// A route.
    Route {
        model: String,
        targets: Vec<Target>,
        fallback: Vec<Target>,
        ;
        on_cut: OnCut,
    }
}

table! {
    /// A target of a route.
    Target {
        provider: String,
        model: String,
        ;
        weight: u32,
        context: u64,
    }
}

impl Key {
    /// A key of this name, whose secret is `sk-` and its name.
    pub fn new(name: &str) -> Self {
        Self::default().name(name).key(format!("sk-{name}"))
    }
}

impl Rate {
    /// At most so many at once, and so many a second in the long run.
    pub fn of(capacity: u32, refill_per_second: f64) -> Self {
        Self::default().capacity(capacity).refill_per_second(refill_per_second)
    }
}

impl Route {
    /// A route for this model to these targets.
    pub fn new(model: &str, targets: impl Into<Vec<Target>>) -> Self {
        Self::default().model(model).targets(targets)
    }
}

impl Target {
    /// This model at this provider.
    pub fn new(provider: &str, model: &str) -> Self {
        Self::at(provider).model(model)
    }

    /// The requested model at this provider.
    pub fn at(provider: &str) -> Self {
        Self::default().provider(provider)
    }
}
