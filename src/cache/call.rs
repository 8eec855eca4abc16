//! A call in flight whose answer several requests share.
//!
//! It owns the log of the answer and its waiters: one [`Writer`], on the thread where the call
//! runs, and one [`Reader`] for each request, on any thread. It knows nothing of what is called.
//!
//! The one thing to know: both ends act when dropped. When the last reader is dropped the writer
//! cancels the call; a writer that is dropped early, as in a panic, ends every reader with
//! `internal`.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::log::{Log, Next, ReaderId};
use crate::chat::{ChatEvent, ErrorKind, GatewayError};
use crate::job::{EVENTS, Served};

/// An answer that several requests share.
#[derive(Debug)]
pub struct Call {
    /// The caller in whose name the call is made.
    leader: Arc<str>,
    state: Mutex<State>,
    /// Changes when there is something new for readers.
    news: watch::Sender<()>,
    /// Notified when the last reader has left.
    abandoned: Notify,
    /// Notified when the fastest reader wants more.
    room: Notify,
}

/// The beginning of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// Who answers, once a provider was chosen.
    pub served: Option<Served>,
    /// Whether events follow.
    pub outcome: Result<(), GatewayError>,
}

/// A piece of the answer for a reader.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// The next event.
    Event(ChatEvent),
    /// Another answer follows from its beginning and replaces what was read so far.
    Anew,
}

/// The writing end of a call.
#[derive(Debug)]
pub struct Writer {
    call: Arc<Call>,
}

/// The reading end of a call, for one request.
#[derive(Debug)]
pub struct Reader {
    call: Arc<Call>,
    id: ReaderId,
    news: watch::Receiver<()>,
    /// When it joined; `None` for the one that began the call.
    joined: Option<Instant>,
}

#[derive(Debug)]
struct State {
    log: Log,
    head: Option<Head>,
    is_abandoned: bool,
    is_writer_waiting: bool,
}

impl Call {
    /// Begins a call for this caller, which holds at most about `most` bytes of its answer.
    #[must_use]
    pub fn begin(leader: &Arc<str>, most: usize) -> (Writer, Option<Reader>) {
        let log = Log::new(most);
        let state = State { log, head: None, is_abandoned: false, is_writer_waiting: false };
        let call = Arc::new(Self {
            leader: Arc::clone(leader),
            state: Mutex::new(state),
            news: watch::Sender::new(()),
            abandoned: Notify::new(),
            room: Notify::new(),
        });
        let reader = call.join_at(None);
        (Writer { call }, reader)
    }

    /// Joins the call; `None` when it is too late.
    #[must_use]
    pub fn join(self: &Arc<Self>) -> Option<Reader> {
        self.join_at(Some(Instant::now()))
    }

    fn join_at(self: &Arc<Self>, joined: Option<Instant>) -> Option<Reader> {
        // Before the state is read, so that no change is missed.
        let news = self.news.subscribe();
        let mut state = self.state.lock();
        if state.is_abandoned || matches!(&state.head, Some(Head { outcome: Err(_), .. })) {
            return None;
        }
        let id = state.log.join()?;
        Some(Reader { call: Arc::clone(self), id, news, joined })
    }
}

impl Writer {
    /// The call.
    #[must_use]
    pub fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// Waits until no reader is left.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any time.
    pub async fn abandoned(&self) {
        while !self.call.state.lock().is_abandoned {
            self.call.abandoned.notified().await;
        }
    }

    /// Waits until a reader wants more than there is.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any time.
    pub async fn room(&self) {
        loop {
            {
                let mut state = self.call.state.lock();
                state.is_writer_waiting = !state.log.has_room(ahead());
                if !state.is_writer_waiting {
                    return;
                }
            }
            self.call.room.notified().await;
        }
    }

    /// Sets the beginning of the answer; only the first call counts.
    pub fn begin(&self, head: Head) {
        self.call.state.lock().head.get_or_insert(head);
        self.call.news.send_replace(());
    }

    /// Sets who continues a broken answer: from the beginning if `anew`, else with the rest.
    pub fn goes_on(&self, served: Option<Served>, anew: bool) {
        {
            let mut state = self.call.state.lock();
            if let Some(head) = &mut state.head {
                head.served = served;
            }
            if anew {
                state.log.restart();
            }
        }
        self.call.news.send_replace(());
    }

    /// Adds an event of the answer.
    pub fn append(&self, event: ChatEvent) {
        self.call.state.lock().log.append(event);
        self.call.news.send_replace(());
    }

    /// Ends the answer with a failure, which is the whole answer if it has not begun.
    pub fn fail(&self, error: GatewayError) {
        {
            let mut state = self.call.state.lock();
            state.head.get_or_insert_with(|| Head { served: None, outcome: Err(error.clone()) });
            state.log.fail(error);
        }
        self.call.news.send_replace(());
    }

    /// Passes all events so far to `write`; `None` when some are forgotten.
    pub fn all_events<T>(
        &self,
        write: impl FnOnce(&mut dyn Iterator<Item = &ChatEvent>) -> Option<T>,
    ) -> Option<T> {
        let state = self.call.state.lock();
        if !state.log.is_complete() {
            return None;
        }
        write(&mut state.log.events())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After a complete answer this changes nothing: readers stop at its end.
        self.fail(GatewayError::internal("a shared call vanished"));
    }
}

impl Reader {
    /// Waits until the answer begins or fails.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any time.
    pub async fn head(&mut self) -> Head {
        loop {
            self.news.borrow_and_update();
            let head = self.call.state.lock().head.clone();
            match head {
                Some(head) => return head,
                None => self.something_new().await,
            }
        }
    }

    /// Who answers, if that is known yet.
    #[must_use]
    pub fn served(&self) -> Option<Served> {
        self.call.state.lock().head.as_ref().and_then(|head| head.served.clone())
    }

    /// Waits for the next piece.
    ///
    /// # Errors
    ///
    /// The failure of the answer, or that this reader was too slow. Nothing follows.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any time.
    pub async fn next(&mut self) -> Result<Piece, GatewayError> {
        loop {
            self.news.borrow_and_update();
            let next = {
                let mut state = self.call.state.lock();
                let next = state.log.read(self.id);
                if state.is_writer_waiting && state.log.has_room(ahead()) {
                    state.is_writer_waiting = false;
                    self.call.room.notify_one();
                }
                next
            };
            match next {
                Next::Event(event) => return Ok(Piece::Event((*event).clone())),
                Next::Anew => return Ok(Piece::Anew),
                Next::Failed(error) => return Err(error),
                Next::CutLoose => {
                    let message = "the answer was read too slowly to be held any longer";
                    return Err(GatewayError::new(ErrorKind::Timeout, message));
                }
                Next::Wait => self.something_new().await,
            }
        }
    }

    /// When it joined; `None` for the one that began the call.
    #[must_use]
    pub fn joined(&self) -> Option<Instant> {
        self.joined
    }

    /// The caller in whose name the call is made.
    #[must_use]
    pub fn leader(&self) -> &str {
        &self.call.leader
    }

    async fn something_new(&mut self) {
        // The sender lives in the call, which this reader holds.
        drop(self.news.changed().await);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let is_last = {
            let mut state = self.call.state.lock();
            let is_last = state.log.leave(self.id);
            state.is_abandoned |= is_last;
            is_last
        };
        if is_last {
            self.call.abandoned.notify_one();
        }
    }
}

/// How far the fastest reader may be behind before no more events are fetched.
fn ahead() -> u64 {
    u64::try_from(EVENTS).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
