//! The clock of a workload: arrivals, calls on their way, loads, ends of patience.
//!
//! It owns the events to come and asks the gate and the server's scheduler what follows from each.
//! It decides nothing itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::{Fate, Outcome, PlannedModel, Served, Workload};
use crate::admission::backoff::RetryPolicy;
use crate::admission::breaker::BreakerPolicy;
use crate::admission::line::{Key, Share};
use crate::admission::warm::{LoadOrder, Needs, WarmPolicy};
use crate::admission::{Arrival, Decision, Ended, Gate, Moment, Permit, Wake};
use crate::chat::{LoadBy, RefusalReason};
use crate::plan::asking::ask;
use crate::sim::name::ModelKey;
use crate::sim::prompt_cache::PromptBounds;
use crate::sim::scheduler::{Bounds, CallId, End, Scheduler};

mod server;

/// How long the gateway lets a request wait for its answer: an official client's own limit.
const DEADLINE: Duration = Duration::from_secs(600);
/// How often a server with work is asked what it has loaded.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Calls that may wait for a load in the server.
const SERVER_QUEUE: usize = 512;
/// How long the server's memory takes to come back after an unload, if that is not most of a load.
const RECOVERY: Duration = Duration::from_millis(500);

/// A workload on its way.
pub(super) struct World<'a> {
    workload: &'a Workload,
    served: Served,
    origin: Instant,
    keys: Vec<ModelKey>,
    gate: Gate<usize>,
    server: Scheduler,
    /// The part of a load in which memory comes back.
    recovery: Duration,
    random: Rng,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    count: u64,
    places: HashMap<usize, Place>,
    /// Whose calls the server has.
    calls: HashMap<CallId, Call>,
    fates: Vec<Fate>,
    begun: Vec<usize>,
    /// Arrivals and ends of patience to come.
    pending: usize,
    /// When time alone changes something next.
    wakes: Option<Duration>,
    /// The load in progress, and when it was ordered.
    loading: Option<(LoadOrder, Duration)>,
}

/// Where a request is.
enum Place {
    /// In the gateway's line.
    Waits(Key),
    /// On its way to the server, or there.
    Called { permit: Option<Permit>, call: Option<CallId> },
}

#[derive(Clone, Copy)]
enum Call {
    Of(usize),
    Load,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A request arrives.
    Arrives(usize),
    /// The server has its call.
    Reaches(usize),
    /// Its answer is complete.
    Ends(usize),
    /// The gateway knows that it is.
    Known(usize),
    /// Its client gives up.
    GivesUp(usize),
    /// Its longest wait in line is over.
    Expires(usize),
    /// The order reaches the server.
    Ordered,
    /// The gateway knows that the model is loaded.
    Loaded,
    /// The gateway asks what is loaded.
    Looks,
    /// Time alone may have changed something.
    Wakes,
}

impl<'a> World<'a> {
    pub fn new(workload: &'a Workload, served: Served, origin: Instant) -> Self {
        let (breaker, retry) = (BreakerPolicy::default(), RetryPolicy::default());
        // Whoever measures a load has also waited for the memory of the model that went for it.
        let shortest = workload.models.iter().map(|model| model.load).min().unwrap_or_default();
        let recovery = RECOVERY.min(shortest / 4);
        let bounds = Bounds {
            max_queue: SERVER_QUEUE,
            max_loaded: workload.room,
            memory: workload.memory,
            recovery,
            prompts: PromptBounds::default(),
        };
        let parse = |model: &PlannedModel| ModelKey::parse(&model.name);
        let mut world = Self {
            workload,
            served,
            origin,
            keys: workload.models.iter().filter_map(parse).collect(),
            gate: Gate::new(workload.limits, breaker, retry, origin),
            server: Scheduler::new(bounds),
            recovery,
            random: Rng::with_seed(0),
            events: BinaryHeap::new(),
            count: 0,
            places: HashMap::new(),
            calls: HashMap::new(),
            fates: vec![Fate::GaveUp; workload.requests.len()],
            begun: Vec::new(),
            pending: 2 * workload.requests.len(),
            wakes: None,
            loading: None,
        };
        if served == Served::Warm {
            let policy = Some(WarmPolicy::default());
            world.ask(Duration::ZERO, |gate, at, wakes| gate.schedule(policy, at, wakes));
            world.at(Duration::ZERO, Event::Looks);
        }
        for (number, request) in workload.requests.iter().enumerate() {
            world.at(request.at, Event::Arrives(number));
            world.at(request.at + request.patience, Event::GivesUp(number));
        }
        world
    }

