//! The other gateways before the same server: what they run and wait for, and whose turn it is to
//! have a model loaded.
//!
//! Owns what was last heard of them. One gateway at a time may swap; [`crate::admission::turns`]
//! agrees with the others on that, and the rule asks here before a swap begins. A model that others
//! use is not idle, one that leaves for another gateway's swap starts no calls here either, and the
//! gateway whose turn it is waits until all have heard of it and their calls have ended.
//!
//! The trap: after another gateway's turn the beliefs about the server are old. What was to leave
//! stays closed, and no turn is asked for, until the server has said again what it has loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Warm;
use super::swap::Phase;
use super::words::{Heard, ModelWord, Report, SwapWord, Word};
use crate::admission::line::{Lane, Line};

/// See the module's introduction.
#[derive(Debug, Default)]
pub(super) struct Peers {
    turn: Turn,
    round: u64,
    /// The round of the beliefs about the server.
    seen: u64,
    /// The round in which the server was last asked.
    asked: Option<u64>,
    theirs: BTreeMap<Lane, Theirs>,
    elsewhere: Option<Elsewhere>,
    /// Models that start no calls because of another gateway's swap.
    shut: BTreeSet<Lane>,
    /// Whether all others have heard of this gateway's swap.
    all_know: bool,
    /// Since when the model is wanted for which it wants a turn.
    wants: Option<Instant>,
    /// What was last reported, as far as the others must hear at once of a change.
    told: Mark,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    /// There are no other gateways, or they cannot be heard.
    #[default]
    Alone,
    /// It has no turn.
    Waits,
    /// It may swap.
    Mine,
}

/// What all others together do with a model.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Theirs {
    pub running: u32,
    pub waiting: u32,
    pub promised: bool,
    pub hurry: bool,
}

impl Theirs {
    /// Whether no other gateway needs the model now.
    pub fn is_idle(self) -> bool {
        self.running == 0 && self.waiting == 0
    }
}

/// Another gateway's swap.
#[derive(Debug)]
struct Elsewhere {
    round: u64,
    target: Option<Lane>,
    model: Arc<str>,
    leaving: BTreeSet<Lane>,
    since: Instant,
    phase: ElsewherePhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElsewherePhase {
    Drain,
    Load,
    /// It has ended, and the server was not asked since.
    Over,
}

/// Whether it wants a turn; its swap's number, size and whether it loads; what it knows.
type Mark = (bool, Option<(u64, usize, bool)>, u64);

impl Peers {
    /// What the others do with this model.
    pub fn with(&self, lane: Lane) -> Theirs {
        self.theirs.get(&lane).copied().unwrap_or_default()
    }

    /// Nothing is due.
    pub fn want_no_turn(&mut self) {
        self.wants = None;
    }

    /// Whether a swap may begin.
    pub fn may_swap(&self) -> bool {
        match self.turn {
            Turn::Alone => true,
            Turn::Waits => false,
            Turn::Mine => self.round == self.seen,
        }
    }

    /// Whether the others' calls of the models that leave have ended, and no more will be started.
    pub fn have_left(&self, leaving: &BTreeSet<Lane>) -> bool {
        let is_busy = |lane: &Lane| self.with(*lane).running > 0;
        self.turn == Turn::Alone || self.all_know && !leaving.iter().any(is_busy)
    }

    /// Since when calls of this model are held back for another gateway's swap, if only its running
    /// calls keep that from going on.
    pub fn drains(&self, lane: Lane) -> Option<Instant> {
        let drains = |it: &&Elsewhere| it.phase == ElsewherePhase::Drain;
        let elsewhere = self.elsewhere.as_ref().filter(drains)?;
        (elsewhere.leaving.contains(&lane) && self.seen == self.round).then_some(elsewhere.since)
    }

    /// Whether this model starts no calls because of another gateway's swap.
    pub fn hold_back(&self, lane: Lane) -> bool {
        self.shut.contains(&lane)
    }

    /// Whether another gateway has a load carried out.
    pub fn are_loading(&self) -> bool {
        self.elsewhere.as_ref().is_some_and(|it| it.phase == ElsewherePhase::Load)
    }

    /// Whether another gateway's turn has ended and the server was not asked since.
    fn is_stale(&self) -> bool {
        self.turn != Turn::Alone && self.round != self.seen && self.asked != Some(self.round)
    }

