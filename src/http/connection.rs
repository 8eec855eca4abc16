//! A client's connection: the socket, its options, and a bound on idle time between requests.
//!
//! It owns the timer that actix-web lacks: actix bounds the head of a connection's first request
//! only, and it reads on without end when a body is left over after the answer. It waits no longer
//! than [`HEAD_TIME`] for a request after its first byte.
//!
//! The one thing to know: a socket sees bytes, not requests. [`Turn`] tells it about requests: from
//! a request's arrival at [`Turn::of`] until its answer's body is dropped the client is served and
//! no timer runs; bodies have their own timer, and the kernel bounds writing.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_rt::time::{Instant, Sleep, sleep};
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest};
use actix_web::rt::net::TcpStream;
use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::heads::Heads;
use super::rest::Rest;

/// How long the head of a request may take.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);
/// The keep-alive time of an idle connection: longer than that of common load balancers (60 s), so
/// that they close first.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How much of an answer the kernel may hold for a client that does not read. Linux doubles it.
const SEND_BUFFER: usize = 64 * 1024;

/// A client's socket.
pub(super) struct Connection<T = TcpStream> {
    stream: T,
    turn: Rc<Turn>,
    heads: Heads,
    /// The timer of the present wait; reused for the next one, as a timer costs an allocation.
    timer: Option<Pin<Box<Sleep>>>,
    /// The wait that the timer was set for.
    timed: Wait,
}

/// Whether a request is being served: shared by a socket and the requests that came over it.
#[derive(Debug)]
pub(super) struct Turn {
    /// How many requests are being served.
    serving: Cell<usize>,
    /// Whether the kernel accepted less than it was given.
    blocked: Cell<bool>,
    wait: Cell<Wait>,
}

/// The wait of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Nothing: a request is served.
    Served,
    /// The first byte of a request.
    Byte,
    /// The rest of its head.
    Head,
}

/// A body that ends its request's turn when it is dropped.
///
/// When it fails, actix drops bytes that it has not written yet, such as the error event for a
/// client that reads slowly. The failure is therefore held back until the kernel has accepted all
/// bytes before it.
pub(super) struct Served<B: MessageBody> {
    body: B,
    turn: Option<Guard>,
    /// The rest of the request's body.
    rest: Option<Rest>,
    failure: Option<B::Error>,
}

pub(super) struct Guard(Rc<Turn>);

impl Connection {
    /// Wraps a socket and sets its options. The kernel resets a client that acknowledges or reads
    /// nothing for `stall` (`TCP_USER_TIMEOUT` covers a closed window too), which ends its
    /// exchange.
    pub fn new(stream: TcpStream, stall: Duration) -> Self {
        let socket = SockRef::from(&stream);
        let set = socket
            .set_tcp_nodelay(true)
            .and_then(|()| socket.set_tcp_user_timeout(Some(stall)))
            .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER));
        if let Err(error) = set {
            log::debug!("the options of a client's socket cannot be set: {error}");
        }
        Self::over(stream)
    }
}

impl<T> Connection<T> {
    /// Shares the turn with the requests of this connection.
    pub fn introduce(&self, extensions: &mut Extensions) {
        extensions.insert(Rc::clone(&self.turn));
    }

    fn over(stream: T) -> Self {
        let turn =
            Turn { serving: Cell::new(0), blocked: Cell::new(false), wait: Cell::new(Wait::Byte) };
        let (turn, heads) = (Rc::new(turn), Heads::new());
        Self { stream, turn, heads, timer: None, timed: Wait::Served }
    }

