//! Where a job stands, for the heartbeats to its client and the records of requests.
//!
//! It owns the state of a job that has not been answered yet: its place in a line, the provider
//! that was called, and whether its answer may be a carried one.
//!
//! The one thing to know: it is shared. The job moves from task to task, and this stays with its
//! exchange. A place in a line is looked up when somebody asks for it, so that it is never old.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Candidate, Tried};
use crate::chat::Waiting;

/// Where a job stands: in its provider's line, or past it; shared with the task that answers the
/// client.
#[derive(Debug, Clone, Default)]
pub struct Place(Arc<Mutex<Stand>>);

#[derive(Debug, Default)]
struct Stand {
    look: Option<Look>,
    was_called: bool,
    may_be_carried: bool,
    stay: Option<Stay>,
    load: Option<LoadWait>,
}

/// Looks up a place in a line; `None` when the job no longer waits there.
#[derive(Clone)]
struct Look(Arc<dyn Fn() -> Option<Waiting> + Send + Sync>);

impl fmt::Debug for Look {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Look")
    }
}

/// How long a job has waited for loads of its model.
#[derive(Debug, Default)]
struct LoadWait {
    before: Duration,
    /// Since when it waits for one.
    since: Option<Instant>,
}

/// A request at a provider that has not answered it yet.
#[derive(Debug, Clone)]
pub struct Stay {
    /// The model at the provider that it waits for.
    pub candidate: Candidate,
    /// Calls made for it.
    pub attempts: u32,
    /// Time it spent in earlier lines.
    pub queued: Duration,
    /// When it began to wait in a line; `None` while the provider is called.
    pub since: Option<Instant>,
}

impl Stay {
    /// Whether it waits in a line.
    #[must_use]
    pub fn is_in_line(&self) -> bool {
        self.since.is_some()
    }

    /// Time it has spent in lines so far.
    #[must_use]
    pub fn queued(&self) -> Duration {
        self.queued + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Place {
    /// Sets how to look up where the job stands in a line.
    pub fn stand(&self, look: impl Fn() -> Option<Waiting> + Send + Sync + 'static) {
        self.0.lock().look = Some(Look(Arc::new(look)));
    }

    /// The job no longer waits.
    pub fn leave(&self) {
        self.0.lock().look = None;
    }

    /// Where the job stands, if it waits.
    #[must_use]
    pub fn get(&self) -> Option<Waiting> {
        let Look(look) = self.0.lock().look.clone()?;
        look()
    }

    /// Records that the job waits in a line from now on.
    pub fn wait(&self, tried: &Tried) {
        self.0.lock().stay = tried.stay(Some(Instant::now()));
    }

    /// Records whether the job waits for the load of its model, from now on.
    pub fn await_load(&self, waits: bool) {
        let mut stand = self.0.lock();
        if waits {
            stand.load.get_or_insert_default().since.get_or_insert_with(Instant::now);
        } else if let Some(load) = &mut stand.load
            && let Some(since) = load.since.take()
        {
            load.before += since.elapsed();
        }
    }

    /// How long it has waited for loads of its model; `None` if it waited for none.
    #[must_use]
    pub fn load_wait(&self) -> Option<Duration> {
        let stand = self.0.lock();
        let LoadWait { before, since } = stand.load.as_ref()?;
        Some(*before + since.map_or(Duration::ZERO, |since| since.elapsed()))
    }

    /// Records that a provider is called, which costs even if the client disconnects.
    pub fn call(&self, tried: &Tried) {
        let mut stand = self.0.lock();
        stand.was_called = true;
        stand.stay = tried.stay(None);
    }

    /// Where an unanswered job stands, for the record of a client that disconnects.
    #[must_use]
    pub fn stay(&self) -> Option<Stay> {
        self.0.lock().stay.clone()
    }

    /// Whether a provider was called.
    #[must_use]
    pub fn was_called(&self) -> bool {
        self.0.lock().was_called
    }

    /// Records that a candidate gets the request as it came, so that its answer begins as a carried
    /// one.
    pub fn carry(&self) {
        self.0.lock().may_be_carried = true;
    }

    /// Whether the answer may be a carried one.
    #[must_use]
    pub fn may_be_carried(&self) -> bool {
        self.0.lock().may_be_carried
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_a_load_is_counted_while_it_lasts_and_stays() {
        let place = Place::default();
        place.await_load(false);
        assert_eq!(place.load_wait(), None);
        place.await_load(true);
        place.await_load(true);
        let during = place.load_wait().unwrap();
        place.await_load(false);
        let after = place.load_wait().unwrap();
        assert!(after >= during);
        assert_eq!(place.clone().load_wait(), Some(after), "it grows no more");
        place.await_load(true);
        assert!(place.load_wait().unwrap() >= after);
    }
}
