//! The providers in use, including those that a reload has removed while their calls still run.
//!
//! It carries gates from one configuration to the next. It refuses to keep unused providers: one
//! that was idle when it was removed gets a new gate when it returns.
//!
//! The one thing to know: an older version of a provider may outlive a newer one, because its calls
//! take longer. All versions share one gate, so a name is forgotten only when the gate is no longer
//! in use.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::admission::leases::Leases;
use crate::config::Config;
use crate::provider::Provider;
use crate::provider::settings::ProviderSettings;
use crate::router::Routing;
use crate::router::route::{RoutedProvider, Routes};

/// The latest version of every provider by name.
#[derive(Debug, Default)]
pub struct Providers {
    known: BTreeMap<Arc<str>, Arc<Provider>>,
    /// The number of providers in the latest configuration.
    configured: usize,
    /// The limits that they share with other gateways.
    leases: Option<Arc<Leases>>,
}

impl Providers {
    /// No providers yet; later ones share their limits with other gateways through `leases`.
    pub fn new(leases: Option<Arc<Leases>>) -> Self {
        Self { known: BTreeMap::new(), configured: 0, leases }
    }

    /// The providers and rules of a configuration. It keeps providers whose settings stay the same,
    /// and the gates of those whose settings change.
    pub fn routing(&mut self, config: &Config) -> Routing {
        self.known.retain(|_, provider| is_in_use(provider));
        let mut providers = Vec::new();
        for (name, settings) in &config.providers {
            let known = self.known.get(name.as_str());
            let provider = match known {
                Some(provider) if provider.settings == *settings => Arc::clone(provider),
                Some(_) | None => {
                    let before = known.map(Arc::as_ref);
                    let backend = settings.backend.spoken();
                    let provider = Provider::new(name, settings.clone(), backend, before);
                    if let (None, Some(leases)) = (before, &self.leases) {
                        leases.share(name, &provider.gate);
                    }
                    provider
                }
            };
            self.known.insert(Arc::clone(&provider.name), Arc::clone(&provider));
            providers.push(provider);
        }
        self.configured = providers.len();
        Routing { providers, routes: routes(config) }
    }

    /// Forgets providers that are no longer in use. Returns whether other removed providers are
    /// left.
    pub fn forget(&mut self) -> bool {
        self.known.retain(|_, provider| is_in_use(provider));
        self.known.len() > self.configured
    }
}

/// Says, once at the start of a gateway that knows of no others, for which providers that must be
/// true: those whose loads it schedules.
pub fn say_alone(providers: &[Arc<Provider>]) {
    let scheduled = providers.iter().filter(|provider| provider.schedules_loads());
    let names: Vec<&str> = scheduled.map(|provider| &*provider.name).collect();
    if !names.is_empty() {
        log::info!(
            target: "llm_gateway",
            "without a redis, one gateway per server: this one decides alone what `{}` loads",
            names.join("`, `")
        );
    }
}

/// The routing rules of a configuration.
pub fn routes(config: &Config) -> Routes {
    let routed = |(name, settings): (&String, &ProviderSettings)| RoutedProvider {
        name: Arc::from(name.as_str()),
        trust: settings.trust(),
        default_model: Arc::from(settings.default_model()),
        models: settings.models.globs().to_vec(),
        naming: settings.backend.spoken().naming(),
        passthrough: settings.passthrough.clone(),
        installs_models: settings.backend.installs_models(),
    };
    let providers = config.providers.iter().map(routed).collect();
    Routes::new(providers, &config.routes, &config.hints, &config.default)
}

/// Whether anything but the list itself holds the provider or its gate. Only a holder can pass one
/// on, so an unused provider stays unused.
fn is_in_use(provider: &Arc<Provider>) -> bool {
    Arc::strong_count(provider) > 1 || Arc::strong_count(&provider.gate) > 1
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::admission::Arrival;
    use crate::admission::line::Share;
    use crate::admission::slot::{Admission, Slot};
    use crate::policy::Priority;

    fn with(max_queue: u32) -> Config {
        let mut config = Config::default();
        config.providers["ollama"].max_queue = max_queue;
        config
    }

    fn without() -> Config {
        let mut config = Config::default();
        let settings = config.providers.shift_remove("ollama").unwrap();
        config.providers.insert("other".to_owned(), settings);
        config
    }

    fn started(routing: &Routing) -> Slot {
        let share = Share { caller: Arc::from("a"), weight: 1, priority: Priority::Interactive };
        let deadline = Instant::now() + Duration::from_secs(600);
        let arrival = Arrival::new(share, Arc::from("m"), deadline);
        match routing.provider("ollama").unwrap().gate.admit(arrival) {
            Admission::Run(slot) => slot,
            other => panic!("{other:?}"),
        }
    }

    fn in_flight(routing: &Routing) -> u32 {
        routing.provider("ollama").unwrap().gate.snapshot().in_flight
    }

    #[test]
    fn a_provider_that_returns_while_calls_run_keeps_its_gate() {
        let mut providers = Providers::default();
        let first = providers.routing(&with(1));
        let oldest = started(&first);
        let second = providers.routing(&with(2));
        let older = started(&second);
        drop((first, second, providers.routing(&without())));
        // Neither a reload in between nor the end of the newer version's call makes it forget.
        drop((older, providers.routing(&without())));
        let back = providers.routing(&with(3));
        assert_eq!(in_flight(&back), 1);
        assert_eq!(back.provider("ollama").unwrap().gate.limits().max_queue, 3);
        drop(oldest);
        assert_eq!(in_flight(&back), 0);
    }

    #[test]
    fn a_removed_provider_is_forgotten_once_its_last_call_has_ended() {
        let mut providers = Providers::default();
        let slot = started(&providers.routing(&with(1)));
        let present = providers.routing(&without());
        assert!(providers.forget(), "one of its calls still runs");
        drop(slot);
        assert!(!providers.forget());
        let known: Vec<&str> = providers.known.keys().map(|name| &**name).collect();
        assert_eq!(known, ["other"]);
        drop(present);
    }

    #[test]
    fn a_provider_that_returns_without_calls_gets_a_new_gate() {
        let mut providers = Providers::default();
        drop(started(&providers.routing(&with(1))));
        drop(providers.routing(&without()));
        let back = providers.routing(&with(1));
        assert_eq!(back.provider("ollama").unwrap().gate.snapshot().granted, 0);
    }
}
