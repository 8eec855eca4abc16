//! A failed attempt: its failure, the error for its caller, and what other callers may be told.
//!
//! Owns the step from a provider's rejection, or the lack of an answer, to a [`Failure`] and an
//! error. `retry.rs` decides what follows from the failure; the gate decides whose fault it is.
//!
//! The one thing to know: a provider may quote a request when it rejects it. Its words go to the
//! caller of that request; the log and other callers get them only where they cannot be a
//! quotation.

use crate::backend::{DecodeError, Rejection, RejectionClass};
use crate::chat::{Ask, ErrorKind, GatewayError};
use crate::telemetry::AttemptOutcome;

use super::Provider;
use super::fault;
use super::retry::Failure;

/// A failed attempt: its failure, and the error for the caller if nothing else helps.
#[derive(Debug)]
pub(super) struct Failed {
    pub failure: Failure,
    pub error: GatewayError,
    /// The provider's own words, if it rejected or failed with some.
    said: Option<Box<Said>>,
}

/// A provider's words when it rejected or failed.
#[derive(Debug)]
struct Said {
    words: String,
    /// Whether they are about the request and ended an answer midway: then they may quote it,
    /// whatever the failure is.
    is_about_request: bool,
}

impl Failed {
    pub fn new(failure: Failure, error: GatewayError) -> Self {
        Self { failure, error, said: None }
    }

    /// The client disconnected.
    pub fn client_gone() -> Self {
        Self::new(Failure::ClientGone, GatewayError::new(ErrorKind::Internal, "the client left"))
    }

    /// The request's deadline passed while the provider had it.
    pub fn deadline(provider: &str) -> Self {
        let message = format!("the deadline passed before provider `{provider}` answered");
        Self::new(Failure::DeadlinePassed, GatewayError::new(ErrorKind::Timeout, message))
    }

    /// The answer broke off after its first event; the reason is for the log.
    pub fn cut(provider: &Provider, error: DecodeError) -> Self {
        let mut failed = Self::undecodable(provider, Failure::Cut, error);
        let is_about_request = matches!(
            failed.failure,
            Failure::Rejected | Failure::NoModel | Failure::Forbidden | Failure::ContextLength
        );
        if let Some(said) = &mut failed.said {
            said.is_about_request = is_about_request;
        }
        // Whatever error the provider sends now, half an answer is a cut one. Only a content
        // filter's refusal is not retried elsewhere.
        if failed.failure != Failure::ContentFilter {
            failed.failure = Failure::Cut;
        }
        failed.error.kind = ErrorKind::BadUpstream;
        failed
    }

    /// No piece of the answer arrived for too long.
    pub fn stalled(provider: &str) -> Self {
        let message = format!("provider `{provider}` stalled");
        Self::new(Failure::Stalled, GatewayError::upstream(ErrorKind::Timeout, message))
    }

    /// The provider was asked to continue a partly delivered answer, and gave a different one.
    pub fn differs(provider: &str) -> Self {
        let message = format!("provider `{provider}` gave another answer");
        Self::new(Failure::Differs, GatewayError::upstream(ErrorKind::BadUpstream, message))
    }

    /// The provider rejected the request, by a status or within its answer.
    pub fn rejected(provider: &Provider, failure: Failure, rejection: Rejection) -> Self {
        let said = provider.without_key(rejection.message);
        let own = Some(&said).filter(|said| !said.starts_with("status "));
        let own = own.map(|said| Box::new(Said { words: said.clone(), is_about_request: false }));
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
            RejectionClass::UnknownModel => (Failure::NoModel, ErrorKind::ModelNotFound, said),
            RejectionClass::Forbidden => {
                (Failure::Forbidden, ErrorKind::NotAllowed, failed("does not permit this request"))
            }
            RejectionClass::NotImplemented => (Failure::Rejected, ErrorKind::NotImplemented, said),
            RejectionClass::NotBegun => {
                (Failure::NotBegun, ErrorKind::Overloaded, failed("has not begun"))
            }
            // Words about the gateway's own key must not reach callers.
            RejectionClass::Auth => (
                Failure::AuthDoubted,
                ErrorKind::BadUpstream,
                format!(
                    "provider `{provider}` does not accept the gateway's credentials, or not for \
                     this request"
                ),
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
            RejectionClass::Crashed => (Failure::Crashed, ErrorKind::BadUpstream, failed("failed")),
            RejectionClass::Timeout => (failure, ErrorKind::Timeout, failed("gave up")),
            RejectionClass::Broken => (failure, ErrorKind::BadUpstream, failed("failed")),
        };
        let mut error = GatewayError::upstream(kind, message);
        error.retry_after = retry_after;
        error.spent = kind == ErrorKind::NotImplemented
            || matches!(
                failure,
                Failure::Auth | Failure::AuthDoubted | Failure::Quota { .. } | Failure::DoNotRetry
            );
        Self { said: own, ..Self::new(failure, error) }
    }

    /// The same failure, once it is known to be the request's fault: the provider's words say what
    /// is wrong with it.
    pub fn of_request(mut self) -> Self {
        self.failure = Failure::OfRequest;
        self.error.kind = ErrorKind::InvalidRequest;
        if let Some(said) = &self.said {
            self.error.message = said.words.clone().into();
        }
        self.error.spent = true;
        self
    }

    /// The same rejection, once it is known to be about the gateway's credentials.
    pub fn of_credentials(mut self, provider: &str) -> Self {
        self.failure = Failure::Auth;
        let message = format!("provider `{provider}` does not accept the gateway's credentials");
        self.error.message = message.into();
        self
    }

