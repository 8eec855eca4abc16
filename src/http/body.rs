//! The body of a streamed answer: events in, bytes of the client's dialect out.
//!
//! It owns the relay of a job's answer to the client, heartbeats while nothing arrives, and the end
//! of the exchange. Dropping it, as actix does when the client disconnects, closes the event
//! channel and so the upstream call.
//!
//! The one thing to know: a failure midway is written as the dialect's error event and then the
//! connection is broken on purpose. After a clean end careless clients would take the answer for
//! complete.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_rt::time::{Sleep, sleep};
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::drain::draining;
use super::exchange::Exchange;
use crate::chat::{Ask, ChatEvent, GatewayError};
use crate::dialect::Encoder;
use crate::job::{Answer, EventStream};
use crate::telemetry::Outcome;

/// Events that are ready together are sent together, up to about this many bytes.
const BATCH: usize = 8 * 1024;

/// A streamed answer.
pub struct AnswerBody {
    state: State,
    exchange: Option<Exchange>,
    request: Arc<Ask>,
    encoder: Box<dyn Encoder>,
    /// Whether the encoder is already the answer's own.
    has_begun: bool,
    heartbeat: Heartbeat,
    stopped: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// When the last piece arrived.
    waiting_since: Instant,
}

/// The state of the body.
enum State {
    /// Waits for the answer, or for what follows one that broke off midway; the headers were sent.
    Waiting(oneshot::Receiver<Answer>),
    /// Sends events.
    Streaming(EventStream),
    /// Ends by breaking the connection.
    Broken,
    /// Has ended.
    Ended,
}

/// The timer of heartbeats.
struct Heartbeat {
    every: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether one is due at once: the headers of a waiting answer come with the first.
    is_due: bool,
}

/// Makes actix close the connection without the last chunk.
#[derive(Debug)]
pub struct CutOff;

impl std::fmt::Display for CutOff {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the answer was cut off")
    }
}

impl std::error::Error for CutOff {}

impl AnswerBody {
    /// A body whose first event has arrived.
    #[must_use]
    pub fn streaming(
        exchange: Exchange,
        encoder: Box<dyn Encoder>,
        events: EventStream,
        request: Arc<Ask>,
        heartbeat: Duration,
    ) -> Self {
        Self::new(State::Streaming(events), exchange, encoder, request, heartbeat)
    }

    /// A body that sends heartbeats until the answer arrives, the first one at once. `encoder` only writes those, unless
    /// they begin the answer; otherwise the answer gets its own encoder once it is known who
    /// answers.
    #[must_use]
    pub fn waiting(
        exchange: Exchange,
        encoder: Box<dyn Encoder>,
        answer: oneshot::Receiver<Answer>,
        request: Arc<Ask>,
        heartbeat: Duration,
    ) -> Self {
        Self::new(State::Waiting(answer), exchange, encoder, request, heartbeat)
    }

    fn new(
        state: State,
        exchange: Exchange,
        encoder: Box<dyn Encoder>,
        request: Arc<Ask>,
        heartbeat: Duration,
    ) -> Self {
        let is_due = matches!(state, State::Waiting(_));
        Self {
            has_begun: matches!(state, State::Streaming(_)),
            state,
            exchange: Some(exchange),
            request,
            encoder,
            heartbeat: Heartbeat { every: heartbeat, timer: None, is_due },
            stopped: None,
            waiting_since: Instant::now(),
        }
    }

