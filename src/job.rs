//! One request in progress: the job, its reply channel and the stream of its answer.
//!
//! A [`Job`] is moved, never cloned. Its holder owes the answer; dropping it unanswered answers
//! `internal`, so that no client waits in vain.
//!
//! The one thing to know: the job is answered at the first event and kept until the last: if the
//! stream breaks, the job still owes the rest. Dropping the [`EventStream`] tells the provider's
//! task that the client disconnected.

mod candidate;
mod carried;
mod chained;
mod continuation;
mod place;
mod reply;
mod upload;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use wildmatch::WildMatch;

use crate::chat::{
    Ask, Carry, ChatEvent, Completion, Finish, GatewayError, Naming, RawHead, Usage, Whole,
};
use crate::policy::{DataPolicy, OnCut, Priority, Trust};
use crate::telemetry::CacheResult;
use crate::telemetry::journal::Track;
use crate::telemetry::otel::Trace;

pub use candidate::{Candidate, RoutePart};
pub use chained::{Chained, Remembered};
pub use continuation::{Continuation, Differs};
pub use place::{Place, Stay};
pub use reply::{Answer, EventStream, Reply};
pub use upload::{BrokeOff, Upload, UploadSender};

/// Events that may wait between a provider and a slow client. With 16 pieces of at most one read
/// each, a stalled client holds far less than the 256 KiB allowed to it.
pub const EVENTS: usize = 16;

/// How long a request that manages models may take, whatever the provider's `total`.
pub const MANAGING: Duration = Duration::from_secs(24 * 60 * 60);

/// The authenticated client.
#[derive(Debug, Clone)]
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
    /// Whether it may install and remove models.
    pub manages_models: bool,
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

    /// Whether they match every name.
    #[must_use]
    pub fn are_all(&self) -> bool {
        self.0.iter().any(|pattern| *pattern == WildMatch::new("*"))
    }

    /// Whether one of the patterns matches the name of a model, however it can be said.
    #[must_use]
    pub fn matches_model(&self, name: &str, naming: Naming) -> bool {
        naming.any(name, |name| self.matches(name))
    }
}

/// One request in progress.
#[derive(Debug)]
pub struct Job {
    /// Identifies the request in logs and towards the provider.
    pub request_id: Arc<str>,
    /// A random id of the answer.
    pub id: Uuid,
    /// The request.
    pub request: Arc<Ask>,
    /// The request as it came, if it can be carried.
    pub carry: Option<Arc<Carry>>,
    /// The body that is streamed to the provider, if it is not held.
    pub upload: Option<Upload>,
    /// The trace that it belongs to, if any.
    pub trace: Option<Trace>,
    /// The caller.
    pub caller: Arc<Caller>,
    /// Where the content may go.
    pub policy: Option<DataPolicy>,
    /// When the request arrived. Deadlines count from here.
    pub arrived: Instant,
    /// When the client stops waiting, if it said so.
    pub deadline: Option<Instant>,
    /// The candidates not yet tried, in order.
    pub candidates: VecDeque<Candidate>,
    /// Equals of the candidates that did not list the model at the last look. They are asked when
    /// the others turn out not to have it, since it may have been installed meanwhile.
    pub reserve: VecDeque<Candidate>,
    /// What happens when its answer breaks off midway.
    pub on_cut: OnCut,
    /// What has been tried so far.
    pub tried: Tried,
    /// What its conversation is recognized by; see [`Job::chain`].
    pub chained: Chained,
    /// The part of the answer that the client has.
    pub continuation: Continuation,
    /// Its place in a line, for heartbeats.
    pub place: Place,
    /// Where its route is noted, if the client wants to know it.
    pub route: Option<RouteNote>,
    /// Its entry in the journal.
    pub track: Track,
    /// Where the answer goes.
    pub reply: Reply,
}

/// The route of a job in words, once it is decided; shared with the task that answers the client.
#[derive(Debug, Clone, Default)]
pub struct RouteNote(Arc<OnceLock<String>>);

impl RouteNote {
    /// The route as a header's value; `None` before it is decided.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Sets the route, once.
    pub fn set(&self, told: String) {
        // A job is routed once; the first value stays.
        drop(self.0.set(told));
    }
}

