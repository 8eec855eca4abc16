//! What `llm-gateway check` says of a configuration that has no problems.
//!
//! It owns the words. The problems are those of [`crate::config::load`].

use futures_util::future::join_all;

use super::providers::Providers;
use super::routed;
use crate::config::{Config, Effective, Loaded};
use crate::provider::reach;

/// What a provider said when it was asked.
#[derive(Debug)]
pub struct Asked {
    /// A line about it.
    pub line: String,
    /// Whether it would serve requests.
    pub is_well: bool,
}

/// That all is well, in a line.
#[must_use]
pub fn summary(loaded: &Loaded) -> String {
    let Config { providers, keys, routes, .. } = &loaded.config;
    let file = loaded.read.file.as_ref();
    let file = file.map_or("built-in defaults".to_owned(), |file| file.display().to_string());
    let many = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    };
    let callers = match keys.len() {
        0 => "no keys: anybody may call".to_owned(),
        count => many(count, "key"),
    };
    let parts = [many(providers.len(), "provider"), callers, many(routes.len(), "route")];
    format!("ok: {file}: {}\n", parts.join(", "))
}

/// Everything that would be in force, where it is from, and who answers to which name.
#[must_use]
pub fn everything(loaded: &Loaded) -> String {
    let (config, sources) = (&loaded.config, &loaded.sources);
    let effective = Effective { config, sources, instead: Default::default() };
    format!("{}\n{}", effective.text(), routed::table(config))
}

/// Asks every provider whether it answers; takes some seconds at most. Must be called within a
/// running actix system.
pub async fn ask(config: &Config) -> Vec<Asked> {
    let routing = Providers::new(None).routing(config);
    let ask = async |provider| {
        let reached = reach(provider).await;
        let url = provider.settings.base_url();
        let line = format!("{} at {url}: {}", provider.name, reached.words(provider));
        Asked { line, is_well: reached.is_well() }
    };
    join_all(routing.providers.iter().map(ask)).await
}
