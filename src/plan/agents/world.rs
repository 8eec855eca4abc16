//! The clock of agents before some hosts: turns, calls on their way, ends of patience.
//!
//! It owns the events to come and asks the gates and the hosts' caches what follows from each. It
//! decides nothing itself, but for the host of a turn, as the router does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::{Agent, Agents, Host, Ordered, Outcome, Step, Turn};
use crate::admission::backoff::RetryPolicy;
use crate::admission::breaker::BreakerPolicy;
use crate::admission::concurrency::Concurrency;
use crate::admission::line::{Key, Share};
use crate::admission::remembered::Counts;
use crate::admission::{Arrival, Decision, Ended, Gate, Limits, Moment, Permit, Wake};
use crate::chat::Chain;
use crate::plan::arrivals::seconds;
use crate::plan::asking::ask;
use crate::sim::prompt_cache::{Part, Prompt, PromptBounds, PromptCache, Reading};

/// How long the gateway lets a request wait for its answer.
const DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an agent waits before it asks a refused turn again; each time twice as long.
const AGAIN: Duration = Duration::from_secs(1);
/// So often at most.
const DOUBLINGS: u32 = 5;
/// Bytes of text per token.
const BYTES: u32 = 4;
/// The name of the one model.
const MODEL: &str = "model";

/// Agents on their way.
pub(super) struct World<'a> {
    agents: &'a Agents,
    ordered: Ordered,
    origin: Instant,
    gates: Vec<Gate<usize>>,
    caches: Vec<PromptCache<usize>>,
    random: Rng,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    count: u64,
    /// The present turn of each agent.
    talks: Vec<Talk>,
    /// When time alone changes something next at each host.
    wakes: Vec<Option<Duration>>,
    outcome: Outcome,
}

/// An agent's conversation.
struct Talk {
    parts: Vec<Part>,
    turn: usize,
    /// When its present turn was first asked.
    asked: Option<Duration>,
    /// How often it was refused.
    refused: u32,
    host: usize,
    /// The host that had its last turn.
    home: Option<usize>,
    key: Option<Key>,
    running: Option<Running>,
}

struct Running {
    permit: Permit,
    began: Duration,
    reading: Reading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// An agent's turn arrives.
    Arrives(usize),
    /// Its answer is complete.
    Ends(usize),
    /// Its longest wait in line is over.
    Expires(usize),
    /// Time alone may have changed something at a host.
    Wakes(usize),
}

impl<'a> World<'a> {
    pub fn new(agents: &'a Agents, ordered: Ordered, origin: Instant) -> Self {
        let (breaker, retry) = (BreakerPolicy::default(), RetryPolicy::default());
        let gate = |host: &Host| {
            let limits = Limits {
                max_concurrency: Concurrency::Fixed(host.slots),
                max_queue: agents.max_queue,
                max_queue_wait: agents.max_wait,
            };
            Gate::new(limits, breaker, retry, origin)
        };
        let mut world = Self {
            agents,
            ordered,
            origin,
            gates: agents.hosts.iter().map(gate).collect(),
            caches: agents.hosts.iter().map(cache).collect(),
            random: Rng::with_seed(0),
            events: BinaryHeap::new(),
            count: 0,
            talks: agents.agents.iter().map(Talk::new).collect(),
            wakes: vec![None; agents.hosts.len()],
            outcome: Outcome::default(),
        };
        let policy = match ordered {
            Ordered::Arrival | Ordered::Prefix => None,
            Ordered::Remembered => Some(agents.policy),
        };
        for host in 0..agents.hosts.len() {
            world.ask(Duration::ZERO, host, |gate, at, wakes| gate.remember(policy, at, wakes));
        }
        let comes = |agent: &Agent| !agent.steps.is_empty();
        for (number, agent) in agents.agents.iter().enumerate().filter(|(_, it)| comes(it)) {
            world.at(agent.at, Event::Arrives(number));
        }
        world
    }

