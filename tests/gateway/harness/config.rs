//! A configuration as tests write it: typed sections that become TOML.
//!
//! Owns the names of the keys, so that a misspelt one does not compile. A key that is not set is
//! not written, so that the gateway's own default holds. Tests that are about the text of a
//! configuration, such as a broken one, write TOML themselves.
//!
//! What a reader would get wrong: a [`Provider`] alone is a whole configuration too, and
//! [`Provider::new`] sets `default_model` to `llama3.1`.

mod callers;
mod provider;
mod sections;
mod table;

use std::fmt;

use serde::Serialize;

pub use callers::{Key, Rate, Route, Target};
pub use provider::{Breaker, Health, Provider, Retry, Timeouts, Tls};
pub use sections::{Auth, Cache, Otel, RedisSection, Server};
pub use table::Names;

/// A configuration. Printing it writes TOML.
#[derive(Clone, Debug, Default)]
pub struct Config {
    server: Option<Server>,
    auth: Option<Auth>,
    admin_token: Option<String>,
    keys: Vec<Key>,
    providers: Vec<Provider>,
    routes: Vec<Route>,
    hints: Vec<(String, Names)>,
    default: Option<Names>,
    cache: Option<Cache>,
    redis: Option<RedisSection>,
    otel: Option<Otel>,
}

impl Config {
    /// A configuration in which nothing is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `[server]`.
    pub fn server(mut self, server: Server) -> Self {
        self.server = Some(server);
        self
    }

    /// Sets `[auth]`.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// Sets `admin.token`.
    pub fn admin_token(mut self, token: impl Into<String>) -> Self {
        self.admin_token = Some(token.into());
        self
    }

    /// Adds a key.
    pub fn key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// Adds keys.
    pub fn keys(mut self, keys: impl IntoIterator<Item = Key>) -> Self {
        self.keys.extend(keys);
        self
    }

    /// Adds a provider after those that are there.
    pub fn provider(mut self, provider: Provider) -> Self {
        self.providers.push(provider);
        self
    }

    /// Adds providers after those that are there.
    pub fn providers(mut self, providers: impl IntoIterator<Item = Provider>) -> Self {
        self.providers.extend(providers);
        self
    }

    /// Adds a route after those that are there.
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Adds routes after those that are there.
    pub fn routes(mut self, routes: impl IntoIterator<Item = Route>) -> Self {
        self.routes.extend(routes);
        self
    }

    /// Sets the providers of a hint.
    pub fn hint(mut self, hint: &str, providers: impl Into<Names>) -> Self {
        self.hints.push((hint.to_owned(), providers.into()));
        self
    }

    /// Sets `default.providers`.
    pub fn default_providers(mut self, providers: impl Into<Names>) -> Self {
        self.default = Some(providers.into());
        self
    }

    /// Sets `[cache]`.
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Sets `[redis]`.
    pub fn redis(mut self, redis: RedisSection) -> Self {
        self.redis = Some(redis);
        self
    }

    /// Sets `[otel]`.
    pub fn otel(mut self, otel: Otel) -> Self {
        self.otel = Some(otel);
        self
    }

    fn table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        set(&mut table, "server", self.server.as_ref());
        set(&mut table, "auth", self.auth.as_ref());
        let admin = self.admin_token.as_ref().map(|token| one("token", token));
        set(&mut table, "admin", admin.as_ref());
        set(&mut table, "keys", Some(&self.keys).filter(|keys| !keys.is_empty()));
        let mut providers = toml::Table::new();
        for provider in &self.providers {
            set(&mut providers, provider.key(), Some(provider));
        }
        set(&mut table, "providers", Some(&providers).filter(|table| !table.is_empty()));
        set(&mut table, "routes", Some(&self.routes).filter(|routes| !routes.is_empty()));
        let mut hints = toml::Table::new();
        for (hint, providers) in &self.hints {
            set(&mut hints, hint, Some(providers));
        }
        set(&mut table, "hints", Some(&hints).filter(|table| !table.is_empty()));
        let default = self.default.as_ref().map(|providers| one("providers", providers));
        set(&mut table, "default", default.as_ref());
        set(&mut table, "cache", self.cache.as_ref());
        set(&mut table, "redis", self.redis.as_ref());
        set(&mut table, "otel", self.otel.as_ref());
        table
    }
}

impl fmt::Display for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(formatter)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Config::new().provider(self.clone()).fmt(formatter)
    }
}

/// Sets a key, which must not be set yet, if there is a value.
fn set(table: &mut toml::Table, key: &str, value: Option<&impl Serialize>) {
    if let Some(value) = value {
        let before = table.insert(key.to_owned(), toml::Value::try_from(value).unwrap());
        assert_eq!(before, None, "`{key}` is set twice");
    }
}

/// A table with one key.
fn one(key: &str, value: &impl Serialize) -> toml::Table {
    let mut table = toml::Table::new();
    set(&mut table, key, Some(value));
    table
}