    /// The server has said what it has loaded. Returns the model that another gateway's swap has
    /// brought, if one has ended.
    fn believed(&mut self) -> Option<Lane> {
        self.seen = self.asked.unwrap_or(self.seen);
        if self.seen != self.round {
            return None;
        }
        let is_over = |it: &Elsewhere| it.phase == ElsewherePhase::Over;
        let over = self.elsewhere.take_if(|it| is_over(it));
        let leaving = self.elsewhere.as_ref().map(|it| it.leaving.clone());
        self.shut = leaving.unwrap_or_default();
        over?.target
    }

    fn hear(&mut self, heard: &Heard, lane_of: impl Fn(&str) -> Option<Lane>, now: Instant) {
        self.turn = if heard.is_mine { Turn::Mine } else { Turn::Waits };
        self.round = heard.round;
        if heard.has_ended {
            // Nobody else has had a turn meanwhile.
            self.seen = heard.round;
        }
        self.all_know = heard.others.iter().all(|word| word.knows == heard.round);
        self.theirs.clear();
        for word in heard.others.iter().flat_map(|word| &word.models) {
            let Some(lane) = lane_of(&word.key) else { continue };
            let theirs = self.theirs.entry(lane).or_default();
            theirs.running = theirs.running.saturating_add(word.running);
            theirs.waiting = theirs.waiting.saturating_add(word.waiting);
            theirs.promised |= word.promised;
            theirs.hurry |= word.hurry;
        }
        match &heard.swap {
            Some((swap, age)) => {
                let leaving: BTreeSet<Lane> =
                    swap.leaving.iter().filter_map(|key| lane_of(key)).collect();
                self.shut.extend(&leaving);
                let known = self.elsewhere.as_ref().filter(|it| it.round == heard.round);
                let since = known.map(|it| it.since).or_else(|| now.checked_sub(*age));
                self.elsewhere = Some(Elsewhere {
                    round: heard.round,
                    target: lane_of(&swap.target),
                    model: Arc::clone(&swap.model),
                    leaving,
                    since: since.unwrap_or(now),
                    phase: match swap.loading {
                        true => ElsewherePhase::Load,
                        false => ElsewherePhase::Drain,
                    },
                });
            }
            None => {
                if let Some(elsewhere) = &mut self.elsewhere {
                    elsewhere.phase = ElsewherePhase::Over;
                }
            }
        }
    }
}

impl Warm {
    /// From now on other gateways are asked before a swap begins.
    pub fn share(&mut self) {
        self.peers.turn = Turn::Waits;
    }

    /// The other gateways cannot be heard any more: this one decides alone.
    pub fn be_alone(&mut self) {
        self.peers = Peers::default();
    }

    /// What the other gateways should hear; `key_of` finds the key of a lane.
    pub fn report<T>(
        &mut self,
        line: &Line<T>,
        key_of: impl Fn(Lane) -> Option<Arc<str>>,
        now: Instant,
    ) -> Option<Report> {
        if !self.is_known() {
            return None;
        }
        self.peers.told = self.mark();
        let mut models = Vec::new();
        for (lane, runner) in &self.runners {
            let (running, waiting) = (runner.in_flight(), line.waiting_in(*lane));
            if running == 0 && waiting == 0 && runner.load.is_none() {
                continue;
            }
            let Some(key) = key_of(*lane) else { continue };
            models.push(ModelWord {
                key,
                running,
                waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
                promised: runner.stay.is_some_and(|stay| line.came_before(*lane, stay.newest)),
                hurry: waiting > 0 && !line.is_all_batch(*lane),
                people: runner.stay.is_some_and(|stay| stay.people),
                load_ms: runner.load.and_then(|load| u64::try_from(load.as_millis()).ok()),
            });
        }
        let is_busy = models.iter().any(|model| model.running > 0 || model.waiting > 0)
            || self.swap.is_some()
            || self.peers.wants.is_some();
        let (_, _, knows) = self.peers.told;
        let swap = self.swap.as_ref().and_then(|swap| {
            Some(SwapWord {
                target: key_of(swap.target)?,
                model: Arc::clone(&self.runners.get(&swap.target)?.model),
                leaving: swap.leaving.iter().filter_map(|lane| key_of(*lane)).collect(),
                loading: swap.phase != Phase::Drain,
            })
        });
        Some(Report {
            word: is_busy.then_some(Word { models, knows }),
            asks: self.peers.wants.map(|since| now.saturating_duration_since(since)),
            seen: self.peers.seen,
            swap,
        })
    }