    pub fn run_until(mut self, until: Duration) -> Outcome {
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            if now > until {
                break;
            }
            self.happen(now, event);
        }
        self.outcome
    }

    fn happen(&mut self, now: Duration, event: Event) {
        match event {
            Event::Arrives(number) => self.arrive(now, number),
            Event::Ends(number) => self.end(now, number),
            Event::Expires(number) => {
                let talk = self.talks.get(number);
                let Some((key, host)) = talk.and_then(|talk| Some((talk.key?, talk.host))) else {
                    return;
                };
                let expired = self.ask(now, host, |gate, at, _| gate.expire(key, at));
                if expired.flatten().is_some() {
                    self.refuse(now, number);
                }
            }
            Event::Wakes(host) => {
                self.ask(now, host, |gate, at, wakes| gate.wake(at, wakes));
            }
        }
    }

    fn arrive(&mut self, now: Duration, number: usize) {
        let Some(agent) = self.agents.agents.get(number) else { return };
        let Some(talk) = self.talks.get_mut(number) else { return };
        talk.asked.get_or_insert(now);
        talk.say(number, agent);
        let chain = Arc::new(talk.chain());
        let host = self.choose(now, &chain, number);
        let Agent { key, weight, priority, .. } = agent;
        let share = Share { caller: Arc::clone(key), weight: *weight, priority: *priority };
        let deadline = self.origin + now + DEADLINE;
        let chain = (self.ordered == Ordered::Remembered).then_some(chain);
        let arrival = Arrival { chain, ..Arrival::new(share, Arc::from(MODEL), deadline) };
        if let Some(talk) = self.talks.get_mut(number) {
            talk.host = host;
        }
        let decision =
            self.ask(now, host, |gate, at, wakes| gate.admit(arrival, at, || number, wakes));
        match decision {
            None => {}
            Some(Decision::Run(permit)) => self.start(now, number, permit),
            Some(Decision::Wait { key, until }) => {
                if let Some(talk) = self.talks.get_mut(number).filter(|it| it.running.is_none()) {
                    talk.key = Some(key);
                }
                self.at(until.saturating_duration_since(self.origin), Event::Expires(number));
            }
            Some(Decision::Refuse(_)) => self.refuse(now, number),
        }
    }

    /// The host of a turn: the one with the shortest wait.
    fn choose(&mut self, now: Duration, chain: &Arc<Chain>, number: usize) -> usize {
        let home = self.talks.get(number).and_then(|talk| talk.home);
        let first = self.random.usize(..self.agents.hosts.len().max(1));
        let count = self.gates.len().max(1);
        let hosts = (0..count).map(|host| (host + first) % count);
        let wait = |host: &usize| {
            let gate = self.gates.get(*host);
            let chain = Some(chain).filter(|_| self.ordered == Ordered::Remembered);
            let now = self.origin + now;
            gate.map_or(Duration::MAX, |gate| gate.expected_wait(MODEL, chain, now))
        };
        match self.ordered {
            Ordered::Arrival | Ordered::Remembered => hosts.min_by_key(wait).unwrap_or(0),
            Ordered::Prefix => home.or_else(|| hosts.min_by_key(wait)).unwrap_or(0),
        }
    }

    fn start(&mut self, now: Duration, number: usize, permit: Permit) {
        let Some(talk) = self.talks.get_mut(number) else { return };
        let (Some(host), Some(agent)) =
            (self.agents.hosts.get(talk.host), self.agents.agents.get(number))
        else {
            return;
        };
        let Some(cache) = self.caches.get_mut(talk.host) else { return };
        let answer = talk.answer(number, agent);
        let prompt = Prompt::new(talk.parts.iter().copied(), [answer]);
        let reading = cache.begin(self.origin + now, number, &prompt);
        let writing = seconds(f64::from(answer.tokens) / host.write);
        (talk.key, talk.home) = (None, Some(talk.host));
        talk.running = Some(Running { permit, began: now, reading });
        self.outcome.started.push(number);
        self.outcome.read += reading.tokens - reading.cached;
        self.outcome.reused += reading.cached;
        self.at(now + reading.takes + writing, Event::Ends(number));
    }

    fn end(&mut self, now: Duration, number: usize) {
        let Some(agent) = self.agents.agents.get(number) else { return };
        let Some(talk) = self.talks.get_mut(number) else { return };
        let Some(Running { permit, began, reading }) = talk.running.take() else { return };
        let (host, asked) = (talk.host, talk.asked.take().unwrap_or(now));
        talk.refused = 0;
        if let Some(cache) = self.caches.get_mut(host) {
            cache.end(self.origin + now, number, true);
        }
        let answer = talk.answer(number, agent);
        if talk.step(agent).is_some_and(|step| step.is_repeated) {
            talk.parts.push(answer);
        }
        talk.turn += 1;
        let next = talk.step(agent).map(|step| now + step.pause);
        self.outcome.turns.push(Turn {
            agent: number,
            waited: began + reading.takes - asked,
            held: now - began,
            ended: now,
        });
        let counts = Counts {
            prompt: Some(reading.tokens),
            cached: self.agents.counts.then_some(reading.cached),
            answer: Some(u64::from(answer.tokens)),
            reading: Some(reading.takes).filter(|reading| !reading.is_zero()),
        };
        self.ask(now, host, |gate, at, wakes| {
            gate.count(&permit, counts);
            gate.end(permit, Ended::Success, None, at, wakes);
        });
        if let Some(next) = next {
            self.at(next, Event::Arrives(number));
        }
    }

    fn refuse(&mut self, now: Duration, number: usize) {
        self.outcome.refused += 1;
        let Some(talk) = self.talks.get_mut(number) else { return };
        talk.key = None;
        talk.parts.pop();
        let pause = AGAIN * 2_u32.pow(talk.refused.min(DOUBLINGS));
        talk.refused += 1;
        self.at(now + pause, Event::Arrives(number));
    }

    /// Asks a host's gate, and does what it says to waiting turns.
    fn ask<R>(
        &mut self,
        now: Duration,
        host: usize,
        decide: impl FnOnce(&mut Gate<usize>, &mut Moment<'_>, &mut Vec<Wake<usize>>) -> R,
    ) -> Option<R> {
        let instant = self.origin + now;
        let gate = self.gates.get_mut(host)?;
        let (result, wakes) = ask(gate, &mut self.random, instant, decide);
        for wake in wakes {
            match wake {
                Wake::Grant(number, permit) => self.start(now, number, permit),
                Wake::Refuse(number, _) => self.refuse(now, number),
            }
        }
        let next = self.gates.get(host).and_then(|gate| gate.next_wake(instant));
        if let (Some(next), Some(wakes)) = (next, self.wakes.get_mut(host)) {
            let next = next.saturating_duration_since(self.origin);
            if wakes.is_none_or(|before| next < before || before <= now) {
                *wakes = Some(next);
                self.at(next, Event::Wakes(host));
            }
        }
        Some(result)
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }
}

