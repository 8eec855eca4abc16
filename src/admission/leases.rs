//! One concurrency limit per provider, kept together by several gateways.
//!
//! Each gateway holds a lease of some of a provider's slots and runs its gate with that many; [`Leases`] starts a task
//! per gate that renews the lease in the background and asks for more as soon as somebody waits for the lack of it.
//! It owns those tasks and their end. It refuses to be on the way of a request: who can run at once runs, and who
//! cannot waits in line as ever.
//!
//! What a reader would get wrong: who gets how much is decided in one place, `leases/lease.lua`, which runs at the
//! Redis; what to do without an answer in another, [`lease`].

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
use crate::redis::{Link, Script, Unavailable, Value};
use lease::{HOLDS, Lease};

/// How often a lease is renewed.
const RENEW_EVERY: Duration = Duration::from_millis(400);
/// The shortest time between two asks; it doubles as long as asking gains nothing.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long an orderly end waits for the leases to be given back.
const GIVE_BACK: Duration = Duration::from_millis(500);

/// Decides who gets how much; see its text for what it is told and answers.
pub static LEASE: Script = Script::new(include_str!("leases/lease.lua"));

/// The leases of this gateway.
#[derive(Debug)]
pub struct Leases {
    link: Link,
    /// Those that do not know yet what they may do.
    starting: Arc<AtomicUsize>,
    has_started: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
}

/// Keeps one gate's lease.
struct Keeper {
    link: Link,
    /// The provider's book and the book of the whole Redis.
    keys: Vec<String>,
    /// What this gate is called there. It is not the gateway's name: after a provider was taken out and came back
    /// its old gate may still have work.
    id: Bytes,
    /// How often it has asked.
    number: u64,
    lease: Lease,
    short: Arc<Notify>,
    stop: watch::Receiver<bool>,
    starting: Option<Starting>,
}

/// Counts a keeper that does not know yet what it may do.
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

    /// Keeps the limit of this provider, whose gate is new, together with the other gateways, for as long as its gate lives: also after
    /// the provider was taken out, until its last work is done.
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
        // Before anybody can ask for a slot.
        keeper.settle(gate);
        let gate = Arc::downgrade(gate);
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(self.link.spawn(keeper.keep(gate)));
    }

    /// Whether the gateway has started so lately that it does not know its part of every limit yet.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        // Providers that a reload adds are no reason to say that the whole gateway is not ready.
        let is_starting =
            !self.has_started.load(Ordering::Acquire) && self.starting.load(Ordering::Acquire) > 0;
        self.has_started.fetch_or(!is_starting, Ordering::AcqRel);
        is_starting
    }

    /// Gives every lease back. To be called when nothing runs any more.
    pub async fn give_back(&self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        // Without an answer the others get them when they end.
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

    /// Asks once and acts on the answer, or on the lack of it. Says whether more may run than before.
    async fn renew(&mut self, gate: &Arc<SharedGate>, asked: Instant) -> bool {
        // First what it may do, then what it says it does: it must never say less.
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
        // What the lease says may change while nobody answers.
        let until = asked + RENEW_EVERY;
        let until = self.lease.next_change(asked).map_or(until, |change| change.min(until));
        let answer: Result<Value, Unavailable> = timeout_at(until.into(), answer).await.ok()?;
        answer.ok()?.integers()
    }

    /// Gives the gate its present part and returns how much that is.
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

    /// Waits until it is time to renew, or, once `pause` is over, until somebody waits for more. Says whether to go on.
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
