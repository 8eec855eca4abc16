//! The unread rest of a request's body when its answer is ready.
//!
//! An answer that does not wait for the request's body (an unknown key, a limit, a full line)
//! leaves a connection on which that body still arrives. If the connection is closed at once, the
//! client loses its answer, as the kernel resets a connection that is closed with unread bytes; if
//! it is closed at all, the next try needs a new one. So a small rest is read first, and the
//! connection kept; a large one is discarded while the answer is sent, which announces the close,
//! so that a client that sends its whole body first still reads the answer.
//!
//! It owns the body of a request from its arrival, and lends it to the handler.
//!
//! The one thing to know: actix-http closes the connection after every answer whose request was not
//! read to its end; this module either reads the rest before that, or gives the client time.

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

/// The largest rest that an answer waits for: more costs more than a new connection.
const SMALL: u64 = 64 * 1024;
/// The longest time that an answer waits for it. It usually arrives with the head or right after
/// it.
const SMALL_TIME: Duration = Duration::from_millis(500);
/// The longest pause while a rest is discarded: nginx's `lingering_timeout`.
const PAUSE: Duration = Duration::from_secs(5);
/// How long discarding may take: a third of nginx's `lingering_time`, since a slow client holds a
/// descriptor.
const LINGER: Duration = Duration::from_secs(10);

/// The body of a request that its handler may leave unread.
pub(super) struct Rest {
    body: Rc<RefCell<Body>>,
    declared: Option<u64>,
    lingering: Option<Lingering>,
}

/// The body and its state.
struct Body {
    payload: Payload,
    taken: u64,
    has_ended: bool,
}

/// The payload for the handler.
struct Lent(Rc<RefCell<Body>>);

/// The timers of discarding.
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

    /// Reads what the handler left, if it is small and arrives soon.
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
        // What has not arrived by then is discarded while the answer is sent.
        drop(tokio::time::timeout(SMALL_TIME, reading).await);
    }

    /// Discards bytes. Ready when the body has ended or its time is over.
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