impl Talk {
    fn new(agent: &Agent) -> Self {
        let part = |(what, tokens)| Part { what, tokens };
        let parts = agent.common.into_iter().map(part).collect();
        let (turn, host) = (0, 0);
        Self { parts, turn, asked: None, refused: 0, host, home: None, key: None, running: None }
    }

    /// The agent's present turn, as it is to be.
    fn step<'a>(&self, agent: &'a Agent) -> Option<&'a Step> {
        agent.steps.get(self.turn)
    }

    /// Says the agent's present turn.
    fn say(&mut self, number: usize, agent: &Agent) {
        let tokens = self.step(agent).map_or(0, |step| step.grows);
        self.parts.push(Part { what: digest(number, self.turn, 1), tokens });
    }

    /// The answer to it.
    fn answer(&self, number: usize, agent: &Agent) -> Part {
        let tokens = self.step(agent).map_or(0, |step| step.answer);
        Part { what: digest(number, self.turn, 2), tokens }
    }

    fn chain(&self) -> Chain {
        let bytes = |part: &Part| part.tokens.saturating_mul(BYTES);
        Chain::of_pieces(self.parts.iter().map(|part| (part.what, bytes(part))))
    }
}

fn cache(host: &Host) -> PromptCache<usize> {
    let bounds = PromptBounds { stored: Some(host.cache), read: host.read };
    PromptCache::new(host.slots as usize, bounds)
}

fn digest(agent: usize, turn: usize, part: u64) -> u64 {
    // Below these are the digests of common beginnings.
    (agent as u64 + 1) << 40 | (turn as u64) << 4 | part
}
