//! The reply channel of a job, and its answer.
//!
//! It owns the channel from the task that works on a job to the one that waits for it: one answer
//! and, if its stream breaks, one more. It never loses an answer: a reply that is dropped unused
//! answers `internal`.
//!
//! The one thing to know: an [`EventStream`] that ends without [`ChatEvent::Done`] is not over.
//! What follows, another stream or the failure, arrives through [`EventStream::then`].

use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};

use super::Served;
use crate::chat::{ChatEvent, GatewayError};

/// The one-shot reply channel of a job.
#[derive(Debug)]
pub struct Reply(Option<oneshot::Sender<Answer>>);

/// The answer to a job.
#[derive(Debug)]
pub struct Answer {
    /// Who answered, once a provider was chosen.
    pub served: Option<Served>,
    /// The events, of which the first has arrived, or the failure.
    pub outcome: Result<EventStream, GatewayError>,
}

/// The bounded channel of an answer's events.
#[derive(Debug)]
pub struct EventStream {
    events: mpsc::Receiver<ChatEvent>,
    then: oneshot::Receiver<Answer>,
}

impl Reply {
    /// A reply and the receiver of its answer.
    #[must_use]
    pub fn new() -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), receiver)
    }

    /// Whether the receiver was dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Waits until the receiver is dropped.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any time.
    pub async fn closed(&mut self) {
        if let Some(sender) = &mut self.0 {
            sender.closed().await;
        }
    }

    /// Answers with a failure.
    pub(super) fn fail(self, served: Option<Served>, error: GatewayError) {
        self.send(Answer { served, outcome: Err(error) });
    }

    /// Answers with events; afterwards the reply takes what follows them.
    pub(super) fn answer(&mut self, served: Option<Served>, events: mpsc::Receiver<ChatEvent>) {
        let (next, then) = Self::new();
        let now = std::mem::replace(self, next);
        now.send(Answer { served, outcome: Ok(EventStream { events, then }) });
    }

    /// Ends the reply: the answer is complete.
    pub(super) fn complete(mut self) {
        self.0 = None;
    }

    fn send(mut self, answer: Answer) {
        if let Some(sender) = self.0.take() {
            // There is no receiver when the client has disconnected; dropping the answer then ends
            // the attempt.
            drop(sender.send(answer));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let outcome = Err(GatewayError::internal("a job was dropped unanswered"));
            drop(sender.send(Answer { served: None, outcome }));
        }
    }
}

impl EventStream {
    /// The next event; `None` when this stream is over, complete or not.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any time: no event is lost.
    pub async fn recv(&mut self) -> Option<ChatEvent> {
        self.events.recv().await
    }

    /// As [`EventStream::recv`], for bodies.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<ChatEvent>> {
        self.events.poll_recv(context)
    }

    /// The receiver of what follows when this stream ended without [`ChatEvent::Done`]: another
    /// stream, or the failure.
    #[must_use]
    pub fn then(self) -> oneshot::Receiver<Answer> {
        self.then
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ErrorKind;

    #[tokio::test]
    async fn a_job_dropped_unanswered_answers_internal() {
        let (reply, answer) = Reply::new();
        drop(reply);
        let error = answer.await.unwrap().outcome.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal);
    }

    #[tokio::test]
    async fn a_reply_knows_when_its_receiver_is_dropped() {
        let (mut reply, answer) = Reply::new();
        assert!(!reply.is_closed());
        drop(answer);
        reply.closed().await;
        assert!(reply.is_closed());
    }

    #[tokio::test]
    async fn a_reply_takes_what_follows_its_events() {
        let (mut reply, answer) = Reply::new();
        let (sender, events) = mpsc::channel(1);
        reply.answer(None, events);
        assert!(!reply.is_closed());
        sender.send(ChatEvent::Text("a".to_owned())).await.unwrap();
        drop(sender);
        let mut stream = answer.await.unwrap().outcome.unwrap();
        assert_eq!(stream.recv().await, Some(ChatEvent::Text("a".to_owned())));
        assert_eq!(stream.recv().await, None);
        let then = stream.then();
        reply.fail(None, GatewayError::invalid("x"));
        let error = then.await.unwrap().outcome.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
    }

    #[tokio::test]
    async fn a_client_that_disconnects_before_or_amid_the_events_is_noticed() {
        let (mut reply, answer) = Reply::new();
        drop(answer);
        reply.answer(None, mpsc::channel(1).1);
        assert!(reply.is_closed());
        let (mut reply, answer) = Reply::new();
        reply.answer(None, mpsc::channel(1).1);
        drop(answer.await);
        assert!(reply.is_closed());
    }
}
