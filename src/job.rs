//! One request on its way: the job, its return address and the stream of its answer.
//!
//! A [`Job`] is moved, never cloned. Whoever holds it owes the answer; dropping it unanswered answers `internal`,
//! so that no client waits for somebody who is gone.
//!
//! The one thing to know: the answer is given once, at the first event. What happens afterwards travels through
//! the [`EventStream`], and dropping that stream is how a client's leaving reaches the provider.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use wildmatch::WildMatch;

use crate::chat::{
    Ask, ChatEvent, Completion, Finish, GatewayError, Naming, Usage, Waiting, Whole,
};
use crate::policy::{DataPolicy, Priority, Trust};

/// Events that may wait between a provider and a slow client. With 16 pieces of at most one read each, a stalled
/// client holds far less than the 256 KiB allowed to it.
pub const EVENTS: usize = 16;

/// The authenticated client.
#[derive(Debug)]
pub struct Caller {
    /// The configured name of its key, or `anonymous`.
    pub name: Arc<str>,
    /// Its share under contention.
    pub weight: u32,
    /// Whether it is shed first.
    pub priority: Priority,
    /// Where its content may go.
    pub policy: Option<DataPolicy>,
    /// The models it may use.
    pub models: Globs,
    /// The providers it may use.
    pub providers: Globs,
}

/// Patterns with `*` and `?`, one of which must match.
#[derive(Debug, Clone, PartialEq)]
pub struct Globs(Vec<WildMatch>);

impl Globs {
    /// Compiles the patterns.
    #[must_use]
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a String>) -> Self {
        Self(patterns.into_iter().map(|pattern| WildMatch::new(pattern)).collect())
    }

    /// Whether one of the patterns matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether one of the patterns matches the name of a model, however it can be said.
    #[must_use]
    pub fn matches_model(&self, name: &str, naming: Naming) -> bool {
        naming.any(name, |name| self.matches(name))
    }
}

/// A model at a provider that may answer a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The configured name of the provider.
    pub provider: Arc<str>,
    /// The model's name there.
    pub model: Arc<str>,
}

/// One request on its way.
#[derive(Debug)]
pub struct Job {
    /// Identifies the request in logs and towards the provider.
    pub request_id: Arc<str>,
    /// A random id of the answer.
    pub id: Uuid,
    /// What is asked.
    pub request: Arc<Ask>,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// Where the content may go.
    pub policy: Option<DataPolicy>,
    /// When the request arrived. Deadlines count from here.
    pub arrived: Instant,
    /// When the client stops waiting, if it said so.
    pub deadline: Option<Instant>,
    /// The candidates not yet tried, the next one first.
    pub candidates: VecDeque<Candidate>,
    /// What has been tried so far.
    pub tried: Tried,
    /// Where it stands in a line, for signs of life.
    pub place: Place,
    /// Where the answer goes.
    pub reply: Reply,
}

/// Where a job stands in its provider's line, as of a few seconds ago; shared with whoever tells the client.
#[derive(Debug, Clone, Default)]
pub struct Place(Arc<Mutex<Option<Waiting>>>);

impl Place {
    /// Takes note of where the job stands; `None` when it no longer waits.
    pub fn set(&self, waiting: Option<Waiting>) {
        *self.0.lock() = waiting;
    }

    /// Where the job stands.
    #[must_use]
    pub fn get(&self) -> Option<Waiting> {
        *self.0.lock()
    }
}

/// What has been tried for a job so far.
#[derive(Debug, Default)]
pub struct Tried {
    /// The model at the provider that has the job now or had it last.
    pub candidate: Option<Candidate>,
    /// Calls made to any provider.
    pub attempts: u32,
    /// Calls made to the present provider, a free one not counted.
    pub here: u32,
    /// Whether the free call after a stale connection was made.
    pub free_used: bool,
    /// Time spent in lines.
    pub queued: Duration,
    /// Time spent waiting for providers, before the first event.
    pub upstream: Duration,
    /// What the client asked for and the last provider asked has no place for.
    pub dropped: Vec<String>,
    /// Whether the answer is the gateway's own estimate.
    pub is_estimate: bool,
}

