//! Runs the requests, one after the other, through a gate in simulated time.
//!
//! It owns the future events: arrivals, ends of calls, ends of waits. It skips the time between two
//! events.
//!
//! What a reader would get wrong: it does not call [`Gate::next_wake`]. In a gate, only cooldowns
//! and breakers change by time alone, and no call fails here.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Scenario;
use super::arrivals::Coming;
use super::asking::ask;
use crate::admission::backoff::RetryPolicy;
use crate::admission::breaker::BreakerPolicy;
use crate::admission::line::{Key, Share};
use crate::admission::{Arrival, Decision, Ended, Gate, Moment, Permit, Wake};
use crate::chat::RefusalReason;
use crate::policy::Priority;

/// The outcome of all requests.
#[derive(Debug)]
pub struct Ran {
    /// The outcome of each request, in the order of arrival.
    pub fates: Vec<Fate>,
    /// The most requests that ever waited at once.
    pub longest_line: u64,
}

/// The outcome of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was admitted after this wait, and answered.
    Served {
        /// From its arrival to its start.
        waited: Duration,
    },
    /// It was admitted after this wait, and its deadline passed before its answer was complete.
    CutOff {
        /// From its arrival to its start.
        waited: Duration,
    },
    /// It was never admitted.
    Refused(RefusalReason),
}

/// A simulation in progress.
pub struct Simulation<'a> {
    scenario: &'a Scenario,
    origin: Instant,
    gate: Gate<usize>,
    random: Rng,
    /// The earliest first; of events at the same moment, ends come before expiries.
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    running: HashMap<usize, Permit>,
    waiting: HashMap<usize, Key>,
    fates: Vec<Fate>,
    /// How many were refused or cut off until now.
    lost: usize,
    longest_line: usize,
    /// The callers' names, interactive ones first, then batch ones.
    names: [Vec<Arc<str>>; 2],
    model: Arc<str>,
}

/// An event of the request with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Its call ends.
    End(usize),
    /// It stops waiting.
    Expire(usize),
}

impl<'a> Simulation<'a> {
    /// A simulation before its first arrival.
    #[must_use]
    pub fn new(scenario: &'a Scenario, origin: Instant) -> Self {
        let (breaker, retry) = (BreakerPolicy::default(), RetryPolicy::default());
        let clients = scenario.coming.iter().map(|one| one.client + 1).max().unwrap_or(0);
        let names = |class: &str| -> Vec<Arc<str>> {
            (0..clients).map(|number| Arc::from(format!("{class}-{number}"))).collect()
        };
        Self {
            scenario,
            origin,
            gate: Gate::new(scenario.limits(), breaker, retry, origin),
            random: Rng::with_seed(scenario.seed),
            events: BinaryHeap::new(),
            running: HashMap::new(),
            waiting: HashMap::new(),
            fates: Vec::with_capacity(scenario.coming.len()),
            lost: 0,
            longest_line: 0,
            names: [names("interactive"), names("batch")],
            model: Arc::from("planned"),
        }
    }

    /// Runs until all requests have arrived and the last of them has ended.
    #[must_use]
    pub fn run(mut self) -> Ran {
        self.advance(usize::MAX);
        Ran { fates: self.fates, longest_line: self.longest_line as u64 }
    }

    /// Whether no more than so many are lost. Runs until that is known.
    #[must_use]
    pub fn loses_at_most(mut self, most: usize) -> bool {
        self.advance(most);
        self.lost <= most
    }

    /// Runs on as long as no more than so many are lost.
    fn advance(&mut self, most: usize) {
        for (number, coming) in self.scenario.coming.iter().enumerate() {
            // A call that ends at the moment of an arrival frees its slot for that arrival.
            while let Some(Reverse((at, event))) = self.events.peek().copied()
                && at <= coming.at
            {
                self.events.pop();
                self.happen(at, event);
            }
            self.come(number, coming);
            if self.lost > most {
                return;
            }
        }
        while self.lost <= most
            && let Some(Reverse((at, event))) = self.events.pop()
        {
            self.happen(at, event);
        }
    }

