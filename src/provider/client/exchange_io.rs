//! One exchange on a connection, as awc sees it: awc writes the request, and reads one head and one
//! body.
//!
//! It owns the connection for as long as the exchange lasts, above TCP and TLS alike. It skips
//! interim heads, ends the answer where its framing says so, and refuses to hand on anything else:
//! bytes after the end, bytes before the request, ambiguous framing. Only an exchange that ended
//! exactly returns its connection to the pool; every other one closes it.
//!
//! The one thing to know: awc reads only after it has written everything, so it would miss a
//! provider that answers while the request is still being sent. This type reads whenever a write
//! has to wait; a failed write is hidden from awc, which then reads what arrived before the
//! failure, or gets an error if nothing did.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use actix_rt::net::{ActixStream, Ready};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::{Kept, Pool};
use super::transport::{Idle, Transport};
use crate::wire::http1::{Answer, FramingError, Piece, Then};

/// How much of an early answer is held before awc reads it.
const MOST_HELD: usize = 128 * 1024;

/// Why an exchange has no answer, or only part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireError {
    /// The connection ended before any byte of an answer.
    Unanswered {
        /// Whether the connection had been used before.
        is_kept: bool,
        /// Whether it took part of the request and refused the rest.
        refuses_rest: bool,
    },
    /// The connection ended within the answer.
    Cut,
    /// The bytes cannot be read as one answer.
    Framing(FramingError),
    /// An answer arrived on a kept connection while the request was still being sent: it belongs to
    /// another request.
    Unasked,
}

/// The side of a connection that awc reads and writes.
pub(super) struct ExchangeIo {
    /// `None` once nothing more will be read or written.
    transport: Option<Transport>,
    pool: Option<Rc<Pool>>,
    born: Instant,
    is_kept: bool,
    /// The prefix of the request's path.
    prefix: Option<Bytes>,
    /// The unwritten rest of a first write with a prefix, and how many of awc's bytes it replaces.
    opening: Option<(Bytes, usize)>,
    sending: Sending,
    /// Set when the rest of the request is discarded, for whoever still produces it.
    stop: Option<Rc<Cell<bool>>>,
    /// Whether any byte of the request was written.
    has_written: bool,
    reading: Reading,
    answer: Answer,
    /// Whether anything was received, even an interim head.
    is_heard: bool,
    /// The beginning of a head; after the head, the bytes to hand on.
    held: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// Nothing was written yet.
    Unbegun,
    Going,
    /// All that awc has to write was written.
    Whole,
    /// The rest is discarded: the provider reads no more of it.
    Abandoned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Going,
    Over,
    Failed(WireError),
}

impl ExchangeIo {
    /// An exchange on a connection that was opened for it.
    pub(super) fn on_new(
        transport: Transport,
        pool: Option<Rc<Pool>>,
        prefix: Option<Bytes>,
        stop: Option<Rc<Cell<bool>>>,
    ) -> Self {
        Self { prefix, stop, ..Self::new(transport, pool, Instant::now(), false) }
    }

    /// An exchange on a connection that was used before.
    pub(super) fn on_kept(kept: Kept, pool: Rc<Pool>, prefix: Option<Bytes>) -> Self {
        Self { prefix, ..Self::new(kept.transport, Some(pool), kept.born, true) }
    }

    fn new(transport: Transport, pool: Option<Rc<Pool>>, born: Instant, is_kept: bool) -> Self {
        Self {
            transport: Some(transport),
            pool,
            born,
            is_kept,
            prefix: None,
            opening: None,
            sending: Sending::Unbegun,
            stop: None,
            has_written: false,
            reading: Reading::Going,
            answer: Answer::new(false),
            is_heard: false,
            held: BytesMut::new(),
        }
    }

