//! Runs the scheduler: a lock around it, wakers for waiting calls, and a timer for what time alone
//! changes.
//!
//! Owns the only copy of the scheduling state. A call waits in [`Engine::enter`] and then holds a
//! [`Turn`]; dropping either, at any moment, means that the client has disconnected: the slot goes
//! to the next call in line at once, and a load that it began is cancelled. The lock is never held
//! across an await. Refuses what the scheduler refuses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::catalog::Catalog;
use super::name::ModelKey;
use super::prompt_cache::{PromptBounds, Reading};
use super::refusal::Refusal;
use super::scheduler::{Bounds, CallId, End, Grant, Resident, Scheduler, SimSnapshot, Want};
use super::settings::SimSettings;

/// The longest simulated duration of any kind; it keeps sums of moments within range.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The state that all handlers share.
#[derive(Debug)]
pub struct Engine {
    /// The simulator's settings.
    pub settings: SimSettings,
    /// The installed models.
    pub catalog: Catalog,
    state: Mutex<State>,
    next: watch::Sender<Option<Instant>>,
    seen: watch::Sender<SimSnapshot>,
}

#[derive(Debug)]
struct State {
    scheduler: Scheduler,
    waiting: HashMap<CallId, oneshot::Sender<Grant>>,
}

/// The right of a call to run, with the slot that it needs.
///
/// # Cancellation
/// Dropping it before [`Turn::finish`] counts the call as cancelled. Either way it frees the slot.
#[derive(Debug)]
pub struct Turn {
    place: Place,
    /// How long the call waited until its model was in memory.
    pub load: Duration,
    /// How its prompt is read.
    pub reading: Reading,
}

/// A call's place in the scheduler, which it leaves on drop.
#[derive(Debug)]
struct Place {
    engine: Arc<Engine>,
    id: CallId,
    end: End,
}

impl Engine {
    /// An engine with nothing loaded. Loads end only while [`Engine::run_clock`] is polled.
    pub fn new(settings: SimSettings) -> Arc<Self> {
        let bounds = Bounds {
            max_queue: settings.max_queue as usize,
            // Zero means three, as in Ollama with one GPU.
            max_loaded: match settings.max_loaded_models {
                0 => 3,
                most => most as usize,
            },
            memory: settings.memory,
            recovery: settings.unload.min(LONGEST),
            prompts: PromptBounds { stored: settings.prompt_cache, read: settings.read },
        };
        let mut catalog = Catalog::new(settings.models.iter().map(String::as_str));
        catalog.set_sizes(&settings.sizes);
        catalog.copy(&settings.aliases);
        let scheduler = Scheduler::new(bounds);
        Arc::new(Self {
            settings,
            catalog,
            state: Mutex::new(State { scheduler, waiting: HashMap::new() }),
            next: watch::Sender::new(None),
            seen: watch::Sender::new(SimSnapshot::default()),
        })
    }

    /// Waits until the call may run: for its model, then for a slot.
    ///
    /// # Errors
    /// 503 at once if the call needs a load and the queue for that is full.
    ///
    /// # Cancellation
    /// Dropping the future removes the call from the line in which it waits.
    pub async fn enter(self: &Arc<Self>, want: Want) -> Result<Turn, Refusal> {
        let (grant, granted) = oneshot::channel();
        let id = self.change(|state, now| {
            let id = state.scheduler.arrive(now, want).map_err(|_busy| Refusal::busy())?;
            state.waiting.insert(id, grant);
            Ok(id)
        })?;
        let place = Place { engine: Arc::clone(self), id, end: End::Cancelled };
        // The sender is dropped unused only together with the call's place, which this future
        // holds.
        let granted = granted.await.map(|grant| (grant.load, grant.reading));
        let (load, reading) = granted.unwrap_or_default();
        Ok(Turn { place, load, reading })
    }

    /// How long this model takes to load.
    pub fn load(&self, model: &ModelKey) -> Duration {
        let is_it = |(name, _): &&(String, Duration)| ModelKey::parse(name).as_ref() == Some(model);
        let own = self.settings.loads.iter().find(is_it).map(|(_, load)| *load);
        own.unwrap_or(self.settings.load).min(LONGEST)
    }

    /// Unloads a model as soon as no call uses it.
    pub fn unload(&self, model: &ModelKey) {
        self.change(|state, now| state.scheduler.unload(now, model));
    }

    /// The models in memory.
    pub fn residents(&self) -> Vec<Resident> {
        self.change(|state, now| state.scheduler.residents(now))
    }

    /// The present counters.
    pub fn snapshot(&self) -> SimSnapshot {
        self.state.lock().scheduler.snapshot()
    }

    /// The counters as they change.
    pub fn watch(&self) -> watch::Receiver<SimSnapshot> {
        self.seen.subscribe()
    }

    /// Ends each load when it is due, and makes all other changes that time alone causes; never
    /// returns.
    pub async fn run_clock(self: Arc<Self>) {
        let mut next = self.next.subscribe();
        loop {
            let due = *next.borrow_and_update();
            let Some(due) = due else {
                // This cannot fail: the engine, which is held here, holds the sender.
                let _ = next.changed().await;
                continue;
            };
            tokio::select! {
                _ = next.changed() => {}
                () = actix_rt::time::sleep_until(due.into()) => {
                    self.change(|state, now| state.scheduler.advance(now));
                }
            }
        }
    }

    /// When a token after this many others is due, counted from the first token.
    pub fn pace(&self, before: u64) -> Duration {
        // This fails if the rate is zero, negative or not a number: then there is no pause.
        let due = Duration::try_from_secs_f64(before as f64 / self.settings.tokens_per_second);
        due.unwrap_or_default().min(LONGEST)
    }

    /// Changes the state, then notifies all calls and watchers that the change concerns.
    fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock();
        let out = change(&mut state, Instant::now());
        for grant in state.scheduler.take_grants() {
            if let Some(waiting) = state.waiting.remove(&grant.call) {
                // If the receiver is gone, the call's place is being dropped, which returns the
                // slot.
                let _ = waiting.send(grant);
            }
        }
        // Under the lock, so that no watcher sees an older state after a newer one.
        let next = state.scheduler.next_change();
        self.next.send_if_modified(|before| std::mem::replace(before, next) != next);
        let now = state.scheduler.snapshot();
        self.seen.send_if_modified(|before| std::mem::replace(before, now) != now);
        out
    }
}

impl Turn {
    /// Ends the call as complete; its slot is free when this returns.
    pub fn finish(mut self) {
        self.place.end = End::Finished;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.engine.change(|state, now| {
            state.waiting.remove(&self.id);
            state.scheduler.leave(now, self.id, self.end);
        });
    }
}