    fn come(&mut self, number: usize, coming: &Coming) {
        // A placeholder: the request's admission or refusal replaces it.
        self.fates.push(Fate::Refused(RefusalReason::WaitedTooLong));
        let arrival = self.arrival(coming);
        let now = coming.at;
        let decision = self.step(now, |gate, at, wakes| gate.admit(arrival, at, || number, wakes));
        match decision {
            Decision::Run(permit) => self.start(number, permit, now),
            Decision::Wait { key, until } => {
                self.waiting.insert(number, key);
                self.longest_line = self.longest_line.max(self.waiting.len());
                let until = until.saturating_duration_since(self.origin);
                self.events.push(Reverse((until, Event::Expire(number))));
            }
            Decision::Refuse(refusal) => self.refuse(number, refusal.reason),
        }
    }

    fn happen(&mut self, now: Duration, event: Event) {
        match event {
            Event::End(number) => {
                let Some(permit) = self.running.remove(&number) else { return };
                let ended = match self.fates.get(number) {
                    // The gateway cancels such a call, which says nothing about the provider.
                    Some(Fate::CutOff { .. }) => Ended::Neutral,
                    Some(Fate::Served { .. } | Fate::Refused(_)) | None => Ended::Success,
                };
                self.step(now, |gate, at, wakes| gate.end(permit, ended, None, at, wakes));
            }
            Event::Expire(number) => {
                let Some(key) = self.waiting.get(&number).copied() else { return };
                let expired = self.step(now, |gate, at, _| gate.expire(key, at));
                if let Some((number, refusal)) = expired {
                    self.refuse(number, refusal.reason);
                }
            }
        }
    }

    /// Asks the gate for a decision, then starts or refuses the waiting requests that it names.
    fn step<R>(
        &mut self,
        now: Duration,
        decide: impl FnOnce(&mut Gate<usize>, &mut Moment<'_>, &mut Vec<Wake<usize>>) -> R,
    ) -> R {
        let instant = self.origin + now;
        let (result, wakes) = ask(&mut self.gate, &mut self.random, instant, decide);
        for wake in wakes {
            match wake {
                Wake::Grant(number, permit) => self.start(number, permit, now),
                Wake::Refuse(number, refusal) => self.refuse(number, refusal.reason),
            }
        }
        result
    }

    fn start(&mut self, number: usize, permit: Permit, now: Duration) {
        self.waiting.remove(&number);
        let Some(coming) = self.scenario.coming.get(number) else { return };
        let (end, deadline) = (now + coming.hold, coming.at + self.scenario.deadline);
        let waited = now.saturating_sub(coming.at);
        let is_late = end > deadline;
        self.note(number, if is_late { Fate::CutOff { waited } } else { Fate::Served { waited } });
        self.events.push(Reverse((end.min(deadline), Event::End(number))));
        self.running.insert(number, permit);
    }

    fn refuse(&mut self, number: usize, reason: RefusalReason) {
        self.waiting.remove(&number);
        self.note(number, Fate::Refused(reason));
    }

    fn note(&mut self, number: usize, fate: Fate) {
        if let Some(noted) = self.fates.get_mut(number) {
            *noted = fate;
            self.lost += usize::from(!matches!(fate, Fate::Served { .. }));
        }
    }

    fn arrival(&self, coming: &Coming) -> Arrival {
        let [interactive, batch] = &self.names;
        let names = match coming.priority {
            Priority::Interactive => interactive,
            Priority::Batch => batch,
        };
        let caller = usize::try_from(coming.client).ok().and_then(|client| names.get(client));
        let share = Share {
            caller: Arc::clone(caller.unwrap_or(&self.model)),
            weight: 1,
            priority: coming.priority,
        };
        let deadline = self.origin + coming.at + self.scenario.deadline;
        Arrival::new(share, Arc::clone(&self.model), deadline)
    }
}
