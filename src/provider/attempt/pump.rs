//! Carries an answer's events from its provider to the client.
//!
//! It owns the body of the answer while it is read, and passes on what the job's continuation lets
//! through. It never decides what follows a failure.
//!
//! The one thing to know: it watches the channel as well as the body, or a client's disconnect
//! would be noticed only at the next piece.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::{Answering, decode};
use crate::chat::{ChatEvent, Usage};
use crate::job::{Continuation, Differs};
use crate::provider::Provider;
use crate::provider::client::{Body, BodyError};
use crate::provider::failed::Failed;
use crate::telemetry::UpstreamCancelled;

/// How long the end of the body may come after the end of the answer before the connection is
/// closed.
const END_TIME: Duration = Duration::from_millis(250);

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub deadline: Instant,
    /// Between two pieces.
    pub silence: Duration,
    /// Whether the provider has other models when it has ended.
    pub changes_models: bool,
}

/// Carries the events of one answer.
pub(super) struct Pump<'a> {
    provider: &'a Provider,
    bounds: Bounds,
    sender: mpsc::Sender<ChatEvent>,
    continuation: &'a mut Continuation,
    /// When the client's disconnect was noticed.
    left: Option<Instant>,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        provider: &'a Provider,
        bounds: Bounds,
        sender: mpsc::Sender<ChatEvent>,
        continuation: &'a mut Continuation,
    ) -> Self {
        Self { provider, bounds, sender, continuation, left: None }
    }

    /// Carries events until the answer ends, and returns its usage. The body is dropped in any
    /// case.
    pub(super) async fn run(mut self, answering: Answering) -> Result<Usage, Failed> {
        let ended = self.carry(answering).await;
        if let Some(left) = self.left {
            // The body was dropped with `carry`, and its connection with it.
            UpstreamCancelled { after: left.elapsed() }.emit();
        }
        ended
    }

    async fn carry(&mut self, answering: Answering) -> Result<Usage, Failed> {
        let Answering { mut body, mut decoder, mut events, broken, head: _ } = answering;
        loop {
            if let Some(usage) = self.deliver(&mut events).await? {
                body.end(END_TIME).await;
                return Ok(usage);
            }
            if let Some(error) = broken {
                return Err(Failed::cut(self.provider, error));
            }
            let piece = self.next_piece(&mut body).await?;
            if let Err(error) = decode(&mut *decoder, piece, &mut events) {
                // Events that arrived complete before the failure are still delivered.
                return match self.deliver(&mut events).await? {
                    Some(usage) => Ok(usage),
                    None => Err(Failed::cut(self.provider, error)),
                };
            }
        }
    }

    /// Hands events to the client, however slowly it reads, until the deadline. Returns the usage
    /// when the answer's end was among them.
    async fn deliver(&mut self, events: &mut Vec<ChatEvent>) -> Result<Option<Usage>, Failed> {
        for event in events.drain(..) {
            let usage = event.done().map(|completion| completion.usage);
            let joined = self.continuation.join(event);
            let joined = joined.map_err(|Differs| Failed::differs(&self.provider.name))?;
            if usage.is_some() && self.bounds.changes_models {
                // The client may ask for the list at once.
                self.provider.catalogue.outdate();
            }
            if let Some(event) = joined {
                match timeout_at(self.bounds.deadline.into(), self.sender.send(event)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(self.client_left()),
                    Err(_) => return Err(Failed::deadline(&self.provider.name)),
                }
            }
            if usage.is_some() {
                return Ok(usage);
            }
        }
        Ok(None)
    }

    /// The next piece of the body, unless the provider stalls, the deadline passes or the client
    /// disconnects.
    async fn next_piece(
        &mut self,
        body: &mut Body,
    ) -> Result<Option<Result<bytes::Bytes, BodyError>>, Failed> {
        let due = Instant::now() + self.bounds.silence;
        tokio::select! {
            biased;
            () = self.sender.closed() => Err(self.client_left()),
            piece = timeout_at(due.min(self.bounds.deadline).into(), body.next()) => match piece {
                Ok(piece) => Ok(piece),
                Err(_) if self.bounds.deadline <= due => Err(Failed::deadline(&self.provider.name)),
                Err(_) => Err(Failed::stalled(&self.provider.name)),
            },
        }
    }

    fn client_left(&mut self) -> Failed {
        self.left = Some(Instant::now());
        Failed::client_gone()
    }
}
