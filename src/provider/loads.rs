//! The loads of models that the gateway orders itself: at each provider one at a time, and not
//! bound to any client.
//!
//! Owns the task that asks a server what it has loaded and carries out the gate's orders. The gate
//! decides which model is loaded and when; here that becomes calls.
//!
//! The one thing to know: a load takes no slot. It belongs to no request, and its failure is
//! the next attempt of the first job that waits for the model.

pub(super) mod counted;
mod listed;
mod refused;
pub(super) mod runners;
mod stay;
pub(super) mod swapping;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Context, Handler, Message};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::watch;

use super::Provider;
use super::client::{Call, Client, Connection};
use super::discovery;
use super::failed::Failed;
use super::pins::is_unload;
use super::preload::preload;
use super::retry::Failure;
use super::station::Station;
use crate::admission::gate::loading::Loaded;
use crate::admission::slot::Loading;
use crate::admission::warm::{LoadEnd, LoadOrder, Needs};
use crate::backend::Load;
use crate::chat::{Ask, ErrorKind, GatewayError, Listing, LoadBy, Model, untagged};
use crate::job::{Candidate, Job};
use crate::telemetry::{LoadedBy, ModelLoaded};
use refused::is_refused;

/// How often a server with work is asked what it has loaded.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the list of installed models is believed. A model that is not in it is not scheduled.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// The longest answer to a load that is read.
const LONGEST: usize = 64 * 1024;

/// Tends the loaded models of all providers, once for the whole process.
#[derive(Default)]
pub struct LoadsActor {
    tended: HashMap<Arc<str>, Tended>,
}

/// Replaces the list of providers.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Tend(pub Vec<Arc<Provider>>);

struct Tended {
    provider: Arc<Provider>,
    /// What becomes of its task.
    until: watch::Sender<Until>,
}

/// For how long a provider's loads are tended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until further notice.
    Told,
    /// It is no longer configured: as long as it has jobs.
    Idle,
    /// Another task has taken over: until the load in progress has ended.
    Loaded,
}

impl LoadsActor {
    /// Starts the actor on this thread.
    #[must_use]
    pub fn start_with(providers: Vec<Arc<Provider>>) -> Addr<Self> {
        let loads = Self::default().start();
        loads.do_send(Tend(providers));
        loads
    }
}

impl Actor for LoadsActor {
    type Context = Context<Self>;
}

impl Handler<Tend> for LoadsActor {
    type Result = ();

    fn handle(&mut self, Tend(providers): Tend, _context: &mut Self::Context) {
        self.tended.retain(|name, tended| {
            if providers.iter().any(|provider| Arc::ptr_eq(provider, &tended.provider)) {
                return true;
            }
            let is_replaced = providers.iter().any(|provider| provider.name == *name);
            tended.until.send_replace(if is_replaced { Until::Loaded } else { Until::Idle });
            false
        });
        for provider in providers.into_iter().filter(|provider| provider.schedules_loads()) {
            let name = Arc::clone(&provider.name);
            self.tended.entry(name).or_insert_with(|| {
                let client = Client::new(&provider);
                let station = Station { provider: Arc::clone(&provider), client };
                let (until, told) = watch::channel(Until::Told);
                let mut over = told.clone();
                drop(actix_rt::spawn(tend(Rc::new(station), told)));
                let preloading = preload(Arc::clone(&provider));
                drop(actix_rt::spawn(async move {
                    tokio::select! {
                        () = preloading => {}
                        // The task that takes over continues it.
                        _ = over.wait_for(|until| *until != Until::Told) => {}
                    }
                }));
                Tended { provider, until }
            });
        }
    }
}

impl Provider {
    /// What a job needs from a server that loads models; `None` where nothing is loaded for it.
    pub(super) fn needs(&self, job: &Job, candidate: &Candidate) -> Option<Needs> {
        if !self.schedules_loads() || self.is_about_model(&job.request) || self.has_one_model() {
            return None;
        }
        let embeds = matches!(&*job.request, Ask::Embed(_));
        self.needs_of(&candidate.model, embeds)
    }

    /// Whether the job asks or says something about the model, for which the server does not load
    /// it.
    pub(super) fn is_about_model(&self, ask: &Ask) -> bool {
        matches!(ask, Ask::Show(_) | Ask::CountTokens(_) | Ask::Raw(_)) || is_unload(ask)
    }

    /// What the gate finds the model by.
    #[must_use]
    pub fn lane_key(&self, model: &str) -> Arc<str> {
        let needs = self.schedules_loads().then(|| self.needs_of(model, false)).flatten();
        needs.map_or_else(|| Arc::from(model), |needs| needs.key)
    }

