//! A gate's state, for tests and the console.
//!
//! Times are in milliseconds. Taking a snapshot is linear in the number of waiting callers and
//! known models, not in the length of the line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::health_checks::Health;
use super::{Gate, SharedLimit};
use crate::admission::breaker::BreakerState;
use crate::admission::concurrency::{Bounds, Concurrency};
use crate::admission::line::Lane;
use crate::admission::quarantine::Record;
use crate::admission::remembered::view::MemoryView;
use crate::admission::warm::{LoadView, SwapView};
use crate::chat::RefusalReason;

/// A gate at one instant.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// How many attempts may run at once: the adaptive limit's present value, or this gateway's
    /// lease on it.
    pub limit: u32,
    /// What the operator allows: a number, or `"auto"`.
    pub max_concurrency: Concurrency,
    /// The bounds of an adaptive limit; `None` when it is a number.
    pub auto_concurrency: Option<Bounds>,
    /// This gateway's lease on a limit that several gateways share; `None` when there is one
    /// gateway.
    pub shared: Option<SharedLimit>,
    /// How many of them are usable now: fewer while slots come back after the breaker was open.
    pub usable: u32,
    /// Slots of `limit` that are free. At rest it equals `limit`.
    pub free: u32,
    /// Attempts that run. More than `limit` only after it was lowered.
    pub in_flight: u32,
    /// Of these, the attempts of batch callers.
    pub batch_in_flight: u32,
    /// Jobs that wait.
    pub queued: u64,
    /// Jobs that wait, by caller.
    pub queued_by_caller: BTreeMap<Arc<str>, u64>,
    /// How many jobs may wait.
    pub max_queue: u32,
    /// How long a job may wait.
    pub max_queue_wait_ms: u64,
    /// How long the oldest waiting job has waited; 0 when none waits.
    pub oldest_wait_ms: u64,
    /// How long a newcomer at the very end would wait; 0 when it could start at once.
    pub predicted_wait_ms: u64,
    /// The average time an attempt holds its slot; `None` before the first has ended.
    pub hold_ms: Option<u64>,
    /// The whole provider's breaker.
    pub breaker: BreakerView,
    /// The result of the health checks.
    pub health: Health,
    /// Health checks that failed in a row.
    pub failed_checks: u32,
    /// The longest cooldown of any model; 0 when there is none.
    pub cooldown_left_ms: u64,
    /// The models that were asked for lately.
    pub models: Vec<ModelView>,
    /// `warm`: loads are scheduled by what is loaded; `fair`: not.
    pub scheduling: &'static str,
    /// The model that is loaded next, where loads are scheduled and one is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_load: Option<SwapView>,
    /// Requests that are refused for a while because they made a model fail again and again.
    pub quarantined: Vec<QuarantineView>,
    /// Retries that could begin now.
    pub retry_budget_left: u64,
    /// Retries that run or back off.
    pub retries_in_flight: u32,
    /// Attempts started since the gate was made.
    pub granted: u64,
    /// Jobs that had to wait since the gate was made.
    pub waited: u64,
    /// Retries allowed since the gate was made.
    pub retried: u64,
    /// Jobs refused since the gate was made, by reason.
    pub refused: BTreeMap<RefusalReason, u64>,
    /// Jobs refused in the last minute.
    pub refused_last_minute: u64,
    /// Whether it takes no new jobs.
    pub draining: bool,
}

/// A breaker at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BreakerView {
    /// Its state.
    pub state: BreakerState,
    /// How long until the next probe is allowed; 0 unless it is open.
    pub left_ms: u64,
}

/// A model at one instant.
#[derive(Clone, Debug, Serialize)]
pub struct ModelView {
    /// Its name; `(other)` is shared by the models without an entry of their own.
    pub model: Arc<str>,
    /// Attempts that run.
    pub in_flight: u32,
    /// How many may run at once; `None`: as many as the provider's limit allows.
    pub max_concurrency: Option<u32>,
    /// Jobs that wait.
    pub queued: usize,
    /// Its breaker.
    pub breaker: BreakerView,
    /// How long its cooldown still lasts; 0 when there is none.
    pub cooldown_left_ms: u64,
    /// Whether it is loaded, where loads are scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadView>,
    /// What its server is believed to have in its prompt cache, where that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remembered: Option<MemoryView>,
}

