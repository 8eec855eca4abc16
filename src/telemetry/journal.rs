//! What operators can see of single requests: those under way, the latest that ended, the latest
//! failures, and each key's usage; who was turned away and why; what was changed; and the result of
//! reading the configuration.
//!
//! It owns a table of [`LIVE`] requests, rings of [`RECENT`], [`REFUSED`], [`FAILURES`] and
//! [`NOTES`], and sums, behind one short lock. It holds no prompts, answers or keys, and only the
//! first `LONGEST` bytes of text that clients may choose.
//!
//! The one thing to know: events write and send nothing. An event changes a few numbers here, and a
//! reader asks for the changes since a version, so that a busy gateway without readers pays almost
//! nothing.

mod caller;
mod configuration;
mod entry;
mod failure;
mod note;
mod tally;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

pub use super::facts::Track;
use super::facts::{RequestBegan, RequestEnded};
use super::outcome::Outcome;
pub use caller::CallerUsage;
pub use configuration::Configuration;
pub use entry::{Entry, Phase, Step, StepKind};
pub use failure::{Failure, FailureKind};
pub use note::{NOTES, Note, NoteKind};
use tally::Tally;
pub use tally::{CELLS, Served, TallyView, TurnedAway};

/// The most requests under way that are tracked, first come first. All others appear when they end.
/// It is far more than providers run, so that a long line does not hide those that are served.
pub const LIVE: usize = 4_096;
/// The most requests that are told while they have not come to a provider: those that came first.
pub const WAITING: usize = 256;
/// The most requests kept after their end that were not turned away.
pub const RECENT: usize = 200;
/// The most requests kept that were turned away, so that a flood of them does not displace the
/// others.
pub const REFUSED: usize = 100;
/// The most distinct failures kept.
pub const FAILURES: usize = 50;
/// How much is kept of a text that a client or a provider may choose, in bytes.
const LONGEST: usize = 200;

/// The process's journal.
pub static JOURNAL: LazyLock<Journal> = LazyLock::new(Journal::default);

/// Requests, failures, usage and configuration for operators; see the module.
#[derive(Debug, Default)]
pub struct Journal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Increases with every change.
    version: u64,
    /// How many requests there were so far.
    requests: u64,
    live: Vec<Option<Entry>>,
    /// The free places in `live`.
    free: Vec<usize>,
    recent: VecDeque<Entry>,
    refused: VecDeque<Entry>,
    notes: VecDeque<Note>,
    tally: Tally,
    failures: VecDeque<Failure>,
    callers: HashMap<Arc<str>, CallerUsage>,
    ended: Totals,
    configuration: Configuration,
}

/// How many requests have ended, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals([u64; Outcome::ALL.len()]);

/// The changes since a version.
#[derive(Debug)]
pub struct Changes {
    /// The version for the next request of changes.
    pub version: u64,
    /// Requests, oldest first, each in its present state.
    pub requests: Vec<Entry>,
    /// Failures, latest first.
    pub failures: Vec<Failure>,
    /// What was done, oldest first.
    pub notes: Vec<Note>,
    /// The latest reading of the configuration, if it is new.
    pub configuration: Option<Configuration>,
}

impl Journal {
    /// Tracks a request, if there is room.
    pub fn began(&self, began: &RequestBegan<'_>) -> Track {
        let at = now();
        let mut inner = self.inner.lock();
        inner.caller(Some(began.caller)).in_flight += 1;
        let number = inner.number();
        let place = match inner.free.pop() {
            Some(place) => place,
            None if inner.live.len() < LIVE => {
                inner.live.push(None);
                inner.live.len() - 1
            }
            None => return Track(None),
        };
        let mut entry = Entry::new(number, at, began.request_id, began.dialect);
        entry.version = inner.next_version();
        entry.caller = Some(Arc::clone(began.caller));
        entry.asked = began.asked.map(|asked| Arc::from(clipped(asked)));
        if let Some(free) = inner.live.get_mut(place) {
            *free = Some(entry);
        }
        Track(Some((place, number)))
    }