    /// The failure of the last load of this model, for the job whose attempt it was.
    pub(super) fn load_failure(&self, model: &str) -> Failed {
        self.load_failures.lock().remove(&self.lane_key(model)).unwrap_or_else(|| {
            let message = format!("provider `{}` could not load `{model}`", self.name);
            Failed::new(
                Failure::DiedBeforeFirstEvent,
                GatewayError::upstream(ErrorKind::BadUpstream, message),
            )
        })
    }

    fn loaded(&self, listed: &Model) -> Option<Loaded> {
        let runner = match self.swapper() {
            Some(swapper) => swapper.runner(listed)?,
            None => self.backend.runner(listed)?,
        };
        // The list of what is installed knows more than the list of what is loaded.
        let needs = self.needs_of(&listed.name, runner.by == LoadBy::Embedding);
        let needs = needs.unwrap_or_else(|| {
            let key = Arc::from(untagged(&listed.name));
            Needs { key, by: runner.by, slots: runner.slots }
        });
        Some(Loaded { model: Arc::from(&*listed.name), needs })
    }
}

/// Asks what is loaded and carries out orders.
async fn tend(station: Rc<Station>, mut until: watch::Receiver<Until>) {
    let gate = Arc::clone(&station.provider.gate);
    let ordered = gate.ordered();
    loop {
        let told = *until.borrow_and_update();
        let is_over = match told {
            Until::Told => false,
            Until::Idle => !gate.has_work(),
            Until::Loaded => true,
        };
        if is_over {
            // The task that takes over may wait for the same notification.
            ordered.notify_one();
            return;
        }
        if let Some(loading) = gate.take_order() {
            carry_out(&station, loading).await;
            continue;
        }
        tokio::select! {
            () = ordered.notified() => {
                if gate.needs_look() || gate.is_stale() {
                    look(&station).await;
                }
            }
            // Without the sender the process ends.
            changed = until.changed(), if told == Until::Told => if changed.is_err() { return },
            () = station.provider.surprised.notified() => look(&station).await,
            () = actix_rt::time::sleep(LOOK_EVERY) => {
                if gate.wants_look() {
                    look(&station).await;
                }
            }
        }
    }
}

/// Asks the server what it has loaded and tells the gate.
async fn look(station: &Rc<Station>) {
    let provider = &station.provider;
    let installed = provider.catalogue.list(Listing::Installed);
    if !installed.is_younger(LIST_EVERY, Instant::now()) {
        discovery::look(Rc::clone(station), Listing::Installed).await;
    }
    let one = provider.has_one_model();
    provider.gate.keep_installed(|model| !one && !provider.lacks_model(model));
    let elsewhere = provider.gate.ask_server();
    match ask(station, elsewhere.as_deref()).await {
        Ok(loaded) => provider.gate.believe(Some(&loaded)),
        // The loads of a server that does not list its loaded models are not scheduled, nor those
        // of a server that never did. A list stays in force if the server fails to answer once.
        Err(Silence::Mute) => provider.gate.believe(None),
        Err(Silence::Down) if provider.gate.needs_look() => provider.gate.believe(None),
        Err(Silence::Down) => {}
    }
}

/// Why a server does not say what it has loaded.
enum Silence {
    /// It answers, but not that.
    Mute,
    /// It does not answer now.
    Down,
}

/// What the server has loaded; `ordered` is what the gateway itself had loaded since the last time.
async fn ask(station: &Station, ordered: Option<&str>) -> Result<Vec<Loaded>, Silence> {
    let provider = &station.provider;
    match provider.tells_loads() {
        Some(true) => {}
        Some(false) => return Err(Silence::Mute),
        None => return Err(Silence::Down),
    }
    let asked =
        tokio::time::timeout(discovery::LOOK_TIME, discovery::ask(station, Listing::Loaded));
    match asked.await {
        Ok(Ok(models)) => {
            let loaded: Vec<Loaded> =
                models.iter().filter_map(|model| provider.loaded(model)).collect();
            provider.count_loads(&loaded, ordered);
            provider.catalogue.list(Listing::Loaded).heard(models, Instant::now());
            Ok(loaded)
        }
        Ok(Err(unlisted)) => {
            log::debug!(
                "provider `{}` does not say what is loaded: {}",
                provider.name,
                unlisted.why
            );
            Err(if unlisted.is_alive { Silence::Mute } else { Silence::Down })
        }
        Err(_) => Err(Silence::Down),
    }
}