/// A request in quarantine at one instant, without its content.
#[derive(Clone, Debug, Serialize)]
pub struct QuarantineView {
    /// The model that it makes fail.
    pub model: Arc<str>,
    /// Whose request it is.
    pub caller: Arc<str>,
    /// How often it made the model fail.
    pub crashes: u32,
    /// What happened the last time.
    pub why: Arc<str>,
    /// How long it stays in quarantine.
    pub left_ms: u64,
}

impl<W> Gate<W> {
    /// The gate's present state.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let limit = self.limit();
        let usable = self.usable(now);
        let models = self.model_views(now);
        let idle = self.line.is_empty() && self.in_flight < usable;
        let predicted = if idle {
            Duration::ZERO
        } else {
            self.wait(Lane::default(), self.line.len() as u64, now)
        };
        let oldest =
            self.line.oldest().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        Snapshot {
            limit,
            max_concurrency: self.limits.max_concurrency,
            auto_concurrency: self.limits.max_concurrency.auto(),
            shared: self.shared,
            usable,
            free: limit.saturating_sub(self.in_flight),
            in_flight: self.in_flight,
            batch_in_flight: self.batch_in_flight,
            queued: self.line.len() as u64,
            queued_by_caller: self.queued_by_caller(),
            max_queue: self.limits.max_queue,
            max_queue_wait_ms: millis(self.limits.max_queue_wait),
            oldest_wait_ms: millis(oldest),
            predicted_wait_ms: millis(predicted),
            hold_ms: self.costs.mean_hold().map(millis),
            breaker: BreakerView::of(self.breaker.state(now)),
            health: self.health,
            failed_checks: self.failed_checks,
            cooldown_left_ms: models.iter().map(|view| view.cooldown_left_ms).max().unwrap_or(0),
            models,
            scheduling: if self.warm.is_some() { "warm" } else { "fair" },
            next_load: self.warm.as_ref().and_then(|warm| warm.next(&self.line, now)),
            quarantined: self.quarantine.iter(now).map(QuarantineView::of).collect(),
            retry_budget_left: self.budget.left(self.load(), now),
            retries_in_flight: self.budget.running(),
            granted: self.counters.granted,
            waited: self.counters.waited,
            retried: self.counters.retried,
            refused: self.counters.refused.clone(),
            refused_last_minute: self.counters.refused_lately.count(now),
            draining: self.draining,
        }
    }

    fn queued_by_caller(&self) -> BTreeMap<Arc<str>, u64> {
        let mut queued = BTreeMap::new();
        for (caller, waiting) in self.line.callers() {
            *queued.entry(Arc::clone(caller)).or_default() += waiting;
        }
        queued
    }

    fn model_views(&self, now: Instant) -> Vec<ModelView> {
        let view = |(lane, model): (_, &crate::admission::models::Model)| ModelView {
            model: Arc::clone(&model.name),
            in_flight: model.in_flight,
            max_concurrency: model.most,
            queued: self.line.waiting_in(lane),
            breaker: BreakerView::of(model.breaker.state(now)),
            cooldown_left_ms: millis(model.cooldown.left(now)),
            load: self.warm.as_ref().and_then(|warm| warm.view(lane, &self.line, now)),
            remembered: self.remembered.as_ref().and_then(|remembered| remembered.view(lane)),
        };
        self.models.iter().map(view).filter(|view| !view.is_unused_shared_entry()).collect()
    }
}

impl BreakerView {
    fn of((state, left): (BreakerState, Duration)) -> Self {
        Self { state, left_ms: millis(left) }
    }
}

impl QuarantineView {
    fn of((model, record, left): (&Arc<str>, &Record, Duration)) -> Self {
        Self {
            model: Arc::clone(model),
            caller: Arc::clone(&record.caller),
            crashes: record.crashes,
            why: Arc::clone(&record.why),
            left_ms: millis(left),
        }
    }
}

impl ModelView {
    fn is_unused_shared_entry(&self) -> bool {
        let closed = self.breaker.state == BreakerState::Closed;
        &*self.model == "(other)" && self.in_flight == 0 && self.queued == 0 && closed
    }
}

/// Whole milliseconds, rounded up so that what is left is never shown as nothing.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
