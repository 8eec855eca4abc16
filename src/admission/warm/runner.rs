//! One model that a server can load: whether it is loaded, whether jobs need it, and what was
//! learnt about it.
//!
//! Owns the state of one lane. Decides nothing that concerns two models.
//!
//! The one thing to know: the time of a load is learnt from the gateway's own orders only. What a
//! server reports with an answer includes its waiting for other loads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::types::Needs;
use crate::admission::estimate::HoldTime;
use crate::admission::line::Key;
use crate::chat::LoadBy;
use crate::policy::Priority;

/// The state of one model.
#[derive(Debug)]
pub(super) struct Runner {
    pub model: Arc<str>,
    pub by: LoadBy,
    /// Set while it is loaded.
    pub stay: Option<Stay>,
    /// When it was last unloaded.
    pub gone: Option<Instant>,
    /// Set while it is not loaded and a job needs it.
    pub wanted: Option<Wish>,
    /// Whether the server has it loaded with other options than it is to have, as far as is known.
    pub is_outdated: bool,
    /// How long it takes to load.
    pub load: Option<Duration>,
    /// How many models had to go for it the last time.
    pub evicts: usize,
    /// Loads that failed in a row.
    pub failures: u32,
    /// Until when no load is ordered, after one that failed.
    pub paused: Option<Instant>,
    /// Whether the first job in its lane has to be told that its load failed.
    pub has_failed: bool,
    demand: Demand,
    hold: HoldTime,
    slots: Option<u32>,
    /// When its running calls started, and how many at each instant.
    calls: BTreeMap<Instant, u32>,
    /// Until when its calls are sent whether or not it is loaded.
    exempt: Option<Instant>,
}

/// A loaded model's time in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    pub since: Instant,
    /// The newest job when it was loaded: it and all before it are served before the model goes.
    pub newest: Key,
    pub served: u64,
    pub used: Instant,
    /// Whether an interactive job was started.
    pub people: bool,
}

/// The wish for a model that is not loaded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub since: Instant,
    last: Instant,
}

/// How often a model was asked for lately.
#[derive(Clone, Copy, Debug)]
struct Demand {
    arrivals: f64,
    at: Instant,
}

/// In this time the weight of an arrival halves.
const HALF_LIFE: Duration = Duration::from_secs(120);
/// A load call that took less than this part of a load found the model loaded.
const NO_LOAD: f64 = 0.05;
/// Nor was what took less than this a load, where a load may have been needless and none was seen;
/// and where none was seen, what took longer was one.
const LEAST_LOAD: Duration = Duration::from_millis(250);
/// The shortest pause after a failed load, which doubles with every failure in a row.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// After so many failures in a row the pause grows no more.
const MOST_FAILURES: u32 = 6;
/// The longest pause: clients wait longer than that for a load.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a model is exempt whose load was refused.
const EXEMPT: Duration = Duration::from_secs(60);
/// Predictions from fewer calls than this refuse no job.
const TRUSTED: u64 = 5;
/// A call that has run for this many times the mean may well run as long again.
const LONG: u32 = 2;

impl Runner {
    pub fn new(model: &Arc<str>, by: LoadBy, now: Instant) -> Self {
        Self {
            model: Arc::clone(model),
            by,
            stay: None,
            gone: None,
            wanted: None,
            is_outdated: false,
            load: None,
            evicts: 1,
            failures: 0,
            paused: None,
            has_failed: false,
            demand: Demand { arrivals: 0.0, at: now },
            hold: HoldTime::default(),
            slots: None,
            calls: BTreeMap::new(),
            exempt: None,
        }
    }

    pub fn arrive(&mut self, needs: &Needs, now: Instant) {
        self.demand = Demand { arrivals: self.demand(now) + 1.0, at: now };
        (self.by, self.slots) = (needs.by, needs.slots);
    }

    pub fn demand(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.demand.at);
        self.demand.arrivals * (-age.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
    }