    /// Takes what all gateways have said.
    pub fn hear(&mut self, heard: &Heard, lane_of: impl Fn(&str) -> Option<Lane>, now: Instant) {
        let had_turn = self.peers.turn != Turn::Waits;
        self.peers.hear(heard, &lane_of, now);
        let is_draining = self.swap.as_ref().is_some_and(|swap| swap.phase == Phase::Drain);
        if had_turn && !heard.is_mine && is_draining {
            // It is asked for again.
            self.swap = None;
        }
        for word in heard.others.iter().flat_map(|word| &word.models) {
            let runner = lane_of(&word.key).and_then(|lane| self.runners.get_mut(&lane));
            let Some(runner) = runner else { continue };
            runner.load = runner.load.or(word.load_ms.map(Duration::from_millis));
            if let Some(stay) = runner.stay.as_mut().filter(|_| word.running > 0) {
                stay.used = now;
                stay.served = stay.served.max(1);
                stay.people |= word.people;
            }
        }
    }

    /// Whether a turn has changed, so that the server should be asked what it has loaded.
    pub fn is_stale(&self) -> bool {
        self.peers.is_stale()
    }

    /// The server is asked what it has loaded.
    pub fn ask_server(&mut self) {
        self.peers.asked = Some(self.peers.round);
    }

    /// Whether the other gateways must hear of something at once.
    pub fn has_news(&self) -> bool {
        self.peers.turn != Turn::Alone && self.mark() != self.peers.told
    }

    /// Whether another gateway has a load carried out.
    pub fn is_loading_elsewhere(&self) -> bool {
        self.peers.are_loading()
    }

    /// The model that another gateway has loaded, or had loaded since the server was last asked.
    pub fn loaded_elsewhere(&self) -> Option<Arc<str>> {
        self.peers.elsewhere.as_ref().map(|it| Arc::clone(&it.model))
    }

    /// The server says what it has loaded, before that is believed: another gateway's load tells
    /// what does not fit beside each other, as this one's own do.
    pub(super) fn note_round(&mut self, loaded: &BTreeSet<Lane>) {
        let before = self.residents();
        let came = self.peers.believed().filter(|lane| loaded.contains(lane));
        let gone = before.difference(loaded).count();
        let Some(target) = came.filter(|lane| gone > 0 && !before.contains(lane)) else { return };
        if let Some(runner) = self.runners.get_mut(&target) {
            runner.evicts = gone;
        }
        self.fit.apart(before.into_iter().chain([target]).collect());
    }

    /// Wants a turn for this model.
    pub(super) fn want_turn(&mut self, target: Lane, now: Instant) {
        let runner = self.runners.get(&target);
        let since = runner.and_then(|runner| {
            let wanted = runner.wanted.map(|wish| wish.since);
            wanted.into_iter().chain(runner.oldest_call()).min()
        });
        self.peers.wants = Some(since.unwrap_or(now));
    }

    /// Another gateway's swap: its model, and how long it probably still takes.
    pub(super) fn swap_elsewhere(&self, now: Instant) -> Option<(Option<Lane>, Duration)> {
        let elsewhere = self.peers.elsewhere.as_ref()?;
        let load = elsewhere.target.map_or(Duration::ZERO, |target| self.load(target));
        let left = match elsewhere.phase {
            ElsewherePhase::Drain => load,
            ElsewherePhase::Load => {
                load.saturating_sub(now.saturating_duration_since(elsewhere.since))
            }
            ElsewherePhase::Over => Duration::ZERO,
        };
        Some((elsewhere.target, left))
    }

    fn mark(&self) -> Mark {
        let swap = self.swap.as_ref();
        let swap = swap.map(|swap| (swap.number, swap.leaving.len(), swap.phase != Phase::Drain));
        let knows = self.peers.elsewhere.as_ref().map_or(0, |it| it.round);
        (self.peers.wants.is_some(), swap, knows)
    }
}