impl Job {
    /// Whether the job's content may go to a provider of this trust.
    #[must_use]
    pub fn may_go_to(&self, trust: Trust) -> bool {
        self.policy.is_none_or(|policy| policy.allows(trust))
    }

    /// When the job must have ended at a provider that allows `total` for everything.
    #[must_use]
    pub fn deadline(&self, total: Duration) -> Instant {
        let end = self.arrived + total;
        self.deadline.map_or(end, |deadline| deadline.min(end))
    }

    /// Answers with a stream of events.
    pub fn answer(self, events: EventStream) {
        let Self { tried, reply, .. } = self;
        reply.send(Answer { served: tried.served(), outcome: Ok(events) });
    }

    /// Answers with an estimate of the prompt's tokens, in the name of the first candidate.
    pub fn estimate(mut self, tokens: u64) {
        self.tried.candidate = self.candidates.pop_front();
        self.tried.is_estimate = true;
        let (sender, events) = mpsc::channel(2);
        let (finish, usage) = (Finish::Stop, Usage::default());
        let done = Completion { finish, stop_sequence: None, usage };
        for event in [ChatEvent::Whole(Whole::Tokens(tokens)), ChatEvent::Done(done)] {
            // There is room for both, and the receiver is at hand.
            drop(sender.try_send(Ok(event)));
        }
        self.answer(events);
    }

    /// Answers with a failure.
    pub fn fail(self, error: GatewayError) {
        let Self { tried, reply, .. } = self;
        reply.send(Answer { served: tried.served(), outcome: Err(error) });
    }
}

impl Tried {
    fn served(self) -> Option<Served> {
        let Self { candidate, attempts, queued, upstream, dropped, is_estimate, .. } = self;
        candidate.map(|candidate| Served {
            candidate,
            attempts,
            queued,
            upstream,
            dropped,
            is_estimate,
        })
    }
}

/// The one-shot return address of a job.
#[derive(Debug)]
pub struct Reply(Option<oneshot::Sender<Answer>>);

impl Reply {
    /// A return address and the place where the answer appears.
    #[must_use]
    pub fn new() -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), receiver)
    }

    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Waits until nobody waits for the answer any more.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any time.
    pub async fn closed(&mut self) {
        if let Some(sender) = &mut self.0 {
            sender.closed().await;
        }
    }

    fn send(mut self, answer: Answer) {
        if let Some(sender) = self.0.take() {
            // Nobody listens when the client has left; dropping the answer then ends the attempt.
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

/// The answer to a job.
#[derive(Debug)]
pub struct Answer {
    /// Who answered, once a provider was chosen.
    pub served: Option<Served>,
    /// The events, the first of which is at hand, or why there are none.
    pub outcome: Result<EventStream, GatewayError>,
}

/// Who answered a job, and what it took.
#[derive(Debug, Clone)]
pub struct Served {
    /// The model at the provider that answered or failed last.
    pub candidate: Candidate,
    /// Calls made to any provider.
    pub attempts: u32,
    /// Time spent in lines.
    pub queued: Duration,
    /// Time spent waiting for providers, before the first event.
    pub upstream: Duration,
    /// What the client asked for and the provider has no place for.
    pub dropped: Vec<String>,
    /// Whether the answer is the gateway's own estimate.
    pub is_estimate: bool,
}

/// The bounded channel of an answer's events. It ends after [`ChatEvent::Done`] or an error; an end without
/// either means that the attempt vanished.
pub type EventStream = mpsc::Receiver<Result<ChatEvent, GatewayError>>;

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
    async fn a_reply_knows_when_nobody_waits() {
        let (mut reply, answer) = Reply::new();
        assert!(!reply.is_closed());
        drop(answer);
        reply.closed().await;
        assert!(reply.is_closed());
    }

    #[test]
    fn a_list_of_patterns_matches_when_one_does() {
        let globs = Globs::new(&["llama*".to_owned(), "mistral".to_owned()]);
        assert!(globs.matches("llama3.1:70b"));
        assert!(globs.matches("mistral"));
        assert!(!globs.matches("mistral-large"));
        assert!(!Globs::new(&[]).matches("x"));
    }
}
