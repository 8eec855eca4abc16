//! One concurrency limit per provider, shared by several gateways.
//!
//! Each gateway holds a lease on some of a provider's slots and runs its gate with that many;
//! [`Leases`] starts a task per gate that renews the lease in the background and asks for more
//! slots as soon as a job waits for lack of them. It owns those tasks and their end. It is never on
//! the path of a request: a job that can run runs at once, and the others wait in line as without
//! leases.
//!
//! The one thing to know: `leases/lease.lua`, which runs in Redis, decides how many slots each
//! gateway gets; [`lease`] decides what to do without an answer.

pub mod lease;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout_at};
use uuid::Uuid;

use super::gate::shared_limit::Demand;
use super::slot::SharedGate;
use super::turns::Speaker;
use crate::redis::{Link, Script, Unavailable, Value};
use lease::{HOLDS, Lease};

/// How often a lease is renewed.
const RENEW_EVERY: Duration = Duration::from_millis(400);
/// The shortest time between two asks; it doubles while asking gains nothing.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long an orderly shutdown waits for the leases to be given back.
const GIVE_BACK: Duration = Duration::from_millis(500);

/// Decides how many slots each gateway gets; its text documents arguments and answer.
pub static LEASE: Script = Script::new(include_str!("leases/lease.lua"));

/// The leases of this gateway.
#[derive(Debug)]
pub struct Leases {
    link: Link,
    /// How many keepers do not know their lease yet.
    starting: Arc<AtomicUsize>,
    has_started: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
}

/// Keeps one gate's lease.
struct Keeper {
    link: Link,
    /// The provider's key and the key of the whole Redis.
    keys: Vec<String>,
    /// This gate's id in Redis. It is not the gateway's name: after a provider was removed and
    /// added again its old gate may still have work.
    id: Bytes,
    /// How often it has asked.
    number: u64,
    lease: Lease,
    short: Arc<Notify>,
    stop: watch::Receiver<bool>,
    starting: Option<Starting>,
}

/// Counts one keeper that does not know its lease yet.
#[derive(Debug)]
struct Starting(Arc<AtomicUsize>);

impl Leases {
    /// No leases yet.
    #[must_use]
    pub fn new(link: Link) -> Self {
        let (stop, _) = watch::channel(false);
        let has_started = AtomicBool::new(false);
        Self { link, starting: Arc::default(), has_started, tasks: Mutex::default(), stop }
    }

    /// Shares the limit of this provider, whose gate is new, and its loads with the other gateways for as long as
    /// the gate lives: after the provider was removed, until its last work is done.
    pub fn share(&self, provider: &str, gate: &Arc<SharedGate>) {
        self.starting.fetch_add(1, Ordering::AcqRel);
        let mut keeper = Keeper {
            link: self.link.clone(),
            keys: vec![self.link.key("slots", provider), self.link.key("runs", "since")],
            id: Uuid::new_v4().to_string().into(),
            number: 0,
            lease: Lease::new(Instant::now()),
            short: gate.short(),
            stop: self.stop.subscribe(),
            starting: Some(Starting(Arc::clone(&self.starting))),
        };
        // Before any request can ask for a slot.
        keeper.settle(gate);
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        let speaker = Speaker::new(&self.link, provider, gate, self.stop.subscribe());
        let gate = Arc::downgrade(gate);
        tasks.push(self.link.spawn(keeper.keep(Weak::clone(&gate))));
        tasks.push(self.link.spawn(speaker.speak(gate)));
    }

    /// Whether the gateway has just started and does not know its lease on every limit yet.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        // Providers added by a reload do not make the whole gateway unready.
        let is_starting =
            !self.has_started.load(Ordering::Acquire) && self.starting.load(Ordering::Acquire) > 0;
        self.has_started.fetch_or(!is_starting, Ordering::AcqRel);
        is_starting
    }

    /// Gives every lease back. Call it when nothing runs any more.
    pub async fn give_back(&self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        // Without an answer the other gateways get the leases when they expire.
        drop(tokio::time::timeout(GIVE_BACK, join_all(tasks)).await);
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Keeper {
    /// Keeps the lease while there is a gate, and gives it back.
    async fn keep(mut self, gate: Weak<SharedGate>) {
        let mut pause = ASK_AGAIN;
        while let Some(gate) = gate.upgrade() {
            let asked = Instant::now();
            let grew = self.renew(&gate, asked).await;
            let in_vain = !grew && gate.is_short();
            pause = if in_vain { (pause * 2).min(RENEW_EVERY) } else { ASK_AGAIN };
            drop(gate);
            if !self.rest(asked, pause).await {
                break;
            }
        }
        self.number += 1;
        drop(self.ask(Demand { of: 0, held: 0, wanted: 0 }, Instant::now()).await);
    }

    /// Asks once and acts on the answer, or on the lack of one. Returns whether more may run than
    /// before.
    async fn renew(&mut self, gate: &Arc<SharedGate>, asked: Instant) -> bool {
        // Applies the lease before it reports the demand: the report must never be too low.
        let before = self.settle(gate);
        let demand = gate.take_demand();
        self.number += 1;
        if let Some(answer) = self.ask(demand, asked).await {
            self.lease.take(&answer, asked);
        }
        self.settle(gate) > before
    }

    async fn ask(&self, demand: Demand, asked: Instant) -> Option<Vec<i64>> {
        let numbers =
            [demand.of, demand.held, demand.wanted].map(|number| Bytes::from(number.to_string()));
        let [of, held, wanted] = numbers;
        let holds = HOLDS.as_millis().to_string().into();
        let arguments =
            vec![self.id.clone(), self.number.to_string().into(), of, held, wanted, holds];
        let answer = self.link.run(&LEASE, self.keys.clone(), arguments);
        // The lease may change by itself while no answer comes.
        let until = asked + RENEW_EVERY;
        let until = self.lease.next_change(asked).map_or(until, |change| change.min(until));
        let answer: Result<Value, Unavailable> = timeout_at(until.into(), answer).await.ok()?;
        answer.ok()?.integers()
    }

    /// Gives the gate its present lease and returns how many slots that is.
    fn settle(&mut self, gate: &Arc<SharedGate>) -> u32 {
        let now = Instant::now();
        let limit = gate.limits().max_concurrency.most();
        let shared = self.lease.shared_limit(limit, self.link.replicas(), now);
        gate.change_lease(Some(shared));
        if self.lease.is_settled(now) {
            self.starting = None;
        }
        shared.lease
    }

    /// Waits until it is time to renew or, once `pause` is over, until a job waits for a slot.
    /// Returns whether to go on.
    async fn rest(&mut self, asked: Instant, pause: Duration) -> bool {
        let now = Instant::now();
        let every = if self.starting.is_some() { ASK_AGAIN } else { RENEW_EVERY };
        let renew = asked + every;
        let renew = self.lease.next_change(now).map_or(renew, |change| change.min(renew));
        let pause = (asked + pause).min(renew);
        let Self { stop, short, .. } = self;
        tokio::select! {
            () = sleep_until(pause.into()) => {}
            _ = stop.changed() => return false,
        }
        tokio::select! {
            () = sleep_until(renew.into()) => true,
            () = short.notified() => true,
            _ = stop.changed() => false,
        }
    }
}
