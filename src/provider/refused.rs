//! From what a gate or a provider says to what the caller is told.

use crate::backend::{DecodeError, Rejection, RejectionClass};
use crate::chat::{ErrorKind, GatewayError};
use crate::telemetry::AttemptOutcome;

use super::Provider;
use super::refusal::{Refusal, RefusalReason};
use super::retry::Failure;

/// What a caller is told when the gate turns its request away.
pub(super) fn refused(provider: &str, refusal: Refusal) -> GatewayError {
    let (kind, why) = match refusal.reason {
        RefusalReason::QueueFull => (ErrorKind::Overloaded, "its line is full"),
        RefusalReason::PredictedWait => (ErrorKind::Overloaded, "the wait would be too long"),
        RefusalReason::WaitedTooLong => {
            (ErrorKind::Overloaded, "its turn did not come within the longest wait allowed")
        }
        RefusalReason::OverShare => {
            (ErrorKind::RateLimited, "others wait, and this key already holds half of its line")
        }
        RefusalReason::PushedOut => (
            ErrorKind::RateLimited,
            "the place in its line went to a key that has fewer requests there",
        ),
        RefusalReason::DeadlinePassed => (ErrorKind::Timeout, "the deadline passed in its line"),
        RefusalReason::BreakerOpen => {
            (ErrorKind::ProviderUnavailable, "it kept failing and is left alone for a while")
        }
        RefusalReason::CoolingDown => {
            (ErrorKind::ProviderUnavailable, "it asked to be left alone for a while")
        }
        RefusalReason::AuthFailed => {
            (ErrorKind::ProviderUnavailable, "it does not accept the gateway's credentials")
        }
        RefusalReason::Draining => (ErrorKind::Draining, "it is being drained"),
    };
    let error = GatewayError::new(kind, format!("provider `{provider}`: {why}"));
    if kind == ErrorKind::Timeout { error } else { error.retry_after(refusal.retry_after) }
}

/// A failed attempt: what follows from it, and what to tell the caller if nothing else helps.
#[derive(Debug)]
pub(super) struct Failed {
    pub failure: Failure,
    pub error: GatewayError,
    /// Whether the words of an answer that broke off are about the request, which they may quote.
    quotes: bool,
}

impl Failed {
    pub fn new(failure: Failure, error: GatewayError) -> Self {
        Self { failure, error, quotes: false }
    }

    /// The client left.
    pub fn client_gone() -> Self {
        Self::new(Failure::ClientGone, GatewayError::new(ErrorKind::Internal, "the client left"))
    }

    /// The request's deadline passed while the provider had it.
    pub fn deadline(provider: &str) -> Self {
        let message = format!("the deadline passed before provider `{provider}` answered");
        Self::new(Failure::DeadlinePassed, GatewayError::new(ErrorKind::Timeout, message))
    }

    /// The answer broke off after its first event; why is for the log.
    pub fn cut(provider: &Provider, error: DecodeError) -> Self {
        let mut failed = Self::undecodable(provider, Failure::Cut, error);
        failed.quotes = matches!(failed.failure, Failure::Rejected | Failure::ContextLength);
        // Whatever the provider says of itself by now, half an answer is a bad answer. Only what a filter refused is
        // not asked of somebody else.
        if failed.failure != Failure::ContentFilter {
            failed.failure = Failure::Cut;
        }
        failed.error.kind = ErrorKind::BadUpstream;
        failed
    }

    /// No piece of the answer came for too long.
    pub fn stalled(provider: &str) -> Self {
        let message = format!("provider `{provider}` stalled");
        Self::new(Failure::Stalled, GatewayError::upstream(ErrorKind::Timeout, message))
    }

    /// The provider was to go on with an answer of which the client has a part, and gave another.
    pub fn differs(provider: &str) -> Self {
        let message = format!("provider `{provider}` gave another answer");
        Self::new(Failure::Differs, GatewayError::upstream(ErrorKind::BadUpstream, message))
    }

    /// The provider refused, with a status or within its answer.
    pub fn rejected(provider: &Provider, failure: Failure, rejection: Rejection) -> Self {
        let said = provider.without_key(rejection.message);
        let provider = &provider.name;
        let failed = |what: &str| format!("provider `{provider}` {what}: {said}");
        let retry_after = rejection.retry_after.or(failure.retry_after());
        let (failure, kind, message) = match rejection.class {
            RejectionClass::BadRequest => (Failure::Rejected, ErrorKind::InvalidRequest, said),
            RejectionClass::ContextTooLong => {
                (Failure::ContextLength, ErrorKind::ContextTooLong, said)
            }
            RejectionClass::ContentFilter => {
                (Failure::ContentFilter, ErrorKind::InvalidRequest, said)
            }
            RejectionClass::UnknownModel => (Failure::Rejected, ErrorKind::ModelNotFound, said),
            // Words about the gateway's own key are nobody else's business.
            RejectionClass::Auth => (
                Failure::Auth,
                ErrorKind::BadUpstream,
                format!("provider `{provider}` does not accept the gateway's credentials"),
            ),
            RejectionClass::RateLimited => (
                Failure::RateLimited { retry_after },
                ErrorKind::RateLimited,
                failed("limits requests"),
            ),
            RejectionClass::QuotaExhausted => (
                Failure::Quota { retry_after },
                ErrorKind::QuotaExhausted,
                failed("has no quota left"),
            ),
            RejectionClass::Overloaded => {
                let is_told = matches!(failure, Failure::Status { .. } | Failure::DoNotRetry);
                let busy = Failure::Status { status: 503, retry_after };
                let failure = if is_told { failure } else { busy };
                (failure, ErrorKind::ProviderUnavailable, failed("is busy"))
            }
            RejectionClass::Timeout => (failure, ErrorKind::Timeout, failed("gave up")),
            RejectionClass::Broken => (failure, ErrorKind::BadUpstream, failed("failed")),
        };
        let mut error = GatewayError::upstream(kind, message);
        error.retry_after = retry_after;
        error.spent =
            matches!(failure, Failure::Auth | Failure::Quota { .. } | Failure::DoNotRetry);
        Self::new(failure, error)
    }

