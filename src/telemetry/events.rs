//! The internal events, each with its log line and its metrics.

use std::time::Duration;

use log::kv::Value;

use super::facts::{RequestEnded, Track};
use super::journal::JOURNAL;
use super::metrics::{METRICS, NO_PROVIDER};
use super::outcome::Outcome;
use crate::chat::{Reason, Usage};

impl RequestEnded<'_> {
    /// Counts the request, writes its access line and adds it to the journal.
    pub fn emit(self) {
        self.count();
        self.log();
        JOURNAL.ended(self.track, &self);
    }

    fn count(&self) {
        let provider = self.provider.map_or(NO_PROVIDER, |provider| provider);
        let timing = self.timing;
        METRICS.requests.with_label_values(&[self.dialect, provider, self.outcome.as_str()]).inc();
        METRICS.request_duration.with_label_values(&[provider]).observe(timing.total.as_secs_f64());
        // A gate counts its own refusals: another provider may still serve the request.
        if let Some(Reason::Edge(reason)) = self.reason {
            METRICS.refusals.with_label_values(&[provider, reason.as_str()]).inc();
        }
        if let Some(first) = timing.first {
            METRICS.first_token.with_label_values(&[provider]).observe(first.as_secs_f64());
        }
        if self.provider.is_some() {
            METRICS.queue_wait.with_label_values(&[provider]).observe(timing.queued.as_secs_f64());
        }
        if self.outcome == Outcome::Ok {
            let own = timing.total.saturating_sub(timing.queued).saturating_sub(timing.upstream);
            METRICS.overhead.observe(own.as_secs_f64());
        }
    }

    fn log(&self) {
        let timing = self.timing;
        let optional = |text: Option<&str>| text.unwrap_or("-").to_owned();
        log::info!(
            target: "access",
            request_id = &**self.request_id,
            outcome = self.outcome.as_str(),
            status = self.status,
            code = self.code.unwrap_or("-"),
            reason = self.reason.map_or("-", Reason::as_str),
            dialect = self.dialect,
            caller = self.caller.map_or("-", |caller| caller),
            provider = optional(self.provider.map(|name| &**name)),
            model = optional(self.model.map(|name| &**name)),
            attempts = self.attempts,
            resumed = self.is_resumed,
            queue_ms = millis(timing.queued),
            load_ms = timing.load.map_or_else(Value::null, |load| Value::from(millis(load))),
            first_ms = timing.first.map_or(0, millis),
            total_ms = millis(timing.total),
            prompt_tokens = self.usage.prompt.unwrap_or(0),
            cached_tokens = self.usage.cached.map_or_else(Value::null, Value::from),
            completion_tokens = self.usage.completion.unwrap_or(0),
            cause = optional(self.cause);
            "request"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The gate decided about a request.
#[derive(Debug)]
pub struct Admitted<'a> {
    /// The provider.
    pub provider: &'a str,
    /// `run`, `wait`, or the class of the refusal.
    pub decision: &'static str,
}

impl Admitted<'_> {
    /// Counts the decision.
    pub fn emit(self) {
        METRICS.admissions.with_label_values(&[self.provider, self.decision]).inc();
    }
}

/// How an upstream call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The answer was complete.
    Ok,
    /// The provider could not be reached.
    Connect,
    /// The connection broke before the first event.
    Reset,
    /// The provider was too slow, or stalled.
    Timeout,
    /// The provider reported a rate limit or a used-up quota.
    RateLimited,
    /// The provider reported that it is busy.
    Overloaded,
    /// The provider rejected the request.
    Rejected,
    /// The provider rejected the gateway's key.
    Auth,
    /// The provider failed with another status.
    Failed,
    /// The answer was invalid or was cut off.
    Broken,
    /// The call was cancelled because its answer is no longer needed: the client disconnected, or
    /// has a part of another answer.
    Cancelled,
}

impl AttemptOutcome {
    /// Whether the provider failed, rather than the request or its client.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Self::Connect
            | Self::Reset
            | Self::Timeout
            | Self::RateLimited
            | Self::Overloaded
            | Self::Auth
            | Self::Failed
            | Self::Broken => true,
            Self::Ok | Self::Rejected | Self::Cancelled => false,
        }
    }

    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Rejected => "rejected",
            Self::Auth => "auth",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An upstream call ended.
#[derive(Debug)]
pub struct AttemptEnded<'a> {
    /// The journal entry of its request.
    pub track: Track,
    /// The provider.
    pub provider: &'a str,
    /// The id of its request.
    pub request_id: &'a str,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The error, for the log.
    pub cause: Option<&'a str>,
}

