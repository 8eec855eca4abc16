//! The shared gate as the task sees it that carries out loads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::SharedGate;
use crate::admission::gate::loading::Loaded;
use crate::admission::line::Key;
use crate::admission::warm::words::{Heard, Report};
use crate::admission::warm::{LoadEnd, LoadOrder, LoadState, WarmPolicy};

/// The duty to report the end of a load. Dropped without one, it reports a failure, so that the
/// jobs that wait for the model are answered.
#[derive(Debug)]
pub struct Loading {
    gate: Arc<SharedGate>,
    order: Option<LoadOrder>,
    since: Instant,
}

impl SharedGate {
    /// Schedules loads by this policy; see [`Gate::schedule`](super::Gate::schedule).
    pub fn schedule(self: &Arc<Self>, policy: Option<WarmPolicy>) {
        self.step(|inner, at, wakes| inner.gate.schedule(policy, at, wakes));
    }

    /// Takes the server's word for what is loaded; see [`Gate::believe`](super::Gate::believe).
    pub fn believe(self: &Arc<Self>, loaded: Option<&[Loaded]>) {
        self.step(|inner, at, wakes| inner.gate.believe(loaded, at, wakes));
    }

    /// Has a model loaded again before its next call; see [`Gate::reload`](super::Gate::reload).
    pub fn reload(self: &Arc<Self>, key: &str) -> bool {
        self.step(|inner, at, wakes| inner.gate.reload(key, at, wakes))
    }

    /// Holds no job back for models that the server does not have; see
    /// [`Gate::keep_installed`](super::Gate::keep_installed).
    pub fn keep_installed(self: &Arc<Self>, is_there: impl Fn(&str) -> bool) {
        self.step(|inner, at, wakes| inner.gate.keep_installed(is_there, at, wakes));
    }

    /// Whether the server should be asked what it has loaded.
    pub fn wants_look(&self) -> bool {
        self.inner.lock().gate.wants_look()
    }

    /// Whether jobs wait for the server's first word about what it has loaded.
    pub fn needs_look(&self) -> bool {
        self.inner.lock().gate.needs_look()
    }

    /// From now on other gateways are asked before a model is loaded; see
    /// [`Gate::share_loads`](super::Gate::share_loads).
    pub fn share_loads(&self) {
        self.inner.lock().gate.share_loads();
    }

    /// The other gateways cannot be heard any more.
    pub fn be_alone(self: &Arc<Self>) {
        self.step(|inner, at, wakes| inner.gate.be_alone(at, wakes));
    }

    /// What the other gateways should hear; `None` where no loads are scheduled.
    pub fn report(&self) -> Option<Report> {
        self.inner.lock().gate.report(super::now())
    }

    /// Takes what all gateways have said.
    pub fn hear(self: &Arc<Self>, heard: &Heard) {
        self.step(|inner, at, wakes| inner.gate.hear(heard, at, wakes));
    }

    /// Notified when the other gateways must hear of something at once.
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// Whether the server should be asked what it has loaded because another gateway has had its
    /// turn.
    pub fn is_stale(&self) -> bool {
        self.inner.lock().gate.is_stale()
    }

    /// The server is asked what it has loaded; see [`Gate::ask_server`](super::Gate::ask_server).
    pub fn ask_server(&self) -> Option<Arc<str>> {
        self.inner.lock().gate.ask_server()
    }

    /// Whether jobs run or wait.
    pub fn has_work(&self) -> bool {
        self.inner.lock().gate.has_work()
    }

    /// Whether a load was ordered whose end is not known yet.
    pub fn is_loading(&self) -> bool {
        self.inner.lock().gate.is_loading()
    }

    /// The models without calls that hold up a load that is late; see
    /// [`Gate::holding_up`](super::Gate::holding_up).
    pub fn holding_up(self: &Arc<Self>) -> Vec<Arc<str>> {
        self.step(|inner, at, wakes| {
            inner.gate.wake(at, wakes);
            inner.gate.holding_up()
        })
    }

    /// How far a model's load is; see [`Gate::load_state`](super::Gate::load_state).
    pub fn load_state(&self, key: &str) -> Option<LoadState> {
        self.inner.lock().gate.load_state(key, super::now())
    }

    /// When a waiting job stops waiting, and whether it waits for the load of its model; `None`
    /// when it waits no longer.
    pub(super) fn stand(&self, key: Key) -> Option<(Instant, bool)> {
        let gate = &self.inner.lock().gate;
        Some((gate.until(key)?, gate.awaits_load(key)))
    }

    /// Notified when [`SharedGate::take_order`] has something to give.
    pub fn ordered(&self) -> Arc<Notify> {
        Arc::clone(&self.ordered)
    }

    /// The load to be carried out now.
    pub fn take_order(self: &Arc<Self>) -> Option<Loading> {
        let order = self.inner.lock().gate.take_order()?;
        Some(Loading { gate: Arc::clone(self), order: Some(order), since: super::now() })
    }
}

impl Loading {
    /// What is to be loaded.
    pub fn order(&self) -> Option<&LoadOrder> {
        self.order.as_ref()
    }

    /// How long it takes so far.
    pub fn took(&self) -> Duration {
        super::now().saturating_duration_since(self.since)
    }

    /// Reports the end; `loaded` is what the server says afterwards.
    pub fn ended(mut self, end: (LoadEnd, Duration), loaded: Option<&[Loaded]>) {
        self.report(end, loaded);
    }

    fn report(&mut self, end: (LoadEnd, Duration), loaded: Option<&[Loaded]>) {
        if let Some(order) = self.order.take() {
            self.gate.step(|inner, at, wakes| inner.gate.loaded(&order, end, loaded, at, wakes));
        }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.report((LoadEnd::Failed, self.took()), None);
    }
}
