//! The configuration in force, and its replacement by another.
//!
//! It owns the state of the file and of the listeners, and the only way in which a configuration
//! changes, whether an operator, a signal or the watch on the file asks for it. It refuses what
//! [`config::reload`] refuses; then all of the old one stays.
//!
//! The one thing to know: every reload reads the file that was read when the gateway started.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_rt::task::JoinHandle;
use actix_rt::time::sleep;
use actix_web::web::Data;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::providers::Providers;
use super::{Source, in_force, watch};
use crate::admin::{Effective, Reloaded};
use crate::config::{self, Again, Before, Bound, Config, Fingerprint, Loaded, Sources};
use crate::http::Front;
use crate::provider::{HealthActor, LoadsActor, Tend, Watch};
use crate::telemetry::{ConfigRead, ConfigRefused};

/// How often it checks whether the last call of a removed provider has ended.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// The parts of a running gateway that a reload may change.
pub(super) struct Current {
    pub(super) front: Data<Front>,
    pub(super) in_force: Mutex<InForce>,
    pub(super) bound: Bound,
    /// Locked only briefly, to go through them once.
    pub(super) providers: Arc<Mutex<Providers>>,
    pub(super) health: Addr<HealthActor>,
    pub(super) loads: Addr<LoadsActor>,
}

/// The configuration in force.
pub(super) struct InForce {
    pub(super) config: Config,
    /// The configuration with which the gateway started.
    started: Config,
    /// `None` if there is nothing to read.
    pub(super) source: Option<Source>,
    /// The file's fingerprint when it was last read, whatever the result.
    pub(super) tried: Fingerprint,
    /// Its fingerprint when it was last refused, and the problems; `None` once another was
    /// accepted.
    pub(super) refused: Option<(Fingerprint, Vec<String>)>,
}

impl InForce {
    /// The configuration with which a gateway starts.
    pub(super) fn new(config: Config, source: Option<Source>) -> Self {
        let tried = source.as_ref().map(|source| source.read.fingerprint.clone());
        let started = config.clone();
        Self { config, started, source, tried: tried.unwrap_or_default(), refused: None }
    }

    /// Reads the configuration again.
    fn read_again(&self, bound: Bound) -> Result<Again, Vec<String>> {
        let Some(source) = &self.source else {
            return Err(vec!["error: this gateway runs without a configuration file".to_owned()]);
        };
        let before = Before { config: &self.config, read: &source.read, bound };
        // The process's own variables never change; those in `.env` may.
        let environment = config::read_environment();
        Ok(config::reload(source.explicit.as_deref(), before, environment))
    }

    /// The file to watch, and its fingerprint when it was last read; `None` if it cannot be read
    /// again.
    fn watched(&self) -> Option<(PathBuf, Fingerprint)> {
        let read = &self.source.as_ref()?.read;
        let file = read.file.clone().filter(|_| read.is_kept)?;
        Some((file, self.tried.clone()))
    }
}

impl Current {
    /// Reads the configuration again on request.
    ///
    /// # Errors
    ///
    /// The problems; the old configuration stays.
    pub(super) fn reload(&self) -> Result<Reloaded, Vec<String>> {
        // Only one reload runs at a time, and none sees half of another.
        let mut in_force = self.in_force.lock();
        let again = in_force.read_again(self.bound)?;
        self.decide(&mut in_force, again)
    }

    /// The configuration in force, secrets masked.
    pub(super) fn effective(&self) -> Effective {
        let in_force = self.in_force.lock();
        let InForce { config, started, source, .. } = &*in_force;
        let file = source.as_ref().and_then(|source| source.read.file.as_ref());
        let file = file.map(|file| file.display().to_string());
        let nowhere = Sources::default();
        let sources = source.as_ref().map_or(&nowhere, |source| &source.sources);
        let providers = &self.front.routing().providers;
        in_force::shown(config, started, sources, providers, file.as_deref())
    }

