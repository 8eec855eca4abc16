//! A call whose answer several requests share while it is made.
//!
//! It owns the log of the answer and who waits for what: one [`Writer`], on the thread where the call runs, and one
//! [`Reader`] for each request, on whichever thread that is. It knows nothing of what is called.
//!
//! The one thing to know: both ends work by being dropped. The last reader's end is what tells the writer to give the
//! call up; a writer that ends without a word, as in a panic, tells every reader `internal`.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::log::{Log, Next, ReaderId};
use crate::chat::{ChatEvent, ErrorKind, GatewayError};
use crate::job::{EVENTS, Served};

/// An answer that several share.
#[derive(Debug)]
pub struct Call {
    /// The caller in whose name the call is made.
    leader: Arc<str>,
    state: Mutex<State>,
    /// Moves when there is something new for readers.
    news: watch::Sender<()>,
    /// Woken when the last reader has left.
    abandoned: Notify,
    /// Woken when the fastest reader wants more.
    room: Notify,
}

/// How an answer begins.
#[derive(Debug, Clone)]
pub struct Head {
    /// Who answers, once a provider was chosen.
    pub served: Option<Served>,
    /// Whether events follow.
    pub outcome: Result<(), GatewayError>,
}

/// What a reader takes out.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// More of the answer.
    Event(ChatEvent),
    /// Another answer follows from its beginning, in place of what was read so far.
    Anew,
}

/// The end of a call where the answer comes in.
#[derive(Debug)]
pub struct Writer {
    call: Arc<Call>,
}

/// The end of a call where one request takes the answer out.
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
    /// Begins a call in this caller's name, which holds at most about `most` bytes of its answer.
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
        // Before the state is looked at, so that nothing new is missed.
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

    /// Waits until nobody wants the answer any more.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any time.
    pub async fn abandoned(&self) {
        while !self.call.state.lock().is_abandoned {
            self.call.abandoned.notified().await;
        }
    }

    /// Waits until somebody wants more than has come.
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

    /// Says how the answer begins; the first word counts.
    pub fn begin(&self, head: Head) {
        self.call.state.lock().head.get_or_insert(head);
        self.call.news.send_replace(());
    }

    /// Says who goes on with an answer that broke off, `anew` or with what follows.
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

    /// Ends the answer with a failure, which is all of it when it has not begun.
    pub fn fail(&self, error: GatewayError) {
        {
            let mut state = self.call.state.lock();
            state.head.get_or_insert_with(|| Head { served: None, outcome: Err(error.clone()) });
            state.log.fail(error);
        }
        self.call.news.send_replace(());
    }

    /// Hands all events so far to `write`; nothing when some are forgotten.
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
        // Said after an end it changes nothing: readers stop at the end.
        self.fail(GatewayError::internal("a shared call vanished"));
    }
}

impl Reader {
    /// Waits until the answer begins, or is known not to.
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

    /// Who answers, as far as that is known by now.
    #[must_use]
    pub fn served(&self) -> Option<Served> {
        self.call.state.lock().head.as_ref().and_then(|head| head.served.clone())
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    ///
    /// Why the answer failed, or that this reader was too slow. Nothing follows.
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

/// How many events the fastest reader may be behind before no more are fetched.
fn ahead() -> u64 {
    u64::try_from(EVENTS).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