    pub fn run(mut self) -> Outcome {
        loop {
            let next = self.events.peek().map(|Reverse((at, ..))| *at);
            let change = self.server.next_change();
            let change = change.map(|change| change.saturating_duration_since(self.origin));
            match (next, change) {
                // Without a request nothing that the server does matters.
                (None, _) => break,
                (Some(next), Some(change)) if change < next => self.advance(change),
                (Some(_), _) => {
                    let Some(Reverse((at, _, event))) = self.events.pop() else { break };
                    self.advance(at);
                    self.happen(at, event);
                    self.advance(at);
                }
            }
        }
        let seen = self.server.snapshot();
        let (loads, aborted, reloads) = (seen.loads, seen.aborted_loads, seen.reloads);
        Outcome { fates: self.fates, begun: self.begun, loads, aborted, reloads }
    }

    fn happen(&mut self, now: Duration, event: Event) {
        if matches!(event, Event::Arrives(_) | Event::GivesUp(_)) {
            self.pending -= 1;
        }
        match event {
            Event::Arrives(number) => match self.served {
                Served::Alone => self.call(now, number, None),
                Served::Fair | Served::Warm => self.admit(now, number),
            },
            Event::Reaches(number) => self.reach(now, number),
            Event::Ends(number) => self.end(now, number, End::Finished),
            Event::Known(number) => {
                if let Some(Place::Called { permit: Some(permit), .. }) =
                    self.places.remove(&number)
                {
                    self.ask(now, |gate, at, wakes| {
                        gate.end(permit, Ended::Success, None, at, wakes);
                    });
                }
            }
            Event::GivesUp(number) => self.give_up(now, number),
            Event::Expires(number) => {
                let Some(Place::Waits(key)) = self.places.get(&number) else { return };
                let key = *key;
                let expired = self.ask(now, |gate, at, _| gate.expire(key, at));
                match expired {
                    Some((number, refusal)) => self.refuse(number, refusal.reason),
                    None => self.expire_later(key, number),
                }
            }
            Event::Ordered => self.send_order(now),
            Event::Loaded => self.tell_loaded(now),
            Event::Looks => {
                if self.gate.wants_look() || now.is_zero() {
                    let loaded = self.loaded(now);
                    self.ask(now, |gate, at, wakes| gate.believe(Some(&loaded), at, wakes));
                }
                if self.pending > 0 {
                    self.at(now + LOOK_EVERY, Event::Looks);
                }
            }
            Event::Wakes => self.ask(now, |gate, at, wakes| gate.wake(at, wakes)),
        }
    }

    fn admit(&mut self, now: Duration, number: usize) {
        let Some(arrival) = self.arrival(number) else { return };
        let decision = self.ask(now, |gate, at, wakes| gate.admit(arrival, at, || number, wakes));
        match decision {
            Decision::Run(permit) => self.call(now, number, Some(permit)),
            Decision::Wait { key, .. } => {
                self.places.insert(number, Place::Waits(key));
                self.expire_later(key, number);
            }
            Decision::Refuse(refusal) => self.refuse(number, refusal.reason),
        }
    }

    fn expire_later(&mut self, key: Key, number: usize) {
        if let Some(until) = self.gate.until(key) {
            self.at(until.saturating_duration_since(self.origin), Event::Expires(number));
        }
    }

    fn call(&mut self, now: Duration, number: usize, permit: Option<Permit>) {
        self.places.insert(number, Place::Called { permit, call: None });
        self.at(now + self.workload.latency, Event::Reaches(number));
    }