    /// Reads the configuration again whenever its file has changed.
    pub(super) fn watch(self: &Arc<Self>) -> JoinHandle<()> {
        let (looking, reading) = (Arc::clone(self), Arc::clone(self));
        let watched = move || looking.in_force.lock().watched();
        let reload = move |seen: Fingerprint| reading.reload_as_seen(&seen);
        actix_rt::spawn(watch::watch(watched, reload))
    }

    /// Reads the configuration again if the file is still as `seen`. Otherwise it is being written,
    /// and the watch will see its final state.
    fn reload_as_seen(&self, seen: &Fingerprint) {
        let mut in_force = self.in_force.lock();
        if let Ok(again) = in_force.read_again(self.bound)
            && again.fingerprint == *seen
        {
            // `decide` has logged the problems; the old configuration stays.
            drop(self.decide(&mut in_force, again));
        }
    }

    /// Accepts the configuration that was read, or logs why not.
    fn decide(&self, in_force: &mut InForce, again: Again) -> Result<Reloaded, Vec<String>> {
        let Again { fingerprint, outcome } = again;
        in_force.tried = fingerprint.clone();
        let Loaded { config: after, read, sources, warnings, overridden } = match outcome {
            Ok(loaded) => loaded,
            Err(problems) => {
                let problems: Vec<String> =
                    problems.to_string().lines().map(str::to_owned).collect();
                let told = Some((fingerprint, problems.clone()));
                let is_known = in_force.refused == told;
                in_force.refused = told;
                ConfigRefused { problems: &problems, is_known }.emit();
                return Err(problems);
            }
        };
        in_force.refused = None;
        if let Some(source) = &mut in_force.source {
            source.read = read;
            source.sources = sources;
        }
        let overridden = overridden.into_iter().map(|one| (one.key, one.variable)).collect();
        let next_start = in_force::with_the_next_start(&in_force.started, &after);
        let warnings = warnings.iter().map(ToString::to_string).collect();
        let before = std::mem::replace(&mut in_force.config, after);
        let changes = config::changes(&before, &in_force.config);
        let changed = changes.iter().map(|change| json!(change)).collect();
        let mut reloaded =
            Reloaded { warnings, changed, overridden, next_start, ..Reloaded::default() };
        let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
        self.take_up(&before, &in_force.config, &reloaded, &words);
        let patched = in_force::patched(&in_force.config, &self.front.routing().providers);
        reloaded.patched = patched.iter().map(patched_json).collect();
        Ok(reloaded)
    }

    /// Replaces the configuration before by the one after.
    fn take_up(&self, before: &Config, after: &Config, reloaded: &Reloaded, changed: &[String]) {
        for warning in &reloaded.warnings {
            log::warn!(target: "llm_gateway", "{warning}");
        }
        if after.keys.is_empty() && !before.keys.is_empty() {
            let bound = self.bound.main;
            log::warn!(target: "llm_gateway", "there are no keys any more: whoever reaches {bound} may call");
        }
        let routing = Arc::new(self.providers.lock().routing(after));
        self.health.do_send(Watch(routing.providers.clone()));
        self.loads.do_send(Tend(routing.providers.clone()));
        self.front.change(
            &after.server,
            &after.auth,
            &after.keys,
            (&after.cache, &after.responses),
            routing,
        );
        drop(actix_rt::spawn(forget(Arc::clone(&self.providers))));
        let Reloaded { overridden, next_start, .. } = reloaded;
        ConfigRead { is_again: true, changed, overridden, next_start }.emit();
    }
}

/// A limit that was changed at run time, which the configuration has otherwise.
fn patched_json(change: &config::Change) -> Value {
    json!({"key": change.key, "value": change.after, "configured": change.before})
}

/// Forgets the providers that a reload has removed. Until then they hold this gateway's part of a
/// limit that gateways share, which the other gateways could use.
async fn forget(providers: Arc<Mutex<Providers>>) {
    loop {
        // Calls and actors that hold them hear of the change only now.
        sleep(FORGET_EVERY).await;
        if !providers.lock().forget() {
            return;
        }
    }
}
