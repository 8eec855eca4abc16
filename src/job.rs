//! One request on its way: the job, its return address and the stream of its answer.
//!
//! A [`Job`] is moved, never cloned. Whoever holds it owes the answer; dropping it unanswered answers `internal`,
//! so that no client waits for somebody who is gone.
//!
//! The one thing to know: the answer is given at the first event, and the job stays at hand until the last: should the
//! stream die, it still owes what follows. Dropping the [`EventStream`] is how a client's leaving reaches the provider.

mod candidate;
mod carried;
mod continuation;
mod place;
mod reply;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use wildmatch::WildMatch;

use crate::chat::{Ask, Carry, ChatEvent, Completion, Finish, GatewayError, Naming, Usage, Whole};
use crate::policy::{DataPolicy, OnCut, Priority, Trust};
use crate::telemetry::CacheResult;
use crate::telemetry::journal::Track;
use crate::telemetry::otel::Trace;

pub use candidate::{Candidate, RoutePart};
pub use continuation::{Continuation, Differs};
pub use place::{Place, Stay};
pub use reply::{Answer, EventStream, Reply};

/// Events that may wait between a provider and a slow client. With 16 pieces of at most one read each, a stalled
/// client holds far less than the 256 KiB allowed to it.
pub const EVENTS: usize = 16;

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

/// One request on its way.
#[derive(Debug)]
pub struct Job {
    /// Identifies the request in logs and towards the provider.
    pub request_id: Arc<str>,
    /// A random id of the answer.
    pub id: Uuid,
    /// What is asked.
    pub request: Arc<Ask>,
    /// The same as it came, where it can be passed on so.
    pub carry: Option<Arc<Carry>>,
    /// The trace that it belongs to, where it belongs to one.
    pub trace: Option<Trace>,
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
    /// Equals of the candidates that did not list the model when it was last looked. They are asked when the others turn
    /// out not to have it, since somebody may have installed it meanwhile.
    pub reserve: VecDeque<Candidate>,
    /// What happens when its answer dies midway.
    pub on_cut: OnCut,
    /// What has been tried so far.
    pub tried: Tried,
    /// What the client has of the answer.
    pub continuation: Continuation,
    /// Where it stands in a line, for signs of life.
    pub place: Place,
    /// Where its way is written down, when the client wants to know it.
    pub route: Option<RouteNote>,
    /// Where the journal follows it.
    pub track: Track,
    /// Where the answer goes.
    pub reply: Reply,
}

/// The way of a job in words, once it is decided; shared with whoever tells the client.
#[derive(Debug, Clone, Default)]
pub struct RouteNote(Arc<OnceLock<String>>);

impl RouteNote {
    /// The way, as the value of a header; `None` before it is decided.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Writes the way down, once.
    pub fn set(&self, told: String) {
        // A job is routed once; whatever came first stands.
        drop(self.0.set(told));
    }
}

/// What has been tried for a job so far.
#[derive(Debug, Default)]
pub struct Tried {
    /// The model at the provider that has the job now or had it last.
    pub candidate: Option<Candidate>,
    /// Whether that is a fallback: of its route, or of another candidate that did not answer.
    pub fell_back: bool,
    /// Whether the present provider was asked to go on with an answer and refused that, so that it is asked from the start.
    pub prefill_refused: bool,
    /// How many tokens the present provider says that an answer may have, once it has refused more.
    pub room: Option<u64>,
    /// Calls made to any provider.
    pub attempts: u32,
    /// Calls made to the present provider, a free one not counted.
    pub here: u32,
    /// Whether the free call after a stale connection was made.
    pub free_used: bool,
    /// A digest of the caller and of what it asks, once something has failed.
    pub digest: Option<u64>,
    /// A digest of what the present provider said when it failed last.
    pub said: Option<u64>,
    /// Time spent in the present provider's line.
    pub queued_here: Duration,
    /// Time spent in lines.
    pub queued: Duration,
    /// Time spent waiting for providers, before the first event.
    pub upstream: Duration,
    /// What the client asked for and the last provider asked has no place for.
    pub dropped: Vec<String>,
    /// Whether the answer is the gateway's own estimate.
    pub is_estimate: bool,
    /// The failure that broke off an answer of which the client has a part.
    pub cut: Option<GatewayError>,
    /// Whether another call was made to go on with such an answer.
    pub is_resumed: bool,
    /// What the cache had to do with it.
    pub cache: Option<CacheResult>,
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

    /// Another job that asks the same for several clients, and where its answer appears. It has no deadline of a
    /// client, since another may wait longer, and is still to be routed.
    #[must_use]
    pub fn for_several(&self) -> (Self, oneshot::Receiver<Answer>) {
        let (reply, answer) = Reply::new();
        let job = Self {
            request_id: Arc::clone(&self.request_id),
            id: self.id,
            request: Arc::clone(&self.request),
            carry: self.carry.clone(),
            caller: Arc::clone(&self.caller),
            policy: self.policy,
            arrived: self.arrived,
            deadline: None,
            candidates: VecDeque::new(),
            reserve: VecDeque::new(),
            on_cut: OnCut::default(),
            tried: Tried::default(),
            continuation: Continuation::default(),
            place: self.place.clone(),
            route: None,
            track: self.track,
            trace: self.trace.clone(),
            reply,
        };
        (job, answer)
    }

    /// Whether an answer that died midway may be asked for elsewhere: with a part of it delivered, when another answer
    /// can be joined to that; a whole one, which nobody has seen yet, as any other.
    #[must_use]
    pub fn may_resume(&self) -> bool {
        let is_joinable =
            !self.request.stream() || self.refusal().is_none() && self.continuation.is_joinable();
        self.on_cut == OnCut::Resume && !self.candidates.is_empty() && is_joinable
    }

    /// Answers with a stream of events, and owes from then on what follows it: [`Job::complete`] when nothing does.
    pub fn answer(&mut self, events: mpsc::Receiver<ChatEvent>) {
        self.reply.answer(self.tried.served(), events);
    }

    /// The answer was given to its end.
    pub fn complete(self) {
        self.reply.complete();
    }

    /// As [`Job::answer`], with what is known of another job's answer.
    pub fn answer_as(&mut self, served: Option<Served>, events: mpsc::Receiver<ChatEvent>) {
        self.reply.answer(served, events);
    }

    /// Answers with a failure, and with what is known of another job's answer.
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
            // There is room for both, and the receiver is at hand.
            drop(sender.try_send(event));
        }
        self.answer(events);
        self.complete();
    }

    /// Answers with a failure. A client that has a part of an answer is told why that broke off; what failed
    /// afterwards, with another provider, is for the log.
    pub fn fail(mut self, error: GatewayError) {
        let error = match self.tried.cut.take() {
            None => error,
            Some(cut) if cut.message == error.message => cut,
            Some(cut) => {
                // Only its code: a provider that refuses a request may quote it.
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

    /// The next candidate has the job.
    pub fn turn_to(&mut self, candidate: Candidate) {
        self.fell_back = self.candidate.is_some() || candidate.part == Some(RoutePart::Fallback);
        self.candidate = Some(candidate);
        (self.here, self.prefill_refused, self.room) = (0, false, None);
    }

    /// What is told of it to the client.
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
    /// Whether that is a fallback: then an answer names the model that ran, not what was asked for.
    pub fell_back: bool,
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
    /// Whether it goes on with an answer that another provider began.
    pub is_resumed: bool,
    /// What the cache had to do with it.
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