    /// Called before the first byte is written: the last moment at which received bytes cannot be
    /// an answer. A kept connection that is not quiet is replaced by the next one.
    fn begin(&mut self, request: &[u8]) {
        self.sending = Sending::Going;
        self.answer = Answer::new(request.starts_with(b"HEAD "));
        if let Some(prefix) = &self.prefix {
            let path = request.iter().position(|byte| *byte == b' ').map_or(0, |blank| blank + 1);
            let method = request.get(..path).unwrap_or_default();
            self.opening = Some((Bytes::from([method, prefix].concat()), path));
        }
        while self.is_kept {
            match self.transport.as_mut().map_or(Idle::Closed, Transport::idle_now) {
                Idle::Quiet => return,
                Idle::Closed => {}
                Idle::Speaks => self.pool.iter().for_each(|pool| pool.complain()),
            }
            let Some(next) = self.pool.as_ref().and_then(|pool| pool.take()) else {
                return self.connection_ended(true);
            };
            (self.transport, self.born) = (Some(next.transport), next.born);
        }
    }

    /// Hands on the held bytes.
    fn give(&mut self, bytes: &mut ReadBuf<'_>) {
        let count = self.held.len().min(bytes.remaining());
        bytes.put_slice(self.held.get(..count).unwrap_or_default());
        self.held.advance(count);
    }

    /// Reads more into `bytes` as part of the answer. What is left in `bytes` is to be handed on.
    fn poll_answer(&mut self, context: &mut Context<'_>, bytes: &mut ReadBuf<'_>) -> Poll<()> {
        let Some(transport) = &mut self.transport else {
            self.connection_ended(false);
            return Poll::Ready(());
        };
        let before = bytes.filled().len();
        let read = ready!(Pin::new(transport).poll_read(context, bytes));
        let came = bytes.filled_mut().get_mut(before..).unwrap_or_default();
        if read.is_err() || came.is_empty() {
            self.connection_ended(read.is_ok());
            return Poll::Ready(());
        }
        self.is_heard = true;
        if self.answer.status().is_none() && !self.held.is_empty() {
            // The head began in an earlier read.
            self.held.extend_from_slice(came);
            bytes.set_filled(before);
            let Piece { kept, then } = self.answer.take(&mut self.held);
            self.held.truncate(kept);
            self.follow(then);
            return Poll::Ready(());
        }
        let Piece { kept, then } = self.answer.take(came);
        match then {
            Then::Again => {
                self.held.extend_from_slice(came.get(..kept).unwrap_or_default());
                bytes.set_filled(before);
            }
            Then::More | Then::End { .. } | Then::Broken(_) => bytes.set_filled(before + kept),
        }
        self.follow(then);
        Poll::Ready(())
    }

    fn follow(&mut self, then: Then) {
        match then {
            Then::Again | Then::More => {}
            Then::End { surplus } => self.over(surplus == 0),
            Then::Broken(error) => self.fail(WireError::Framing(error)),
        }
    }

    /// The answer has ended; `is_exact` when nothing came after it.
    fn over(&mut self, is_exact: bool) {
        self.reading = Reading::Over;
        let (transport, pool) = (self.transport.take(), self.pool.take());
        let (Some(transport), Some(pool)) = (transport, pool) else { return };
        if !is_exact {
            pool.complain();
        } else if self.answer.is_reusable() && self.sending == Sending::Whole {
            pool.put(transport, self.born);
        }
    }

    fn connection_ended(&mut self, in_order: bool) {
        if in_order && self.answer.ends_with_connection() {
            self.reading = Reading::Over;
            self.transport = None;
        } else if !self.is_heard {
            let refuses_rest = self.has_written && self.sending != Sending::Whole;
            self.fail(WireError::Unanswered { is_kept: self.is_kept, refuses_rest });
        } else {
            self.fail(WireError::Cut);
        }
    }

    fn fail(&mut self, error: WireError) {
        self.sending = Sending::Abandoned;
        if self.answer.status().is_none() {
            self.held.clear();
        }
        self.reading = Reading::Failed(error);
        self.transport = None;
    }

