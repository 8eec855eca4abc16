//! What the upstream answers, as a small builder.
//!
//! A script owns its bytes and its waits, nothing of the network. Words that start with `head_` act
//! before the status line; all others act on the body, in the order in which they were called.
//! Positions (`cut_at`, `reset_at`) count body bytes as the client of the framing sees them: chunk
//! headers do not count.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use crate::patience::until;

/// One answer, or the absence of one.
pub struct Script {
    pub(super) before_head: Vec<Step>,
    pub(super) head: Head,
    pub(super) framing: Framing,
    pub(super) body: Vec<Step>,
    pub(super) ending: Ending,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// An orderly close.
    Fin,
    /// A reset, or any other transport error.
    Reset,
}

/// A gate inside a script: a call that reaches it waits until the test opens it, or until the peer
/// disconnects.
#[derive(Clone)]
pub struct Gate {
    passes: Arc<Semaphore>,
    reached: watch::Sender<usize>,
    changed: watch::Sender<()>,
}

pub(super) enum Step {
    Write(Bytes),
    Flood(Box<dyn Iterator<Item = Bytes> + Send>),
    Hold(Gate),
    Pause(Duration),
    Stall,
}

pub(super) enum Head {
    Status { code: u16, headers: Vec<(String, String)> },
    Raw(Bytes),
    Absent,
}

pub(super) enum Framing {
    /// `content-length`; the sum of the written pieces unless a number is given.
    Sized(Option<u64>),
    Chunked,
    UntilClose,
}

pub(super) enum Ending {
    /// The answer is complete and the connection stays open.
    KeepAlive,
    /// The answer is complete and the connection is closed right after it, unannounced.
    Close,
    /// After so many body bytes the connection ends, complete or not.
    Cut { at: u64, how: Leaving },
}

impl Script {
    /// An answer with this status, no headers of its own and, so far, an empty sized body.
    pub fn status(code: u16) -> Self {
        let head = Head::Status { code, headers: Vec::new() };
        Self::new(head, Ending::KeepAlive)
    }

    /// An answer with this status and a JSON body.
    pub fn json(code: u16, body: &serde_json::Value) -> Self {
        Self::status(code).header("content-type", "application/json").piece(body.to_string())
    }

    /// A redirect to `location`.
    pub fn redirect(code: u16, location: &str) -> Self {
        Self::status(code).header("location", location)
    }

    /// These bytes in place of a head, then the rest of the script, unframed.
    pub fn raw(head: impl Into<Bytes>) -> Self {
        Self { framing: Framing::UntilClose, ..Self::new(Head::Raw(head.into()), Ending::Close) }
    }

    /// No answer at all: an orderly close instead.
    pub fn hang_up() -> Self {
        Self::new(Head::Absent, Ending::Cut { at: 0, how: Leaving::Fin })
    }

    /// No answer at all: a reset instead.
    pub fn reset() -> Self {
        Self::new(Head::Absent, Ending::Cut { at: 0, how: Leaving::Reset })
    }

    /// No answer at all, until the peer disconnects.
    pub fn never() -> Self {
        Self::status(200).head_stall()
    }

    /// Adds a header, replacing one of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Head::Status { headers, .. } = &mut self.head {
            headers.retain(|(existing, _)| !existing.eq_ignore_ascii_case(name));
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Waits at `gate` before the head.
    pub fn head_hold(mut self, gate: &Gate) -> Self {
        self.before_head.push(Step::Hold(gate.clone()));
        self
    }

    /// Waits this long before the head.
    pub fn head_pause(mut self, pause: Duration) -> Self {
        self.before_head.push(Step::Pause(pause));
        self
    }

    /// Stops before the head until the peer disconnects.
    pub fn head_stall(mut self) -> Self {
        self.before_head.push(Step::Stall);
        self
    }

    /// Writes a piece of the body with one write, flushed.
    pub fn piece(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body.push(Step::Write(bytes.into()));
        self
    }

    /// Writes each piece by itself.
    pub fn pieces<B: Into<Bytes>>(self, pieces: impl IntoIterator<Item = B>) -> Self {
        pieces.into_iter().fold(self, |script, bytes| script.piece(bytes))
    }

    /// Writes pieces that are made only when they are due; they may be endless.
    pub fn flood(mut self, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        self.body.push(Step::Flood(Box::new(pieces)));
        self
    }

    /// Waits at `gate` here in the body, with everything before it flushed.
    pub fn hold(mut self, gate: &Gate) -> Self {
        self.body.push(Step::Hold(gate.clone()));
        self
    }

    /// Waits this long here in the body, with everything before it flushed.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.body.push(Step::Pause(pause));
        self
    }

    /// Waits this long after every piece so far.
    pub fn paced(mut self, pause: Duration) -> Self {
        let pieces = std::mem::take(&mut self.body);
        self.body = pieces.into_iter().flat_map(|piece| [piece, Step::Pause(pause)]).collect();
        self
    }

    /// Stops here in the body until the peer disconnects.
    pub fn stall(mut self) -> Self {
        self.body.push(Step::Stall);
        self
    }

    /// Frames the body in chunks, one per piece.
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Announces `length` bytes, whatever the body really holds.
    pub fn sized_as(mut self, length: u64) -> Self {
        self.framing = Framing::Sized(Some(length));
        self
    }

    /// Announces no length: the body ends with the connection.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self.closing()
    }

    /// Closes the connection right after the whole answer without having announced it.
    pub fn closing(mut self) -> Self {
        self.ending = Ending::Close;
        self
    }

    /// Ends the connection by FIN after `at` body bytes, without a terminating chunk.
    pub fn cut_at(mut self, at: u64) -> Self {
        self.ending = Ending::Cut { at, how: Leaving::Fin };
        self
    }

    /// Ends the connection by RST after `at` body bytes; 0 is right after the head.
    pub fn reset_at(mut self, at: u64) -> Self {
        self.ending = Ending::Cut { at, how: Leaving::Reset };
        self
    }

    fn new(head: Head, ending: Ending) -> Self {
        let framing = Framing::Sized(None);
        Self { before_head: Vec::new(), head, framing, body: Vec::new(), ending }
    }
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        let passes = Arc::new(Semaphore::new(0));
        Self { passes, reached: watch::Sender::new(0), changed: watch::Sender::new(()) }
    }

    /// Lets every call through from now on.
    pub fn open(&self) {
        self.passes.close();
    }

    /// Lets `count` calls through, waiting ones first.
    pub fn let_through(&self, count: usize) {
        self.passes.add_permits(count);
    }

    /// Awaits the moment when `count` have reached this gate, since the beginning.
    pub async fn reached(&self, count: usize) {
        until(&format!("{count} reach the gate"), self.changed.subscribe(), || {
            (*self.reached.borrow() >= count).then_some(())
        })
        .await;
    }

    /// Waits here until the gate is opened.
    pub async fn pass(&self) {
        self.reached.send_modify(|count| *count += 1);
        self.changed.send_replace(());
        // An error means that the gate was opened for good.
        if let Ok(permit) = self.passes.acquire().await {
            permit.forget();
        }
    }
}
