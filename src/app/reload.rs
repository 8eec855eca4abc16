//! The configuration in force, and how another takes its place.
//!
//! It owns what is known of the file and of the listeners, and the one way by which a configuration changes, whoever asks
//! for it: an operator, a signal, the watch on the file. It refuses what [`config::load_again`] refuses; then the old
//! one stays, whole.
//!
//! The one thing to know: the file that was read when the gateway started is the one that is read ever after.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_rt::task::JoinHandle;
use actix_rt::time::sleep;
use actix_web::web::Data;
use parking_lot::Mutex;

use super::providers::Providers;
use super::{Source, watch};
use crate::config::{
    self, Again, Before, Bound, Config, Fingerprint, Loaded, Overridden, Problems,
};
use crate::http::Front;
use crate::provider::{HealthActor, Watch};

/// How often it is looked whether the last call of a provider that was taken out has ended.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// What a running gateway may change.
pub(super) struct Current {
    pub(super) front: Data<Front>,
    pub(super) in_force: Mutex<InForce>,
    pub(super) bound: Bound,
    /// Never locked for longer than it takes to look through them.
    pub(super) providers: Arc<Mutex<Providers>>,
    pub(super) health: Addr<HealthActor>,
}

/// The configuration in force.
pub(super) struct InForce {
    pub(super) config: Config,
    /// `None` where there is nothing to read.
    pub(super) source: Option<Source>,
    /// What the file was when it was last looked at, whatever came of it.
    pub(super) tried: Fingerprint,
}

impl InForce {
    /// What a gateway starts with.
    pub(super) fn new(config: Config, source: Option<Source>) -> Self {
        let tried = source.as_ref().map(|source| source.read.fingerprint.clone());
        Self { config, source, tried: tried.unwrap_or_default() }
    }

    /// The file to look at, and what it was when it was looked at last; none where it cannot be read again.
    fn watched(&self) -> Option<(PathBuf, Fingerprint)> {
        let read = &self.source.as_ref()?.read;
        let file = read.file.clone().filter(|_| read.is_kept)?;
        Some((file, self.tried.clone()))
    }
}

impl Current {
    /// Reads the configuration again.
    ///
    /// # Errors
    ///
    /// The problems, one per line; the old configuration stays.
    pub(super) fn reload(&self) -> Result<(), String> {
        self.read_again(None)
    }

    /// The configuration in force, secrets masked.
    pub(super) fn effective(&self) -> String {
        config::effective(&self.in_force.lock().config)
    }

    /// Reads the configuration again whenever its file has changed.
    pub(super) fn watch(self: &Arc<Self>) -> JoinHandle<()> {
        let (looking, reading) = (Arc::clone(self), Arc::clone(self));
        let watched = move || looking.in_force.lock().watched();
        // What is wrong with the file is in the log; the old configuration stays.
        let reload = move |seen: Fingerprint| drop(reading.read_again(Some(&seen)));
        actix_rt::spawn(watch::watch(watched, reload))
    }

    /// `seen` is what the file was when it had come to rest; when it is something else by now, it is left alone.
    fn read_again(&self, seen: Option<&Fingerprint>) -> Result<(), String> {
        // One reload at a time, and none sees half of another.
        let mut in_force = self.in_force.lock();
        let InForce { config, source, tried } = &mut *in_force;
        let Some(source) = source else {
            return Err("error: this gateway runs without a configuration file".to_owned());
        };
        let before = Before { config, read: &source.read, bound: self.bound };
        // The process's own variables never change; those of `.env` do.
        let environment = config::read_environment();
        let again = config::load_again(source.explicit.as_deref(), before, environment);
        let Again { fingerprint, outcome } = again;
        if seen.is_some_and(|seen| *seen != fingerprint) {
            return Ok(());
        }
        *tried = fingerprint;
        let loaded = outcome.map_err(|problems| refused(&problems))?;
        let before = std::mem::replace(config, loaded.config.clone());
        source.read = loaded.read.clone();
        self.take_up(&before, &loaded);
        Ok(())
    }

    /// Puts another configuration in the place of the one before.
    fn take_up(&self, before: &Config, loaded: &Loaded) {
        let after = &loaded.config;
        for warning in &loaded.warnings {
            log::warn!(target: "llm_gateway", "{warning}");
        }
        for Overridden { key, variable } in &loaded.overridden {
            log::warn!(target: "llm_gateway", "{key} has changed in the file and counts for nothing: {variable} sets it");
        }
        for key in with_the_next_start(before, after) {
            log::warn!(target: "llm_gateway", "{key} changes with the next start");
        }
        if after.keys.is_empty() && !before.keys.is_empty() {
            let bound = self.bound.main;
            log::warn!(target: "llm_gateway", "there are no keys any more: whoever reaches {bound} may call");
        }
        let routing = Arc::new(self.providers.lock().routing(after));
        self.health.do_send(Watch(routing.providers.clone()));
        self.front.change(&after.server, &after.auth, &after.keys, &after.cache, routing);
        drop(actix_rt::spawn(forget(Arc::clone(&self.providers))));
        log::info!(target: "llm_gateway", "the configuration was read again");
    }
}

fn refused(problems: &Problems) -> String {
    log::error!(target: "llm_gateway", "the configuration is refused and the old one stays:\n{problems}");
    problems.to_string()
}

/// The keys that differ and take effect with the next start only.
fn with_the_next_start(before: &Config, after: &Config) -> Vec<&'static str> {
    let keys = [
        ("server.listen", after.server.listen != before.server.listen),
        ("server.workers", after.server.workers != before.server.workers),
        ("server.write_stall", after.server.write_stall != before.server.write_stall),
        ("admin.listen", after.admin.listen != before.admin.listen),
        ("admin.token", after.admin.token != before.admin.token),
        ("redis", after.redis != before.redis),
        ("log.format", after.log.format != before.log.format),
        ("otel", after.otel != before.otel),
    ];
    keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

/// Forgets the providers that a reload has taken out. What is known of them here keeps their part of a limit that
/// gateways share, which the others could use.
async fn forget(providers: Arc<Mutex<Providers>>) {
    loop {
        // Whoever held them is told of the change at this very moment.
        sleep(FORGET_EVERY).await;
        if !providers.lock().forget() {
            return;
        }
    }
}