/// Carries out one order and reports how it ended.
async fn carry_out(station: &Rc<Station>, loading: Loading) {
    let Some(order) = loading.order().cloned() else { return };
    let provider = &station.provider;
    let swapper = provider.swapper();
    let shortened = match swapper {
        None => stay::shorten(station, &order).await,
        Some(_) => Vec::new(),
    };
    let since = Instant::now();
    let result = match swapper {
        None => tokio::select! {
            result = load(station, &order) => result,
            () = stay::unload_when_late(station) => Ok(()),
        },
        Some(swapper) => swapping::load(station, swapper, &order).await,
    };
    let took = since.elapsed();
    let end = match result {
        Ok(()) => LoadEnd::Loaded,
        Err(failed) if failed.failure == Failure::NotBegun => LoadEnd::Busy,
        Err(failed) if is_refused(&failed) => LoadEnd::Refused,
        Err(mut failed) => {
            let why = failed.error.message.to_string();
            if failed.failure == Failure::Crashed {
                // No request made it crash.
                failed.failure = Failure::Status { status: 500, retry_after: None };
            }
            provider.failed(&format!("loading `{}`: {why}", order.model));
            provider.load_failures.lock().insert(provider.lane_key(&order.model), failed);
            LoadEnd::Failed
        }
    };
    if end == LoadEnd::Loaded {
        let model = provider.model_label(&order.model);
        let by = LoadedBy::Gateway { name: &order.model, took };
        ModelLoaded { provider: &provider.name, model, by }.emit();
    }
    let loaded = ask(station, Some(&order.model)).await.ok();
    loading.ended((end, took), loaded.as_deref());
    match end {
        LoadEnd::Loaded => provider.note_load(&order.model, true),
        LoadEnd::Failed => provider.note_load(&order.model, false),
        LoadEnd::Busy | LoadEnd::Refused => {}
    }
    provider.check_context(&order.model);
    stay::lengthen(station, shortened, &loaded.unwrap_or_default()).await;
}

async fn load(station: &Station, order: &LoadOrder) -> Result<(), Failed> {
    let result = call(station, &order.model, order.by, None).await;
    if !matches!(&result, Err(failed) if is_refused(failed)) {
        return result;
    }
    // Perhaps it is a model of the other kind.
    let other = match order.by {
        LoadBy::Prompt => LoadBy::Embedding,
        LoadBy::Embedding => LoadBy::Prompt,
    };
    call(station, &order.model, other, None).await.or(result)
}

/// Makes a call that loads a model, and reads its answer.
pub(super) async fn call(
    station: &Station,
    model: &str,
    by: LoadBy,
    keep_alive: Option<&Value>,
) -> Result<(), Failed> {
    let provider = &station.provider;
    let load = Load { model, by, api_key: provider.api_key(), keep_alive };
    let Some(mut call) = provider.backend.load(load) else { return Ok(()) };
    match keep_alive {
        None => provider.pin_load(&mut call, model),
        Some(_) => provider.pin_stay(&mut call, model),
    }
    send(station, call.into(), model).await
}

/// Sends a call that concerns a model's place in memory, and reads its answer.
async fn send(station: &Station, call: Call, model: &str) -> Result<(), Failed> {
    let provider = &station.provider;
    let sending = async {
        let sent = station.client.send(call, "load", Connection::Fresh).await;
        let mut head = sent.map_err(|error| error.into_failed(provider))?;
        let mut body = Vec::new();
        while let Some(Ok(piece)) = head.body.next().await {
            body.extend_from_slice(&piece);
            if body.len() > LONGEST {
                break;
            }
        }
        Ok((head.status, body))
    };
    let answer = tokio::time::timeout(provider.settings.first_event(), sending).await;
    let (status, body) = answer.unwrap_or_else(|_| {
        let message = format!("provider `{}` did not load `{model}` in time", provider.name);
        let error = GatewayError::upstream(ErrorKind::Timeout, message);
        Err(Failed::new(Failure::FirstEventTimeout, error))
    })?;
    let is_error = |body: &[u8]| {
        let answer = serde_json::from_slice::<Value>(body).ok();
        answer.is_some_and(|answer| answer.get("error").is_some_and(|error| !error.is_null()))
    };
    match status {
        200..300 if !is_error(&body) => Ok(()),
        status => {
            let status = if status < 300 { 500 } else { status };
            let rejection = provider.backend.rejection(status, &body, model);
            let failure = Failure::of_status(status, rejection.retry_after);
            Err(Failed::rejected(provider, failure, rejection))
        }
    }
}

#[cfg(test)]
mod tests;
