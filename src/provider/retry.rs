//! What follows a failed attempt: a retry here, the next candidate, or the end.
//!
//! Owns the table of failures. It knows nothing of budgets, slots and providers' formats. The trap:
//! [`Next::Again`] is only a wish; unless it is free it still needs a permit from the budget, and
//! when there is none the original failure is the answer.

use std::time::Duration;

use crate::admission::backoff::RetryPolicy;
use crate::admission::{Ended, Fault};

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The attempt could not start: our own line was full, or descriptors or memory ran out.
    LocalResource,
    /// The name was not found, or connecting was refused, timed out, or failed in TLS.
    Connect,
    /// A reused connection broke before any byte of an answer: the provider had closed it
    /// meanwhile.
    ResetReused,
    /// A fresh connection broke before the head, or a 2xx answer ended or was malformed before its
    /// first event.
    DiedBeforeFirstEvent,
    /// No head or no first event in time.
    FirstEventTimeout,
    /// The provider reported a failure: 408, 409, 500, 502, 503, 504, 529 and other 5xx.
    Status {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`, when it came with one.
        retry_after: Option<Duration>,
    },
    /// The model's own process died under the request, according to its server.
    Crashed,
    /// 429: a rate limit.
    RateLimited {
        /// `Retry-After`, when it came with one.
        retry_after: Option<Duration>,
    },
    /// 429 because of a quota or unpaid bills: waiting does not help.
    Quota {
        /// `Retry-After`, when it came with one.
        retry_after: Option<Duration>,
    },
    /// `x-should-retry: false`.
    DoNotRetry,
    /// The provider does not accept the request: 400, 413, 415, 422 and other 4xx; 501, and 5xx
    /// whose words name a part of the request.
    Rejected,
    /// The same 5xx twice, while the model answers other requests and gives these words to no
    /// other.
    OfRequest,
    /// The provider does not have the model or does not let us use it: 404, or another status with
    /// such words.
    NoModel,
    /// 403 for any other reason: presumably about this request.
    Forbidden,
    /// 503 before the model began: it still loads, or the provider's own queue is full.
    NotBegun,
    /// The request is longer than the model's context.
    ContextLength,
    /// The provider rejects the content.
    ContentFilter,
    /// 401, and the provider does not list its models with the same key either: it refuses our
    /// credentials.
    Auth,
    /// 401 that may or may not be about our credentials.
    AuthDoubted,
    /// Broken or malformed after the first event.
    Cut,
    /// No further event in time after the first.
    Stalled,
    /// Asked to continue a partly delivered answer, it gave a different one.
    Differs,
    /// The client disconnected.
    ClientGone,
    /// The request's deadline passed.
    DeadlinePassed,
}

/// The state of a request when an attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Attempts so far at all providers, the failed one included.
    pub attempts: u32,
    /// Attempts so far at this provider, the failed one included, a free one not.
    pub here: u32,
    /// Whether the client has part of the answer.
    pub delivered: bool,
    /// Whether the free attempt after a broken reused connection was made.
    pub free_used: bool,
    /// Whether another candidate is left, which may also finish an answer that has begun.
    pub elsewhere: bool,
    /// Time until the deadline.
    pub left: Duration,
    /// The least time that a further attempt needs to succeed; zero when unknown.
    pub needs: Duration,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try this provider again.
    Again {
        /// After this time, without a slot.
        after: Duration,
        /// Whether it needs a fresh connection.
        fresh: bool,
        /// Whether it needs no permit from the budget and is not counted in [`Standing::here`].
        free: bool,
    },
    /// Back to the line of this provider, at the same place: the model did not begin.
    Line,
    /// Try the next candidate.
    Elsewhere,
    /// Answer with this failure.
    Stop,
}

/// Attempts of one request at all providers together.
pub const MAX_ATTEMPTS: u32 = 3;
/// Attempts at one provider while another candidate is left.
const MAX_HERE: u32 = 2;
/// The longest `Retry-After` that is waited out.
const SHORT_WAIT: Duration = Duration::from_secs(3);
/// The same when there is no other candidate.
const LONG_WAIT: Duration = Duration::from_secs(20);

impl Failure {
    /// The provider's `Retry-After`, if there was one.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. }
            | Self::RateLimited { retry_after }
            | Self::Quota { retry_after } => *retry_after,
            Self::LocalResource
            | Self::Connect
            | Self::ResetReused
            | Self::DiedBeforeFirstEvent
            | Self::FirstEventTimeout
            | Self::Crashed
            | Self::DoNotRetry
            | Self::Rejected
            | Self::OfRequest
            | Self::NoModel
            | Self::Forbidden
            | Self::NotBegun
            | Self::ContextLength
            | Self::ContentFilter
            | Self::Auth
            | Self::AuthDoubted
            | Self::Cut
            | Self::Stalled
            | Self::Differs
            | Self::ClientGone
            | Self::DeadlinePassed => None,
        }
    }

    /// The failure of a status outside 2xx, before its body is read.
    ///
    /// Redirects are not followed and count as rejections.
    pub fn of_status(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            401 => Self::AuthDoubted,
            403 => Self::Forbidden,
            404 => Self::NoModel,
            429 => Self::RateLimited { retry_after },
            408 | 409 | 500.. => Self::Status { status, retry_after },
            _ => Self::Rejected,
        }
    }

    /// Whether an answer had begun when it happened.
    pub fn is_midway(&self) -> bool {
        matches!(self, Self::Cut | Self::Stalled)
    }

    /// What the failure means for breaker, cooldown and limit. `fault` names the failed request,
    /// where that counts.
    pub fn ended(&self, fault: impl FnOnce() -> Fault) -> Ended {
        let model = |congested, crashed| Ended::Failed { fault: fault(), congested, crashed };
        match *self {
            Self::Connect => Ended::Unreachable,
            Self::DiedBeforeFirstEvent | Self::Crashed | Self::Cut | Self::Stalled => {
                model(false, true)
            }
            Self::FirstEventTimeout => model(true, false),
            Self::Status { status: 408 | 409, .. } => Ended::Neutral,
            Self::Status { status, .. } => model(matches!(status, 503 | 529), false),
            Self::RateLimited { retry_after } | Self::Quota { retry_after } => {
                Ended::RateLimited { retry_after }
            }
            Self::Auth => Ended::AuthFailed,
            Self::AuthDoubted => Ended::AuthDoubted,
            Self::NotBegun => Ended::NotBegun,
            Self::LocalResource
            | Self::ResetReused
            | Self::DoNotRetry
            | Self::Rejected
            | Self::OfRequest
            | Self::NoModel
            | Self::Forbidden
            | Self::ContextLength
            | Self::ContentFilter
            | Self::Differs
            | Self::ClientGone
            | Self::DeadlinePassed => Ended::Neutral,
        }
    }

    /// The table's entry for retrying at the same provider.
    fn here(&self) -> Here {
        match *self {
            Self::Connect | Self::Crashed => Here::Backoff,
            Self::Status { retry_after, .. } => retry_after.map_or(Here::Backoff, Here::Asked),
            Self::RateLimited { retry_after } => retry_after.map_or(Here::Once, Here::Asked),
            // After the first event only while nothing of the answer was delivered; `decide` checks
            // that.
            Self::DiedBeforeFirstEvent | Self::Cut => Here::Once,
            Self::NotBegun => Here::Line,
            Self::ResetReused => Here::Free,
            Self::LocalResource
            | Self::FirstEventTimeout
            | Self::Quota { .. }
            | Self::DoNotRetry
            | Self::Rejected
            | Self::OfRequest
            | Self::NoModel
            | Self::Forbidden
            | Self::ContextLength
            | Self::ContentFilter
            | Self::Auth
            | Self::AuthDoubted
            | Self::Stalled
            | Self::Differs
            | Self::ClientGone
            | Self::DeadlinePassed => Here::Never,
        }
    }

    /// The table's entry for other providers. After a prompt that was too long only larger
    /// candidates remain; the actor takes care of that. An answer that broke midway goes only where
    /// it may be resumed; the job knows that.
    fn elsewhere(&self) -> bool {
        match self {
            Self::LocalResource
            | Self::Connect
            | Self::ResetReused
            | Self::DiedBeforeFirstEvent
            | Self::FirstEventTimeout
            | Self::Status { .. }
            | Self::RateLimited { .. }
            | Self::Quota { .. }
            | Self::DoNotRetry
            | Self::Crashed
            | Self::OfRequest
            | Self::NoModel
            | Self::Forbidden
            | Self::NotBegun
            | Self::ContextLength
            | Self::Auth
            | Self::AuthDoubted
            | Self::Cut
            | Self::Stalled => true,
            Self::Rejected
            | Self::ContentFilter
            | Self::Differs
            | Self::ClientGone
            | Self::DeadlinePassed => false,
        }
    }
}

/// Decides what follows a failed attempt. `unit` (0 to 1) is the random part of the backoff.
///
/// At most 3 attempts in all, and at most 2 at one provider while another candidate is left. No
/// attempt is started that could not end before the deadline.
pub fn decide(failure: &Failure, standing: &Standing, policy: &RetryPolicy, unit: f64) -> Next {
    let here = failure.here();
    if matches!(here, Here::Line) {
        // This does not count as an attempt, and the line has bounds of its own.
        return if standing.elsewhere { Next::Elsewhere } else { Next::Line };
    }
    if standing.attempts >= MAX_ATTEMPTS {
        return Next::Stop;
    }
    let fits = |after: Duration| after.saturating_add(standing.needs) < standing.left;
    let allowed = policy.max_retries.saturating_add(1).min(MAX_ATTEMPTS);
    let allowed = if standing.elsewhere { allowed.min(MAX_HERE) } else { allowed };
    let backoff = policy.backoff(standing.here.saturating_sub(1), unit);
    let again = match here {
        Here::Never | Here::Line => None,
        // A partly delivered answer is only continued elsewhere, never at the provider where it
        // broke.
        _ if standing.delivered => None,
        Here::Free if !standing.free_used => {
            let at_once = Next::Again { after: Duration::ZERO, fresh: true, free: true };
            return if fits(Duration::ZERO) { at_once } else { Next::Stop };
        }
        // A connection made for this attempt cannot be stale: this is an ordinary failure.
        Here::Free | Here::Once => (standing.here < MAX_HERE).then_some(backoff),
        Here::Backoff => Some(backoff),
        Here::Asked(asked) => {
            let longest = if standing.elsewhere { SHORT_WAIT } else { LONG_WAIT };
            (asked <= longest).then_some(asked.max(backoff))
        }
    };
    match again.filter(|after| standing.here < allowed && fits(*after)) {
        Some(after) => Next::Again { after, fresh: false, free: false },
        None if standing.elsewhere && failure.elsewhere() && fits(Duration::ZERO) => {
            Next::Elsewhere
        }
        None => Next::Stop,
    }
}

/// How the same provider may be tried again.
enum Here {
    Never,
    /// At once on a fresh connection, once per request.
    Free,
    /// After a backoff, but only one further attempt.
    Once,
    /// After a backoff.
    Backoff,
    /// After the time that the provider asked for.
    Asked(Duration),
    /// When it gets a slot again.
    Line,
}

#[cfg(test)]
mod tests;
