//! What a request still has to send when its answer is ready.
//!
//! An answer that does not wait for the request's body (a key that is unknown, a limit, a line that is full) leaves a
//! connection on which that body still arrives. Closed at once, it loses the client its answer, as the kernel resets
//! a connection that is closed with bytes unread; closed at all, it costs a new connection for the next try. So a
//! small rest is read first, and the connection kept; a large one is thrown away beside the answer, which says that
//! the connection ends, so that a client that sends to its end first reads the answer all the same.
//!
//! It owns the body of a request from its arrival on, and lends it to the handler.
//!
//! The one thing to know: actix-http closes the connection of every answer whose request is not at its end then; what
//! is done here is only in time for it, or gives the client time.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_rt::time::{Instant, Sleep, sleep};
use actix_web::HttpMessage;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

/// The most bytes that an answer waits for: more costs more than a new connection.
const SMALL: u64 = 64 * 1024;
/// The longest time that an answer waits for them. They come with the head, or follow it at once.
const SMALL_TIME: Duration = Duration::from_millis(500);
/// How long nothing may come of what is thrown away: nginx's `lingering_timeout`.
const PAUSE: Duration = Duration::from_secs(5);
/// How long throwing away may take: a third of nginx's `lingering_time`, since who drips holds a descriptor.
const LINGER: Duration = Duration::from_secs(10);

/// The body of a request that its handler may leave unread.
pub(super) struct Rest {
    body: Rc<RefCell<Body>>,
    declared: Option<u64>,
    lingering: Option<Lingering>,
}

/// The body, and what is known of it.
struct Body {
    payload: Payload,
    taken: u64,
    has_ended: bool,
}

/// What the handler reads.
struct Lent(Rc<RefCell<Body>>);

/// How long what comes may still be thrown away.
struct Lingering {
    timer: Pin<Box<Sleep>>,
    ends: Instant,
}

impl Rest {
    /// Lends the body of a request to its handler; `None` when it has none.
    pub fn lend(request: &mut ServiceRequest) -> Option<Self> {
        let payload = request.take_payload();
        if matches!(payload, Payload::None) {
            return None;
        }
        let declared = request.headers().get(CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.trim().parse().ok());
        let body = Rc::new(RefCell::new(Body { payload, taken: 0, has_ended: false }));
        let lent = Lent(Rc::clone(&body));
        request.set_payload(Payload::Stream { payload: Box::pin(lent) });
        Some(Self { body, declared, lingering: None })
    }

    /// Reads what the handler has left, if it is little and comes soon.
    pub async fn take_in(&mut self) {
        let (taken, has_ended) = {
            let body = self.body.borrow();
            (body.taken, body.has_ended)
        };
        let is_large = self.declared.is_some_and(|length| length.saturating_sub(taken) > SMALL);
        if has_ended || is_large {
            return;
        }
        let mut body = Lent(Rc::clone(&self.body));
        let reading = async {
            let mut left = SMALL;
            while let Some(Ok(piece)) = body.next().await {
                left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                if left == 0 {
                    break;
                }
            }
        };
        // What has not come by then is thrown away beside the answer.
        drop(tokio::time::timeout(SMALL_TIME, reading).await);
    }

    /// Throws away what comes. Ready when the body has ended, or the time for it has.
    pub fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let piece = self.body.borrow_mut().poll_next(context);
            match piece {
                Poll::Ready(Some(Ok(_))) => {
                    if let Some(Lingering { timer, ends }) = &mut self.lingering {
                        timer.as_mut().reset((Instant::now() + PAUSE).min(*ends));
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => {
                    let lingering = self.lingering.get_or_insert_with(|| Lingering {
                        timer: Box::pin(sleep(PAUSE)),
                        ends: Instant::now() + LINGER,
                    });
                    ready!(lingering.timer.as_mut().poll(context));
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl Body {
    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, PayloadError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let piece = ready!(Pin::new(&mut self.payload).poll_next(context));
        match &piece {
            Some(Ok(piece)) => {
                let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                self.taken = self.taken.saturating_add(length);
            }
            Some(Err(_)) | None => self.has_ended = true,
        }
        Poll::Ready(piece)
    }
}

impl Stream for Lent {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll_next(context)
    }
}