    /// The answer could not be read.
    pub fn undecodable(provider: &Provider, failure: Failure, error: DecodeError) -> Self {
        let why = match &error {
            DecodeError::Reported(rejection) => {
                return Self::rejected(provider, failure, rejection.clone());
            }
            DecodeError::Cut => "was cut off in the middle of its answer",
            // What it sent instead is for the log only.
            DecodeError::Malformed(_) => "answered something that is not its API",
            DecodeError::TooLarge => "answered more at once than can be held",
        };
        let message = format!("provider `{}` {why}", provider.name);
        Self::new(failure, GatewayError::upstream(ErrorKind::BadUpstream, message).because(error))
    }

    /// What may be logged of it. A provider that refuses a request may quote it: that is the caller's alone.
    pub fn logged(&self) -> String {
        if self.quotes {
            return "the request was refused in the middle of its answer".to_owned();
        }
        match self.failure {
            Failure::Rejected | Failure::ContextLength | Failure::ContentFilter => {
                format!("the request was refused: {}", self.error.kind.code())
            }
            Failure::LocalResource
            | Failure::Connect
            | Failure::ResetReused
            | Failure::DiedBeforeFirstEvent
            | Failure::FirstEventTimeout
            | Failure::Status { .. }
            | Failure::RateLimited { .. }
            | Failure::Quota { .. }
            | Failure::DoNotRetry
            | Failure::Auth
            | Failure::Cut
            | Failure::Stalled
            | Failure::Differs
            | Failure::ClientGone
            | Failure::DeadlinePassed => self.error.to_string(),
        }
    }

    /// The label under which the attempt is counted.
    pub fn outcome(&self) -> AttemptOutcome {
        match self.failure {
            Failure::LocalResource | Failure::Connect => AttemptOutcome::Connect,
            Failure::ResetReused => AttemptOutcome::Reset,
            Failure::DiedBeforeFirstEvent | Failure::Cut => AttemptOutcome::Broken,
            Failure::FirstEventTimeout | Failure::Stalled | Failure::DeadlinePassed => {
                AttemptOutcome::Timeout
            }
            Failure::Status { status: 503 | 529, .. } => AttemptOutcome::Overloaded,
            Failure::Status { .. } | Failure::DoNotRetry => AttemptOutcome::Failed,
            Failure::RateLimited { .. } | Failure::Quota { .. } => AttemptOutcome::RateLimited,
            Failure::Rejected | Failure::ContextLength | Failure::ContentFilter => {
                AttemptOutcome::Rejected
            }
            Failure::Auth => AttemptOutcome::Auth,
            Failure::Differs | Failure::ClientGone => AttemptOutcome::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Ollama;
    use crate::provider::settings::ProviderSettings;

    #[test]
    fn what_breaks_off_may_go_on_elsewhere_unless_a_filter_refused_it() {
        let settings = ProviderSettings::default().resolved();
        let provider = Provider::new("ollama", settings, &Ollama, None);
        let reported = |class| {
            DecodeError::Reported(Rejection { class, message: String::new(), retry_after: None })
        };
        for (error, failure) in [
            (DecodeError::Cut, Failure::Cut),
            (DecodeError::TooLarge, Failure::Cut),
            (reported(RejectionClass::Overloaded), Failure::Cut),
            (reported(RejectionClass::RateLimited), Failure::Cut),
            (reported(RejectionClass::ContentFilter), Failure::ContentFilter),
        ] {
            let failed = Failed::cut(&provider, error);
            assert_eq!((failed.failure, failed.error.kind), (failure, ErrorKind::BadUpstream));
        }
    }

    #[test]
    fn what_a_provider_says_of_a_request_is_not_logged_in_the_middle_of_an_answer_either() {
        let settings = ProviderSettings::default().resolved();
        let provider = Provider::new("ollama", settings, &Ollama, None);
        for (class, is_told) in [
            (RejectionClass::BadRequest, false),
            (RejectionClass::ContextTooLong, false),
            (RejectionClass::UnknownModel, false),
            (RejectionClass::ContentFilter, false),
            (RejectionClass::Overloaded, true),
        ] {
            let message = "these words".to_owned();
            let rejection = Rejection { class, message, retry_after: None };
            let failed = Failed::cut(&provider, DecodeError::Reported(rejection));
            assert_eq!(failed.logged().contains("these words"), is_told, "{class:?}");
        }
    }
}