    /// Changes the entry of a request under way.
    pub fn update(&self, track: Track, change: impl FnOnce(&mut Entry)) {
        if track.0.is_none() {
            return;
        }
        let mut inner = self.inner.lock();
        let version = inner.next_version();
        if let Some(entry) = inner.tracked(track) {
            entry.version = version;
            change(entry);
        }
    }

    /// A request ended; `track` if it had begun.
    pub fn ended(&self, track: Option<Track>, ended: &RequestEnded<'_>) {
        let at = now();
        let mut inner = self.inner.lock();
        inner.ended.add(ended.outcome);
        inner.tally.ended(at, ended);
        inner.caller(ended.caller).ended(ended, track.is_some());
        let version = inner.next_version();
        let entry = match track.and_then(|track| inner.release(track)) {
            Some(entry) => entry,
            None => {
                let began = at.saturating_sub(millis(ended.timing.total));
                Entry::new(inner.number(), began, ended.request_id, ended.dialect)
            }
        };
        if ended.outcome.is_failure() || ended.reason.is_some() {
            inner.fail(Failure::of_request(at, ended, entry.last_error.as_deref()));
        }
        let entry = entry.ended(version, ended);
        if entry.is_turned_away() {
            push(&mut inner.refused, REFUSED, entry);
        } else {
            push(&mut inner.recent, RECENT, entry);
        }
    }

    /// An operator or a reload did something.
    pub fn noted(&self, kind: NoteKind, provider: Option<&Arc<str>>, text: &str) {
        self.inner.lock().note(now(), kind, provider, text);
    }

    /// Another failure than a request's.
    pub fn failed(&self, kind: FailureKind, provider: Option<&str>, message: &str) {
        let failure = Failure::new(now(), kind, provider.map(Arc::from), message);
        self.inner.lock().fail(failure);
    }

    /// The configuration was read; without problems it is in force.
    pub fn configured(&self, problems: &[String]) {
        let at = now();
        let mut inner = self.inner.lock();
        let version = inner.next_version();
        inner.configuration.read(version, at, problems);
        let kind = match (inner.configuration.reads, problems) {
            (1, _) => NoteKind::Start,
            (_, []) => NoteKind::Reload,
            (_, [_, ..]) => NoteKind::Refused,
        };
        inner.note(at, kind, None, problems.first().map_or("", String::as_str));
    }

    /// The result of the last reading of the configuration.
    #[must_use]
    pub fn configuration(&self) -> Configuration {
        self.inner.lock().configuration.clone()
    }

    /// The changes since `version`; everything for 0.
    #[must_use]
    pub fn changes(&self, version: u64) -> Changes {
        let inner = self.inner.lock();
        let entries = inner.recent.iter().chain(&inner.refused).chain(inner.live.iter().flatten());
        let mut requests: Vec<Entry> =
            entries.filter(|entry| entry.version > version).cloned().collect();
        let notes = inner.notes.iter().filter(|note| note.version > version).cloned().collect();
        let failures = inner.failures.iter().filter(|failure| failure.version > version);
        let configuration = Some(&inner.configuration).filter(|read| read.version > version);
        let configuration = configuration.cloned();
        let (version, failures) = (inner.version, failures.cloned().collect());
        drop(inner);
        requests.sort_unstable_by_key(|entry| entry.number);
        let mut waiting = 0;
        requests.retain(|entry| {
            waiting += usize::from(entry.phase.is_before_call());
            !entry.phase.is_before_call() || waiting <= WAITING
        });
        Changes { version, requests, failures, notes, configuration }
    }

    /// The numbers of the tracked requests under way.
    #[must_use]
    pub fn live(&self) -> Vec<u64> {
        self.inner.lock().live.iter().flatten().map(|entry| entry.number).collect()
    }

