//! What is in force, which is not always what the configuration says: limits change at run time,
//! and some keys take effect only with the next start.
//!
//! It owns the list of those keys, and puts together what operators are shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::admin;
use crate::admission::concurrency::Concurrency;
use crate::config::{self, Config, Effective, Instead, Reason, Sources};
use crate::provider::Provider;
use crate::provider::settings::MaxConcurrency;
use crate::telemetry::journal::JOURNAL;

/// Copies a key from one configuration to another.
type Copy = fn(&mut Config, &Config);

/// The keys that take effect only with the next start.
const WITH_THE_NEXT_START: [(&str, Copy); 8] = [
    ("server.listen", |to, from| to.server.listen = from.server.listen),
    ("server.workers", |to, from| to.server.workers = from.server.workers),
    ("server.write_stall", |to, from| to.server.write_stall = from.server.write_stall),
    ("admin.listen", |to, from| to.admin.listen = from.admin.listen),
    ("admin.token", |to, from| to.admin.token = from.admin.token.clone()),
    ("redis", |to, from| to.redis = from.redis.clone()),
    ("log.format", |to, from| to.log.format = from.log.format),
    ("otel", |to, from| to.otel = from.otel.clone()),
];

/// The keys of a configuration that wait for the next start of a gateway that `started` otherwise.
pub(super) fn with_the_next_start(started: &Config, config: &Config) -> Vec<&'static str> {
    let waits = |(key, copy): &(&'static str, Copy)| {
        let mut now = config.clone();
        copy(&mut now, started);
        (now != *config).then_some(*key)
    };
    WITH_THE_NEXT_START.iter().filter_map(waits).collect()
}

/// The limits that were changed at run time: their keys, and what is in force and configured.
pub(super) fn patched(config: &Config, providers: &[Arc<Provider>]) -> Vec<config::Change> {
    config::changes(config, &with_limits_in_force(config, providers))
}

/// What a gateway that `started` with another configuration makes of this one.
pub(super) fn shown(
    config: &Config,
    started: &Config,
    sources: &Sources,
    providers: &[Arc<Provider>],
    file: Option<&str>,
) -> admin::Effective {
    let mut in_force = with_limits_in_force(config, providers);
    let mut instead = BTreeMap::new();
    let mut note = |change: config::Change, reason| {
        let configured = change.before.unwrap_or_else(|| "none".into());
        instead.insert(change.key, Instead { reason, configured });
    };
    config::changes(config, &in_force).into_iter().for_each(|it| note(it, Reason::Patch));
    let patched = in_force.clone();
    WITH_THE_NEXT_START.iter().for_each(|(_, copy)| copy(&mut in_force, started));
    config::changes(&patched, &in_force).into_iter().for_each(|it| note(it, Reason::NextStart));
    let effective = Effective { config: &in_force, sources, instead };
    let problems = JOURNAL.configuration().problems;
    let mut text =
        "# In force. A comment says where a value is from, and none that it is the default.\n"
            .to_owned();
    if let Some(file) = file {
        text += &format!("# The file is {file}.\n");
    }
    for problem in &problems {
        text +=
            &format!("# It is refused as it is now: {}\n", problem.replace(char::is_control, " "));
    }
    text += &effective.text();
    let settings = effective.settings();
    let json = json!({"file": file, "problems": problems, "settings": settings});
    admin::Effective { text, json }
}

fn with_limits_in_force(config: &Config, providers: &[Arc<Provider>]) -> Config {
    let mut in_force = config.clone();
    for provider in providers {
        let (now, configured) = (provider.gate.limits(), provider.configured_limits());
        let Some(settings) = in_force.providers.get_mut(&*provider.name) else { continue };
        if now.max_concurrency != configured.max_concurrency {
            settings.max_concurrency = match now.max_concurrency {
                Concurrency::Fixed(most) => MaxConcurrency::Fixed(most),
                Concurrency::Auto { .. } => MaxConcurrency::Auto,
            };
        }
        if now.max_queue != configured.max_queue {
            settings.max_queue = now.max_queue;
        }
        if now.max_queue_wait != configured.max_queue_wait {
            settings.max_queue_wait = now.max_queue_wait;
        }
    }
    in_force
}
