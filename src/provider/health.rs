//! Health checks: asks providers whether they work, once for the whole process.
//!
//! It owns when a provider is asked and how: by its list of models, which costs nothing, loads
//! nothing and contains no client's prompt or key. The list also fills the provider's catalogue.
//! The gate decides what a check means.
//!
//! The one thing to know: there is one [`HealthActor`] per process, not one per worker.

use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, SpawnHandle};

use super::Provider;
use super::client::Client;
use super::discovery;
use super::station::Station;
use crate::admission::gate::health_checks::{Check, Health};
use crate::chat::Listing;
use crate::telemetry::{HealthChanged, HealthChecked};

/// Checks all providers, each when it is due.
#[derive(Default)]
pub struct HealthActor {
    watched: HashMap<Arc<str>, Watched>,
}

/// Replaces the list of providers.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Watch(pub Vec<Arc<Provider>>);

/// One provider that is checked periodically.
struct Watched {
    provider: Arc<Provider>,
    /// Created when first needed: most providers never break.
    station: Option<Rc<Station>>,
    timer: SpawnHandle,
    asked: Instant,
    /// Upgradable while a check runs.
    running: Weak<()>,
}

impl HealthActor {
    /// Starts the actor on this thread.
    #[must_use]
    pub fn start_with(providers: Vec<Arc<Provider>>) -> Addr<Self> {
        let health = Self::default().start();
        health.do_send(Watch(providers));
        health
    }

    /// Checks the provider if that is due, and schedules the next tick.
    fn tick(&mut self, name: &Arc<str>, context: &mut Context<Self>) {
        let Some(watched) = self.watched.get_mut(name) else { return };
        let Some(pace) = pace(&watched.provider) else { return };
        // Jitter, so that the checks of many gateways do not coincide at the provider.
        let next = pace.mul_f64(0.9 + 0.2 * fastrand::f64());
        watched.timer = later(Arc::clone(name), next, context);
        // A check may be half a pace early, because the ticks have jitter.
        if watched.is_due(Instant::now() + pace / 2) {
            watched.ask();
        }
    }
}

impl Actor for HealthActor {
    type Context = Context<Self>;
}

impl Handler<Watch> for HealthActor {
    type Result = ();

    fn handle(&mut self, Watch(providers): Watch, context: &mut Self::Context) {
        self.watched.retain(|_, watched| {
            let stays = providers.iter().any(|provider| Arc::ptr_eq(provider, &watched.provider));
            if !stays {
                context.cancel_future(watched.timer);
            }
            stays
        });
        for provider in providers {
            let Some(pace) = pace(&provider) else { continue };
            let name = Arc::clone(&provider.name);
            self.watched.entry(Arc::clone(&name)).or_insert_with(|| {
                let timer = later(name, pace.mul_f64(fastrand::f64()), context);
                let (station, running) = (None, Weak::new());
                Watched { provider, station, timer, asked: Instant::now(), running }
            });
        }
    }
}

impl Watched {
    /// Whether a check is due now and none is running.
    fn is_due(&self, now: Instant) -> bool {
        let settings = &self.provider.settings.health;
        let since = now.saturating_duration_since(self.asked);
        let is_over = |pace: Duration| !pace.is_zero() && since >= pace;
        let is_due = is_over(settings.interval)
            || (is_over(settings.recovery) && self.provider.gate.is_left_alone());
        is_due && self.running.upgrade().is_none()
    }

    fn ask(&mut self) {
        self.asked = Instant::now();
        let provider = &self.provider;
        let station = self.station.get_or_insert_with(|| {
            let client = Client::new(provider);
            Rc::new(Station { provider: Arc::clone(provider), client })
        });
        let (station, running) = (Rc::clone(station), Rc::new(()));
        self.running = Rc::downgrade(&running);
        drop(actix::spawn(async move {
            check(&station).await;
            drop(running);
        }));
    }
}

/// The interval between ticks; `None` when the provider is never checked.
fn pace(provider: &Provider) -> Option<Duration> {
    let settings = &provider.settings.health;
    [settings.interval, settings.recovery].into_iter().filter(|pace| !pace.is_zero()).min()
}

fn later(name: Arc<str>, after: Duration, context: &mut Context<HealthActor>) -> SpawnHandle {
    context.run_later(after, move |actor, context| actor.tick(&name, context))
}

/// Makes one check and reports the result to the gate.
async fn check(station: &Station) {
    let provider = &station.provider;
    let settings = &provider.settings.health;
    let asked = tokio::time::timeout(settings.timeout, discovery::ask(station, Listing::Installed));
    let (check, why) = match asked.await {
        Ok(Ok(models)) => {
            provider.catalogue.list(Listing::Installed).heard(models, Instant::now());
            (Check::Passed, None)
        }
        // The provider is up, even if it does not list its models to us.
        Ok(Err(error)) if error.is_alive => (Check::Passed, None),
        Ok(Err(error)) => (Check::Failed, Some(error.why)),
        Err(_) => (Check::Failed, Some("no answer in time".to_owned())),
    };
    if let Some(why) = &why {
        provider.failed(&format!("health check: {why}"));
    }
    HealthChecked { provider: &provider.name, passed: check == Check::Passed }.emit();
    let cause = why.as_ref().map(|why| Arc::from(format!("its health check failed: {why}")));
    if let Some(health) = provider.gate.checked(check, settings.failures, cause) {
        let is_failing = health == Health::Failing;
        HealthChanged { provider: &provider.name, is_failing, why: why.as_deref() }.emit();
    }
}