/// What has been tried for a job so far.
#[derive(Debug, Default)]
pub struct Tried {
    /// The model at the provider that has the job now or had it last.
    pub candidate: Option<Candidate>,
    /// Whether that is a fallback: its route's, or after another candidate that did not answer.
    pub fell_back: bool,
    /// Whether the present provider refused to continue an answer, so that it is asked from the
    /// start.
    pub prefill_refused: bool,
    /// How many tokens the present provider allows for an answer, once it has rejected more.
    pub room: Option<u64>,
    /// Calls made to any provider.
    pub attempts: u32,
    /// Calls made to the present provider, a free one not counted.
    pub here: u32,
    /// Whether the free call after a stale connection was made.
    pub free_used: bool,
    /// A digest of the caller and the request, once something has failed.
    pub digest: Option<u64>,
    /// A digest of the present provider's words at its last failure.
    pub said: Option<u64>,
    /// Time spent in the present provider's line.
    pub queued_here: Duration,
    /// Time spent in lines.
    pub queued: Duration,
    /// Time spent waiting for providers, before the first event.
    pub upstream: Duration,
    /// The requested features that the last provider does not support.
    pub dropped: Vec<String>,
    /// The head of an answer that is passed on as it came.
    pub head: Option<Arc<RawHead>>,
    /// How much of its prompt the last provider is believed to remember.
    pub remembered: Option<Remembered>,
    /// Whether the answer is the gateway's own estimate.
    pub is_estimate: bool,
    /// The failure that cut a partly delivered answer.
    pub cut: Option<GatewayError>,
    /// Whether another call was made to continue such an answer.
    pub is_resumed: bool,
    /// The part of the cache in it.
    pub cache: Option<CacheResult>,
}

impl Job {
    /// A job that arrives now, and the receiver of its answer. It has no deadline and no data
    /// policy, is not routed, and its answer gets a random id.
    #[must_use]
    pub fn new(
        request_id: Arc<str>,
        request: Arc<Ask>,
        caller: Arc<Caller>,
    ) -> (Self, oneshot::Receiver<Answer>) {
        let (reply, answer) = Reply::new();
        let job = Self {
            request_id,
            id: Uuid::new_v4(),
            request,
            carry: None,
            upload: None,
            trace: None,
            caller,
            policy: None,
            arrived: Instant::now(),
            deadline: None,
            candidates: VecDeque::new(),
            reserve: VecDeque::new(),
            on_cut: OnCut::default(),
            tried: Tried::default(),
            chained: Chained::default(),
            continuation: Continuation::default(),
            place: Place::default(),
            route: None,
            track: Track::default(),
            reply,
        };
        (job, answer)
    }

    /// Whether the job's content may go to a provider of this trust.
    #[must_use]
    pub fn may_go_to(&self, trust: Trust) -> bool {
        self.policy.is_none_or(|policy| policy.allows(trust))
    }

    /// When the job must have ended at a provider that allows `total` for everything. A model takes
    /// as long to install as its size and the line demand.
    #[must_use]
    pub fn deadline(&self, total: Duration) -> Instant {
        let end = self.arrived + if self.request.manages() { MANAGING } else { total };
        self.deadline.map_or(end, |deadline| deadline.min(end))
    }

    /// A job with the same request for several clients, and the receiver of its answer. It has no
    /// client's deadline, since another client may wait longer, and is not routed yet.
    #[must_use]
    pub fn for_several(&self) -> (Self, oneshot::Receiver<Answer>) {
        let (request, caller) = (Arc::clone(&self.request), Arc::clone(&self.caller));
        let (job, answer) = Self::new(Arc::clone(&self.request_id), request, caller);
        let job = Self {
            id: self.id,
            carry: self.carry.clone(),
            policy: self.policy,
            arrived: self.arrived,
            place: self.place.clone(),
            track: self.track,
            trace: self.trace.clone(),
            ..job
        };
        (job, answer)
    }

    /// Whether an answer that broke off may be asked for elsewhere: if part of it was delivered,
    /// only when another answer can be joined to that; if nothing was, always.
    #[must_use]
    pub fn may_resume(&self) -> bool {
        let is_joinable = self.request.raw().is_none()
            && (!self.request.stream()
                || self.refusal().is_none() && self.continuation.is_joinable());
        self.on_cut == OnCut::Resume && !self.candidates.is_empty() && is_joinable
    }

    /// Answers with a stream of events. The job then owes what follows it: [`Job::complete`] when
    /// nothing does.
    pub fn answer(&mut self, events: mpsc::Receiver<ChatEvent>) {
        self.reply.answer(self.tried.served(), events);
    }