    /// Takes the bytes that are ready; `None` when there are none.
    fn next_bytes(&mut self, context: &mut Context<'_>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < BATCH {
            match &mut self.state {
                State::Waiting(answer) => match Pin::new(answer).poll(context) {
                    Poll::Pending => break,
                    Poll::Ready(answer) => self.begin(answer, &mut out),
                },
                State::Streaming(events) => match events.poll_recv(context) {
                    Poll::Pending => break,
                    Poll::Ready(Some(event)) => self.event(event, &mut out),
                    Poll::Ready(None) => self.wait(),
                },
                State::Broken | State::Ended => break,
            }
        }
        (!out.is_empty()).then_some(out)
    }

    /// The events broke off; another answer may continue them.
    fn wait(&mut self) {
        self.count_wait();
        if let State::Streaming(events) = mem::replace(&mut self.state, State::Broken) {
            self.state = State::Waiting(events.then());
        }
    }

    /// The answer arrived after the headers were sent, or continues.
    fn begin(&mut self, answer: Result<Answer, oneshot::error::RecvError>, out: &mut Vec<u8>) {
        let Ok(Answer { served, outcome }) = answer else {
            return self.fail(&GatewayError::internal("a reply was dropped"), out);
        };
        if let Some(exchange) = &mut self.exchange {
            exchange.answered(served);
        }
        match outcome {
            Ok(events) => {
                // A continued answer keeps the name of the provider that began it.
                let goes_on = self.has_begun || self.encoder.has_begun();
                if let Some(exchange) = self.exchange.as_ref().filter(|_| !goes_on) {
                    self.encoder = exchange.encoder(&self.request);
                }
                self.has_begun = true;
                self.state = State::Streaming(events);
                self.waiting_since = Instant::now();
            }
            Err(error) => self.fail(&error, out),
        }
    }

    fn event(&mut self, event: ChatEvent, out: &mut Vec<u8>) {
        self.count_wait();
        let Some(exchange) = &mut self.exchange else { return };
        let since_arrival = exchange.arrived.elapsed();
        exchange.answers(since_arrival);
        exchange.quota.note(&event);
        let usage = event.done().map(|completion| completion.usage);
        if let Err(error) = self.encoder.event(event, since_arrival, out) {
            return self.fail(&error, out);
        }
        if let Some(usage) = usage {
            exchange.usage = usage;
            exchange.remember(&mut *self.encoder);
            self.state = State::Ended;
            if let Some(exchange) = self.exchange.take() {
                exchange.end(Outcome::Ok, None);
            }
        }
    }

    /// Counts the time spent waiting for the provider.
    fn count_wait(&mut self) {
        let now = Instant::now();
        let waited = now.saturating_duration_since(mem::replace(&mut self.waiting_since, now));
        if let Some(exchange) = &mut self.exchange {
            exchange.upstream += waited;
        }
    }

    /// Ready when a stopping gateway must end the exchange.
    fn poll_stopped(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(exchange) = &self.exchange else { return Poll::Pending };
        let stopped = self.stopped.get_or_insert_with(|| Box::pin(exchange.stopped()));
        stopped.as_mut().poll(context)
    }

    fn fail(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        self.encoder.failure(error, out);
        self.state = State::Broken;
        if let Some(exchange) = self.exchange.take() {
            exchange.end(Outcome::from(error.kind), Some(error));
        }
    }
}

impl MessageBody for AnswerBody {
    type Error = CutOff;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, CutOff>>> {
        let this = self.get_mut();
        if let Some(bytes) = this.next_bytes(context) {
            this.heartbeat.timer = None;
            return Poll::Ready(Some(Ok(Bytes::from(bytes))));
        }
        match this.state {
            State::Ended => Poll::Ready(None),
            State::Broken => Poll::Ready(Some(Err(CutOff))),
            State::Waiting(_) | State::Streaming(_) => {
                let mut out = Vec::new();
                if this.poll_stopped(context).is_ready() {
                    this.fail(&draining(), &mut out);
                    if out.is_empty() {
                        // An empty piece would be the last chunk: a proper end.
                        return Poll::Ready(Some(Err(CutOff)));
                    }
                } else {
                    ready!(this.heartbeat.poll(context));
                    let waiting = this.exchange.as_ref().and_then(|exchange| exchange.place.get());
                    this.encoder.heartbeat(waiting, &mut out);
                    if out.is_empty() {
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Some(Ok(Bytes::from(out))))
            }
        }
    }
}

impl Heartbeat {
    /// Ready once per interval, and whenever one is due; the next interval begins at once.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let every = self.every;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(every)));
        if !mem::take(&mut self.is_due) {
            ready!(timer.as_mut().poll(context));
        }
        let mut next = Box::pin(sleep(every));
        // The new timer must have the waker, in case this heartbeat writes nothing.
        let _ = next.as_mut().poll(context);
        self.timer = Some(next);
        Poll::Ready(())
    }
}