    pub fn is_loaded(&self) -> bool {
        self.stay.is_some()
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    pub fn is_in_use(&self) -> bool {
        self.is_loaded() || self.is_wanted() || !self.calls.is_empty()
    }

    pub fn in_flight(&self) -> u32 {
        self.calls.values().sum()
    }

    /// When the oldest of its running calls started.
    pub fn oldest_call(&self) -> Option<Instant> {
        self.calls.keys().next().copied()
    }

    pub fn is_full(&self) -> bool {
        self.slots.is_some_and(|slots| self.in_flight() >= slots)
    }

    pub fn width(&self, usable: u32) -> u32 {
        self.slots.map_or(usable, |slots| slots.min(usable)).max(1)
    }

    pub fn is_exempt(&self, now: Instant) -> bool {
        self.exempt.is_some_and(|until| now < until)
    }

    /// Whether its last load was refused.
    pub fn has_exemption(&self) -> bool {
        self.exempt.is_some()
    }

    pub fn exempt(&mut self, now: Instant) {
        self.exempt = now.checked_add(EXEMPT);
        self.wanted = None;
        self.is_outdated = false;
    }

    pub fn start(&mut self, priority: Priority, now: Instant) {
        *self.calls.entry(now).or_default() += 1;
        if let Some(stay) = &mut self.stay {
            stay.served += 1;
            stay.used = now;
            stay.people |= priority == Priority::Interactive;
        }
    }

    pub fn end(&mut self, started: Instant, held: Option<(Duration, bool)>, now: Instant) {
        if let Some(count) = self.calls.get_mut(&started) {
            *count -= 1;
            if *count == 0 {
                self.calls.remove(&started);
            }
        }
        if let Some(stay) = &mut self.stay {
            stay.used = now;
        }
        // A call that stood in the server's own line says nothing about the model's speed.
        if let Some((held, failed)) = held.filter(|_| self.stay.is_some_and(|s| s.since <= started))
        {
            self.hold.add(held, failed);
        }
    }

    pub fn trusted_hold(&self) -> Option<Duration> {
        self.hold.average().filter(|_| self.hold.samples() >= TRUSTED)
    }

    pub fn mean_hold(&self) -> Option<Duration> {
        self.hold.average()
    }

    /// Whether more calls may start although the model has to go: its oldest call, begun before
    /// `since`, runs so long already that it may well run as long again.
    pub fn may_fill(&self, since: Instant, now: Instant) -> bool {
        let oldest = self.calls.keys().next().filter(|started| **started < since);
        let age = oldest.map(|started| now.saturating_duration_since(*started));
        self.hold.average().zip(age).is_some_and(|(hold, age)| age > hold * LONG)
    }

    /// When more calls may start although the model has to go.
    pub fn fills_at(&self, since: Instant) -> Option<Instant> {
        let oldest = self.calls.keys().next().filter(|started| **started < since)?;
        oldest.checked_add(self.hold.average()? * LONG)
    }

    pub fn want(&mut self, now: Instant) {
        self.wanted.get_or_insert(Wish { since: now, last: now }).last = now;
    }

    /// Keeps a wish while jobs wait, and afterwards for one load, so that impatient clients' wishes
    /// add up.
    pub fn keep_wish(&mut self, waits: bool, longest: Duration, now: Instant) {
        let kept = self.load.unwrap_or(longest);
        if waits {
            self.want(now);
        } else {
            self.has_failed = false;
            let is_over = |wish: &Wish| now.saturating_duration_since(wish.last) > kept;
            if self.is_loaded() || self.wanted.as_ref().is_some_and(is_over) {
                self.wanted = None;
            }
        }
    }

    pub fn fail(&mut self, somebody_waits: bool, load: Duration, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.has_failed = somebody_waits;
        let pause = load.max(SHORTEST_PAUSE) * (1 << self.failures.min(MOST_FAILURES));
        self.paused = now.checked_add(pause.min(LONGEST_PAUSE));
    }

    /// The server had too much to do to begin the load.
    pub fn wait_for_server(&mut self, now: Instant) {
        self.paused = now.checked_add(SHORTEST_PAUSE);
    }

    /// Learns from an order that took so long; returns whether the model really was loaded.
    pub fn learn_load(&mut self, took: Duration, usual: Duration) -> bool {
        // A model that was to be loaded again may have been loaded as it was to be.
        let is_doubtful = self.is_outdated && self.load.is_none() && took < LEAST_LOAD;
        // Other models say little about how long this one takes: a small one needs a hundredth.
        let least = usual.mul_f64(NO_LOAD);
        let least = if self.load.is_none() { least.min(LEAST_LOAD) } else { least };
        if is_doubtful || took < least {
            return false;
        }
        self.load = Some(self.load.map_or(took, |load| (load + took) / 2));
        true
    }

    pub fn has_come(&mut self) {
        (self.failures, self.paused) = (0, None);
        self.has_failed = false;
        self.wanted = None;
        self.exempt = None;
        self.is_outdated = false;
    }

    /// The server is another one.
    pub fn forget_server(&mut self) {
        (self.stay, self.wanted, self.load, self.exempt) = (None, None, None, None);
        (self.evicts, self.failures, self.has_failed, self.paused) = (1, 0, false, None);
        (self.is_outdated, self.gone) = (false, None);
    }

    /// It has to be loaded again, with other options.
    pub fn outdate(&mut self) {
        self.is_outdated = true;
        self.stay = None;
    }

    /// Takes the server's word; returns whether it is news. An outdated model counts as not loaded.
    pub fn set_loaded(&mut self, is_loaded: bool, newest: Key, now: Instant) -> bool {
        self.is_outdated &= is_loaded;
        let is_loaded = is_loaded && !self.is_outdated;
        if is_loaded == self.is_loaded() {
            return false;
        }
        if is_loaded {
            self.has_come();
            let (served, people) = (0, false);
            self.stay = Some(Stay { since: now, newest, served, used: now, people });
        } else {
            (self.stay, self.gone) = (None, Some(now));
        }
        true
    }
}