    /// The answer was delivered completely.
    pub fn complete(self) {
        self.reply.complete();
    }

    /// As [`Job::answer`], with who served another job's answer.
    pub fn answer_as(&mut self, served: Option<Served>, events: mpsc::Receiver<ChatEvent>) {
        self.reply.answer(served, events);
    }

    /// Answers with a failure, and with who served another job's answer.
    pub fn fail_as(self, served: Option<Served>, error: GatewayError) {
        self.reply.fail(served, error);
    }

    /// Answers with an estimate of the prompt's tokens, in the name of the first candidate.
    pub fn estimate(mut self, tokens: u64) {
        self.tried.candidate = self.candidates.pop_front();
        self.tried.is_estimate = true;
        let (sender, events) = mpsc::channel(2);
        let (finish, usage) = (Finish::Stop, Usage::default());
        let done = Completion { finish, stop_sequence: None, usage };
        for event in [ChatEvent::Whole(Whole::Tokens(tokens)), ChatEvent::Done(done)] {
            // There is room for both, and the receiver exists.
            drop(sender.try_send(event));
        }
        self.answer(events);
        self.complete();
    }

    /// Answers with a failure. A client that has part of an answer is told why it broke off; a
    /// later failure at another provider goes to the log only.
    pub fn fail(mut self, error: GatewayError) {
        let error = match self.tried.cut.take() {
            None => error,
            Some(cut) if cut.message == error.message => cut,
            Some(cut) => {
                // Only its code: a provider that rejects a request may quote it.
                let after = format!("not resumed: {}", error.kind.code());
                let cause =
                    cut.cause.as_deref().map_or(after.clone(), |cause| format!("{cause}; {after}"));
                cut.because(cause)
            }
        };
        let Self { tried, reply, .. } = self;
        reply.fail(tried.served(), error);
    }
}

impl Tried {
    fn stay(&self, since: Option<Instant>) -> Option<Stay> {
        let candidate = self.candidate.clone()?;
        Some(Stay { candidate, attempts: self.attempts, queued: self.queued, since })
    }

    /// Gives the job to the next candidate.
    pub fn turn_to(&mut self, candidate: Candidate) {
        self.fell_back = self.candidate.is_some() || candidate.part == Some(RoutePart::Fallback);
        self.candidate = Some(candidate);
        (self.here, self.prefill_refused, self.room) = (0, false, None);
    }

    /// Who serves it, for the client.
    #[must_use]
    pub fn served(&self) -> Option<Served> {
        let candidate = self.candidate.clone();
        candidate.map(|candidate| Served {
            candidate,
            fell_back: self.fell_back,
            attempts: self.attempts,
            queued: self.queued,
            upstream: self.upstream,
            dropped: self.dropped.clone(),
            head: self.head.clone(),
            remembered: self.remembered,
            is_estimate: self.is_estimate,
            is_resumed: self.is_resumed,
            cache: self.cache,
        })
    }
}

/// Who answered a job, and what it took.
#[derive(Debug, Clone)]
pub struct Served {
    /// The model at the provider that answered or failed last.
    pub candidate: Candidate,
    /// Whether that is a fallback: then an answer names the model that ran, not the requested one.
    pub fell_back: bool,
    /// Calls made to any provider.
    pub attempts: u32,
    /// Time spent in lines.
    pub queued: Duration,
    /// Time spent waiting for providers, before the first event.
    pub upstream: Duration,
    /// The requested features that the provider does not support.
    pub dropped: Vec<String>,
    /// The head of an answer that is passed on as it came.
    pub head: Option<Arc<RawHead>>,
    /// How much of its prompt the provider is believed to have remembered.
    pub remembered: Option<Remembered>,
    /// Whether the answer is the gateway's own estimate.
    pub is_estimate: bool,
    /// Whether it continues an answer that another provider began.
    pub is_resumed: bool,
    /// The part of the cache in it.
    pub cache: Option<CacheResult>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_patterns_matches_when_one_does() {
        let globs = Globs::new(&["llama*".to_owned(), "mistral".to_owned()]);
        assert!(globs.matches("llama3.1:70b"));
        assert!(globs.matches("mistral"));
        assert!(!globs.matches("mistral-large"));
        assert!(!Globs::new(&[]).matches("x"));
    }
}