    /// How many requests of each key a provider works on, by the names of both.
    #[must_use]
    pub fn running(&self) -> BTreeMap<(Arc<str>, Arc<str>), u64> {
        let mut running = BTreeMap::new();
        for entry in self.inner.lock().live.iter().flatten() {
            let who = entry.provider.clone().zip(entry.caller.clone());
            if let Some(who) = who.filter(|_| entry.phase.is_running()) {
                *running.entry(who).or_default() += 1;
            }
        }
        running
    }

    /// How requests ended so far, by provider, and who was turned away.
    #[must_use]
    pub fn tally(&self) -> TallyView {
        self.inner.lock().tally.view(now())
    }

    /// Each key's usage, by name.
    #[must_use]
    pub fn callers(&self) -> Vec<(Arc<str>, CallerUsage)> {
        let inner = self.inner.lock();
        let mut callers: Vec<_> =
            inner.callers.iter().map(|(name, usage)| (Arc::clone(name), *usage)).collect();
        drop(inner);
        callers.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        callers
    }

    /// How many requests have ended so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.inner.lock().ended
    }
}

impl Inner {
    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn number(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// The entry, unless its place now belongs to another request.
    fn tracked(&mut self, track: Track) -> Option<&mut Entry> {
        let (place, number) = track.0?;
        self.live.get_mut(place)?.as_mut().filter(|entry| entry.number == number)
    }

    fn release(&mut self, track: Track) -> Option<Entry> {
        self.tracked(track)?;
        let (place, _) = track.0?;
        self.free.push(place);
        self.live.get_mut(place)?.take()
    }

    fn caller(&mut self, name: Option<&Arc<str>>) -> &mut CallerUsage {
        static UNKNOWN: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("-"));
        let name = name.unwrap_or(&UNKNOWN);
        // Names are configured, so there are few of them; a known one costs no allocation.
        if !self.callers.contains_key(name) {
            self.callers.insert(Arc::clone(name), CallerUsage::default());
        }
        self.callers.entry(Arc::clone(name)).or_default()
    }

    fn note(&mut self, at: u64, kind: NoteKind, provider: Option<&Arc<str>>, text: &str) {
        let note = Note::new(self.next_version(), at, kind, provider, text);
        push(&mut self.notes, NOTES, note);
    }

    /// Keeps a failure. If it is known, its count increases, so that a flood of one failure does
    /// not displace the others.
    fn fail(&mut self, mut failure: Failure) {
        failure.version = self.next_version();
        let same = self.failures.iter().position(|known| known.is_like(&failure));
        if let Some(known) = same.and_then(|index| self.failures.remove(index)) {
            failure.count += known.count;
            failure.number = known.number;
        } else {
            failure.number = failure.version;
            self.failures.truncate(FAILURES - 1);
        }
        self.failures.push_front(failure);
    }
}

impl Totals {
    /// Each outcome with its number of requests.
    pub fn by_outcome(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        Outcome::ALL.into_iter().zip(self.0)
    }

    /// The requests that ended since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut more = *self;
        for (count, before) in more.0.iter_mut().zip(before.0) {
            *count = count.saturating_sub(before);
        }
        more
    }

    fn add(&mut self, outcome: Outcome) {
        if let Some(count) = self.0.get_mut(outcome as usize) {
            *count += 1;
        }
    }
}

/// Adds to a ring of `most` items.
fn push<T>(ring: &mut VecDeque<T>, most: usize, item: T) {
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(item);
}

/// The time of day, in milliseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The beginning of a text of any length.
fn clipped(text: &str) -> &str {
    clipped_to(text, LONGEST)
}

fn clipped_to(text: &str, longest: usize) -> &str {
    if text.len() <= longest {
        return text;
    }
    let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// The same for a shared text; a short one is not copied, and a long one is not kept alive.
fn kept(text: &Arc<str>) -> Arc<str> {
    if text.len() <= LONGEST { Arc::clone(text) } else { Arc::from(clipped(text)) }
}

#[cfg(test)]
mod tests;