    /// The same rejection, once it is known not to be about the gateway's credentials.
    pub fn forbidden(mut self, provider: &str) -> Self {
        self.failure = Failure::Forbidden;
        self.error.kind = ErrorKind::NotAllowed;
        let said = self.words().unwrap_or("it named no reason");
        let message = format!("provider `{provider}` does not permit this request: {said}");
        self.error.message = message.into();
        self
    }

    /// The provider's words, where they may tell a bad request from a failing model: 500 and
    /// similar. The words of an overloaded server, or one that cannot reach another, concern no
    /// single request.
    pub fn telling_words(&self) -> Option<&str> {
        let tells = match self.failure {
            Failure::Status { status, .. } => !matches!(status, 408 | 409 | 502..=504 | 529),
            Failure::DiedBeforeFirstEvent => true,
            Failure::LocalResource
            | Failure::Connect
            | Failure::ResetReused
            | Failure::FirstEventTimeout
            | Failure::Crashed
            | Failure::RateLimited { .. }
            | Failure::Quota { .. }
            | Failure::DoNotRetry
            | Failure::Rejected
            | Failure::OfRequest
            | Failure::NoModel
            | Failure::Forbidden
            | Failure::NotBegun
            | Failure::ContextLength
            | Failure::ContentFilter
            | Failure::Auth
            | Failure::AuthDoubted
            | Failure::Cut
            | Failure::Stalled
            | Failure::Differs
            | Failure::ClientGone
            | Failure::DeadlinePassed => false,
        };
        self.words().filter(|_| tells)
    }

    /// The cause for callers that are refused because of this failure: without the provider's words
    /// where these may quote the request.
    pub fn cause(&self, provider: &str, request: &Ask) -> String {
        let message = self.unquoted(request);
        if let Some(why) = message.strip_prefix(&format!("cannot reach provider `{provider}`: ")) {
            return why.to_owned();
        }
        match message.strip_prefix(&format!("provider `{provider}` ")) {
            Some(what) => format!("it {what}"),
            None => message.to_owned(),
        }
    }

    /// The message, without the provider's words where these may quote the request.
    fn unquoted(&self, request: &Ask) -> &str {
        let message = self.error.message.as_ref();
        match self.words() {
            Some(words) if fault::quotes(words, request) => {
                message.strip_suffix(words).map_or("failed", |rest| rest.trim_end_matches(": "))
            }
            Some(_) | None => message,
        }
    }

    /// The provider's own words, for its caller.
    pub fn words(&self) -> Option<&str> {
        self.said.as_ref().map(|said| said.words.as_str())
    }

    /// The answer could not be read.
    pub fn undecodable(provider: &Provider, failure: Failure, error: DecodeError) -> Self {
        let why = match &error {
            DecodeError::Reported(rejection) => {
                let failure = match failure {
                    // A provider that reports an error has not died: it counts as the status that
                    // it should have sent.
                    Failure::DiedBeforeFirstEvent => {
                        Failure::Status { status: 500, retry_after: None }
                    }
                    failure => failure,
                };
                return Self::rejected(provider, failure, rejection.clone());
            }
            DecodeError::Cut => "was cut off in the middle of its answer",
            // The malformed content is for the log only.
            DecodeError::Malformed(_) => "answered something that is not its API",
            DecodeError::TooLarge => "answered more at once than can be held",
        };
        let message = format!("provider `{}` {why}", provider.name);
        Self::new(failure, GatewayError::upstream(ErrorKind::BadUpstream, message).because(error))
    }

    /// The part that may be logged: nothing that may quote the request, which belongs to its
    /// caller.
    pub fn logged(&self, request: &Ask) -> String {
        if self.said.as_ref().is_some_and(|said| said.is_about_request) {
            return "the request was refused in the middle of its answer".to_owned();
        }
        match self.failure {
            Failure::Rejected
            | Failure::OfRequest
            | Failure::NoModel
            | Failure::Forbidden
            | Failure::ContextLength
            | Failure::ContentFilter => {
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
            | Failure::Crashed
            | Failure::NotBegun
            | Failure::DoNotRetry
            | Failure::Auth
            | Failure::AuthDoubted
            | Failure::Cut
            | Failure::Stalled
            | Failure::Differs
            | Failure::ClientGone
            | Failure::DeadlinePassed => {
                let mut error = self.error.clone();
                error.message = self.unquoted(request).to_owned().into();
                error.to_string()
            }
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
            Failure::NotBegun | Failure::Status { status: 503 | 529, .. } => {
                AttemptOutcome::Overloaded
            }
            Failure::Status { .. } | Failure::Crashed | Failure::DoNotRetry => {
                AttemptOutcome::Failed
            }
            Failure::RateLimited { .. } | Failure::Quota { .. } => AttemptOutcome::RateLimited,
            Failure::Rejected
            | Failure::OfRequest
            | Failure::NoModel
            | Failure::Forbidden
            | Failure::ContextLength
            | Failure::ContentFilter => AttemptOutcome::Rejected,
            Failure::Auth | Failure::AuthDoubted => AttemptOutcome::Auth,
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
    fn a_broken_answer_may_continue_elsewhere_unless_a_filter_refused_it() {
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
    fn words_about_a_request_are_not_logged_midway_through_an_answer() {
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
            let request = Ask::Chat(crate::chat::ChatRequest::default());
            assert_eq!(failed.logged(&request).contains("these words"), is_told, "{class:?}");
        }
    }
}