impl AttemptEnded<'_> {
    /// Counts the call. A failure is logged at debug level, since the access line has the outcome
    /// of the request.
    pub fn emit(self) {
        METRICS.attempts.with_label_values(&[self.provider, self.outcome.as_str()]).inc();
        if self.outcome != AttemptOutcome::Ok {
            log::debug!(
                target: "attempt",
                request_id = self.request_id,
                provider = self.provider,
                outcome = self.outcome.as_str(),
                cause = self.cause.unwrap_or("-");
                "attempt failed"
            );
        }
        if let Some(cause) = self.cause.filter(|_| self.outcome.is_failure()) {
            JOURNAL.update(self.track, |entry| entry.failed(cause));
        }
    }
}

/// A call is retried at the same provider.
#[derive(Debug)]
pub struct Retried<'a> {
    /// The provider.
    pub provider: &'a str,
    /// Why the previous call failed.
    pub reason: AttemptOutcome,
}

impl Retried<'_> {
    /// Counts the retry.
    pub fn emit(self) {
        METRICS.retries.with_label_values(&[self.provider, self.reason.as_str()]).inc();
    }
}

/// A request moves to another provider.
#[derive(Debug)]
pub struct FellBack<'a> {
    /// The provider that failed or refused it.
    pub provider: &'a str,
    /// Why.
    pub reason: &'static str,
}

impl FellBack<'_> {
    /// Counts the fallback.
    pub fn emit(self) {
        METRICS.fallbacks.with_label_values(&[self.provider, self.reason]).inc();
    }
}

/// A provider counted tokens.
#[derive(Debug)]
pub struct TokensUsed<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The model, from a closed set: a configured name, else `other`.
    pub model: &'a str,
    /// The counts.
    pub usage: Usage,
}

impl TokensUsed<'_> {
    /// Counts the tokens.
    pub fn emit(self) {
        let labels = |kind| [self.provider, self.model, kind];
        if let Some(prompt) = self.usage.prompt {
            METRICS.tokens.with_label_values(&labels("prompt")).inc_by(prompt);
        }
        if let Some(completion) = self.usage.completion {
            METRICS.tokens.with_label_values(&labels("completion")).inc_by(completion);
        }
        // Only where the provider says how many were cached: unknown is not zero.
        if let (Some(prompt), Some(cached)) = (self.usage.prompt, self.usage.cached) {
            let read = prompt.saturating_sub(cached);
            METRICS.prompt_tokens.with_label_values(&labels("true")).inc_by(cached);
            METRICS.prompt_tokens.with_label_values(&labels("false")).inc_by(read);
        }
    }
}

/// An upstream call was closed because its client had disconnected.
#[derive(Debug)]
pub struct UpstreamCancelled {
    /// From detecting the disconnect to closing the connection.
    pub after: Duration,
}

impl UpstreamCancelled {
    /// Records how long it took.
    pub fn emit(self) {
        METRICS.cancel.observe(self.after.as_secs_f64());
    }
}

/// A provider's state at a scrape.
#[derive(Debug)]
pub struct ProviderState<'a> {
    /// The provider.
    pub provider: &'a str,
    /// Running calls.
    pub in_flight: u64,
    /// Waiting requests.
    pub queued: u64,
    /// The most calls at once.
    pub limit: u64,
    /// Its own breaker or its worst model's: 0 closed, 1 half-open, 2 open, 3 not authorised.
    pub breaker: i64,
    /// Whether it passes its health checks; `None` while that is unknown.
    pub is_healthy: Option<bool>,
    /// Messages waiting in mailboxes.
    pub mailbox: u64,
    /// Requests in quarantine.
    pub quarantined: usize,
}

impl ProviderState<'_> {
    /// Sets the gauges.
    pub fn emit(self) {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let label = &[self.provider];
        METRICS.in_flight.with_label_values(label).set(count(self.in_flight));
        METRICS.queued.with_label_values(label).set(count(self.queued));
        METRICS.max_concurrency.with_label_values(label).set(count(self.limit));
        METRICS.breaker_state.with_label_values(label).set(self.breaker);
        match self.is_healthy {
            Some(healthy) => {
                METRICS.healthy.with_label_values(label).set(i64::from(healthy));
            }
            // If it was never known, there is nothing to remove.
            None => drop(METRICS.healthy.remove_label_values(label)),
        }
        METRICS.mailbox_depth.with_label_values(label).set(count(self.mailbox));
        let quarantined = i64::try_from(self.quarantined).unwrap_or(i64::MAX);
        METRICS.quarantined.with_label_values(label).set(quarantined);
    }
}