    /// Checks whether the provider answers while the request is being sent, and stops sending if it
    /// wants no more.
    fn listen(&mut self, context: &mut Context<'_>) {
        while self.reading == Reading::Going && self.held.len() < MOST_HELD {
            let mut space = [0; 4096];
            let mut space = ReadBuf::new(&mut space);
            if self.poll_answer(context, &mut space).is_pending() {
                break;
            }
            self.held.extend_from_slice(space.filled());
        }
        match self.answer.status() {
            // It was sent before the request.
            Some(200..=299) if self.is_kept => self.fail_unasked(),
            // It may still want the rest, unless the answer is complete.
            Some(200..=299) if self.reading == Reading::Going && self.held.len() < MOST_HELD => {}
            Some(_) => self.sending = Sending::Abandoned,
            None if self.reading == Reading::Going => {}
            None => self.sending = Sending::Abandoned,
        }
    }

    fn fail_unasked(&mut self) {
        self.held.clear();
        if let Some(pool) = self.pool.take() {
            pool.complain();
        }
        self.fail(WireError::Unasked);
    }
}

impl AsyncRead for ExchangeIo {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.sending == Sending::Going {
            this.sending = Sending::Whole;
        }
        let before = bytes.filled().len();
        loop {
            if this.answer.status().is_some() && !this.held.is_empty() {
                this.give(bytes);
            }
            if bytes.filled().len() > before || bytes.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            match this.reading {
                Reading::Over => return Poll::Ready(Ok(())),
                Reading::Failed(error) => return Poll::Ready(Err(io::Error::other(error))),
                Reading::Going => ready!(this.poll_answer(context, bytes)),
            }
        }
    }
}

impl AsyncWrite for ExchangeIo {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.sending == Sending::Unbegun {
            this.begin(bytes);
        }
        while let (Sending::Going, Some(transport)) = (this.sending, &mut this.transport) {
            let next = this.opening.as_ref().map_or(bytes, |(opening, _)| opening);
            match Pin::new(transport).poll_write(context, next) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    this.has_written = true;
                    let Some((opening, covers)) = &mut this.opening else {
                        return Poll::Ready(Ok(count));
                    };
                    opening.advance(count);
                    if opening.is_empty() {
                        let covers = *covers;
                        this.opening = None;
                        return Poll::Ready(Ok(covers));
                    }
                }
                Poll::Ready(Ok(_) | Err(_)) => this.sending = Sending::Abandoned,
                Poll::Pending => {
                    this.listen(context);
                    break;
                }
            }
        }
        this.written(bytes.len())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let (Sending::Going, Some(transport)) = (this.sending, &mut this.transport) {
            match Pin::new(transport).poll_flush(context) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => this.sending = Sending::Abandoned,
                Poll::Pending => this.listen(context),
            }
        }
        this.written(())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Some(transport) => Pin::new(transport).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl ExchangeIo {
    /// The result for awc when the transport takes no more now: pending, or, once the rest is
    /// discarded, that it was written.
    fn written<T>(&self, all: T) -> Poll<io::Result<T>> {
        match self.sending {
            Sending::Abandoned => {
                if let Some(stop) = &self.stop {
                    stop.set(true);
                }
                Poll::Ready(Ok(all))
            }
            Sending::Unbegun | Sending::Going | Sending::Whole => Poll::Pending,
        }
    }
}

/// Required by awc's builder; awc never calls it.
impl ActixStream for ExchangeIo {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::READABLE))
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::WRITABLE))
    }
}

impl fmt::Debug for ExchangeIo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("ExchangeIo");
        shown.field("sending", &self.sending).field("reading", &self.reading);
        shown.finish_non_exhaustive()
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { refuses_rest: false, .. } => {
                formatter.write_str("the connection ended before the answer")
            }
            Self::Unanswered { refuses_rest: true, .. } => {
                formatter.write_str("the connection ended before the request was sent")
            }
            Self::Cut => formatter.write_str("the connection ended within the answer"),
            Self::Framing(error) => write!(formatter, "the answer cannot be read: {error}"),
            Self::Unasked => formatter.write_str("an answer came that nobody had asked for"),
        }
    }
}

impl std::error::Error for WireError {}