    /// Fails when the present wait takes too long.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let wait = self.turn.wait.get();
        let time = match wait {
            Wait::Served => return Ok(()),
            Wait::Byte => KEEP_ALIVE,
            Wait::Head => HEAD_TIME,
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(time)));
        if self.timed != wait {
            self.timed = wait;
            timer.as_mut().reset(Instant::now() + time);
        }
        match timer.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let came = match buffer.filled_mut().get_mut(before..) {
            Some(bytes) if !bytes.is_empty() => {
                this.heads.pass(bytes);
                true
            }
            Some(_) | None => false,
        };
        if this.turn.serving.get() > 0 {
            this.timed = Wait::Served;
        } else if came {
            this.turn.wait.set(Wait::Head);
        } else if read.is_pending() {
            this.check(context)?;
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.turn.note(&written, context);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.turn.note(&written, context);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Turn {
    /// Begins a request's turn, which lasts until the body of its answer is dropped.
    pub fn of(request: &ServiceRequest) -> Option<Guard> {
        request.conn_data::<Rc<Self>>().map(Self::begin)
    }

    /// Records whether the kernel accepts writes. A body that waits for that is polled again when
    /// it does.
    fn note(&self, written: &Poll<io::Result<usize>>, context: &mut Context<'_>) {
        if self.blocked.replace(written.is_pending()) && written.is_ready() {
            context.waker().wake_by_ref();
        }
    }

    fn begin(self: &Rc<Self>) -> Guard {
        self.serving.set(self.serving.get() + 1);
        self.wait.set(Wait::Served);
        Guard(Rc::clone(self))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Self(turn) = self;
        turn.serving.set(turn.serving.get().saturating_sub(1));
        if turn.serving.get() == 0 {
            turn.wait.set(Wait::Byte);
        }
    }
}

impl<B: MessageBody> Served<B> {
    /// A body at whose end this turn ends. It ends only when the client has sent its own body, or
    /// had time for it.
    pub fn new(body: B, turn: Option<Guard>, rest: Option<Rest>) -> Self {
        Self { body, turn, rest, failure: None }
    }
}

impl<B: MessageBody + Unpin> MessageBody for Served<B>
where
    B::Error: Unpin,
{
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        let this = &mut *self;
        if this.failure.is_none() {
            match Pin::new(&mut this.body).poll_next(context) {
                Poll::Ready(Some(Err(failure))) => {
                    // Returning pending once makes actix write; the next call shows whether that
                    // worked.
                    this.failure = Some(failure);
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    if let Some(rest) = &mut this.rest {
                        ready!(rest.poll_discard(context));
                    }
                    return Poll::Ready(None);
                }
                other => return other,
            }
        }
        if this.turn.as_ref().is_some_and(|Guard(turn)| turn.blocked.get()) {
            return Poll::Pending;
        }
        Poll::Ready(this.failure.take().map(Err))
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        let Self { body, turn, rest, failure } = self;
        body.try_into_bytes().map_err(|body| Self { body, turn, rest, failure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// An unused connection, and the client's end of it.
    fn connection() -> (Connection<DuplexStream>, DuplexStream) {
        let (server, client) = tokio::io::duplex(64);
        (Connection::over(server), client)
    }

    async fn read(connection: &mut Connection<DuplexStream>) -> io::ErrorKind {
        loop {
            match connection.read(&mut [0; 8]).await {
                Ok(0) => return io::ErrorKind::UnexpectedEof,
                Ok(_) => {}
                Err(error) => return error.kind(),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_after_its_time() {
        let (mut connection, _client) = connection();
        let began = Instant::now();
        assert_eq!(read(&mut connection).await, io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), KEEP_ALIVE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_head_must_end_in_time_however_steadily_it_arrives() {
        let (mut connection, mut client) = connection();
        drop(connection.turn.begin());
        let began = Instant::now();
        let dripping = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(read(&mut connection).await, io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), HEAD_TIME);
        drop(connection);
        dripping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_served_has_no_idle_timeout() {
        let (mut connection, mut client) = connection();
        client.write_all(b"x").await.unwrap();
        assert_eq!(connection.read(&mut [0; 8]).await.unwrap(), 1);
        let served = connection.turn.begin();
        let waited = tokio::time::timeout(Duration::from_secs(3600), read(&mut connection)).await;
        assert!(waited.is_err(), "{waited:?}");
        drop(served);
        let began = Instant::now();
        assert_eq!(read(&mut connection).await, io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), KEEP_ALIVE);
    }
}