    fn reach(&mut self, now: Duration, number: usize) {
        if !self.places.contains_key(&number) {
            return;
        }
        let Some(want) = self.want(number) else { return };
        match self.server.arrive(self.origin + now, want) {
            Ok(id) => {
                self.calls.insert(id, Call::Of(number));
                if let Some(Place::Called { call, .. }) = self.places.get_mut(&number) {
                    *call = Some(id);
                }
            }
            Err(_) => {
                self.note(number, Fate::Busy);
                self.over(now, number, Ended::NotBegun);
            }
        }
    }

    fn end(&mut self, now: Duration, number: usize, end: End) {
        if let Some(Place::Called { call: Some(id), .. }) = self.places.get(&number) {
            self.calls.remove(id);
            self.server.leave(self.origin + now, *id, end);
            self.at(now + self.workload.latency, Event::Known(number));
        }
    }

    fn give_up(&mut self, now: Duration, number: usize) {
        match self.places.get(&number) {
            None => {}
            Some(Place::Waits(key)) => {
                let key = *key;
                if self.gate.cancel(key).is_some() {
                    self.places.remove(&number);
                    self.note(number, Fate::GaveUp);
                }
            }
            Some(Place::Called { call, .. }) => {
                // An answer that has ended is on its way to the gateway.
                if call.is_some_and(|id| !self.calls.contains_key(&id)) {
                    return;
                }
                if let Some(id) = *call {
                    self.calls.remove(&id);
                    self.server.leave(self.origin + now, id, End::Cancelled);
                }
                self.note(number, Fate::GaveUp);
                self.over(now, number, Ended::Neutral);
            }
        }
    }

    fn over(&mut self, now: Duration, number: usize, ended: Ended) {
        if let Some(Place::Called { permit: Some(permit), .. }) = self.places.remove(&number) {
            self.ask(now, |gate, at, wakes| gate.end(permit, ended, None, at, wakes));
        }
    }

    /// Asks the gate, and does what it says to waiting requests and about loads.
    fn ask<R>(
        &mut self,
        now: Duration,
        decide: impl FnOnce(&mut Gate<usize>, &mut Moment<'_>, &mut Vec<Wake<usize>>) -> R,
    ) -> R {
        let instant = self.origin + now;
        let (result, wakes) = ask(&mut self.gate, &mut self.random, instant, decide);
        for wake in wakes {
            match wake {
                Wake::Grant(number, permit) => self.call(now, number, Some(permit)),
                Wake::Refuse(number, refusal) => self.refuse(number, refusal.reason),
            }
        }
        if let Some(order) = self.gate.take_order() {
            self.loading = Some((order, now));
            self.at(now + self.workload.latency, Event::Ordered);
        }
        if self.gate.take_patience_changed() {
            let waiting: Vec<(Key, usize)> = self
                .places
                .iter()
                .filter_map(|(number, place)| match place {
                    Place::Waits(key) => Some((*key, *number)),
                    Place::Called { .. } => None,
                })
                .collect();
            for (key, number) in waiting {
                self.expire_later(key, number);
            }
        }
        if let Some(next) = self.gate.next_wake(self.origin + now) {
            let next = next.saturating_duration_since(self.origin);
            if self.wakes.is_none_or(|before| next < before || before <= now) {
                self.wakes = Some(next);
                self.at(next, Event::Wakes);
            }
        }
        result
    }

    fn arrival(&self, number: usize) -> Option<Arrival> {
        let request = self.workload.requests.get(number)?;
        let model = &self.workload.models.get(request.model)?.name;
        let share =
            Share { caller: Arc::clone(&request.key), weight: 1, priority: request.priority };
        let deadline = self.origin + request.at + DEADLINE;
        let needs = (self.served == Served::Warm).then(|| needs(model));
        Some(Arrival { needs, ..Arrival::new(share, Arc::clone(model), deadline) })
    }

    fn refuse(&mut self, number: usize, reason: RefusalReason) {
        self.places.remove(&number);
        self.note(number, Fate::Refused(reason));
    }

    fn note(&mut self, number: usize, fate: Fate) {
        if let Some(noted) = self.fates.get_mut(number) {
            *noted = fate;
        }
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }
}

fn needs(model: &Arc<str>) -> Needs {
    Needs { key: Arc::clone(model), by: LoadBy::Prompt, slots: None }
}
