//! Why a request failed: one closed list of kinds, one table of statuses.
//!
//! Every failure of a request ends in a [`GatewayError`]. Its message is for the caller and says
//! what would be right; its cause is for the log. It never holds a provider's address, a key, or
//! unbounded foreign text.
//!
//! The one thing to know: a kind fixes the native status and `code`. Vendors' dialects may choose
//! another status for a kind (Anthropic answers 529 for overload), never another meaning.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::reason::{EdgeReason, Reason, RefusalReason};

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The body is malformed, or asks for something that cannot be done.
    InvalidRequest,
    /// The body is JSON, but does not fit the schema.
    SchemaMismatch,
    /// The prompt does not fit the model.
    ContextTooLong,
    /// The caller's key is missing, unknown or revoked.
    InvalidApiKey,
    /// The caller may not use that model or provider.
    NotAllowed,
    /// No route knows the model, or its provider does not.
    ModelNotFound,
    /// There is no such path.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// The client asks for a protocol other than HTTP/1.1.
    UpgradeRequired,
    /// The provider does not implement what the request asks for.
    NotImplemented,
    /// The caller's own limit, or the provider's 429 once retries are used up.
    RateLimited,
    /// The provider's account has no quota left.
    QuotaExhausted,
    /// The provider sent an invalid answer, broke off, or rejected the gateway.
    BadUpstream,
    /// The line is full or too slow.
    Overloaded,
    /// The provider is known to be broken, or reports that it is busy.
    ProviderUnavailable,
    /// The gateway is stopping.
    Draining,
    /// The data policy allows no provider.
    NoProviderForPolicy,
    /// The deadline passed.
    Timeout,
    /// A defect of the gateway.
    Internal,
}

impl ErrorKind {
    /// The HTTP status of the native dialect.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::ContextTooLong => 400,
            Self::InvalidApiKey => 401,
            Self::NotAllowed => 403,
            Self::ModelNotFound | Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::SchemaMismatch => 422,
            Self::UpgradeRequired => 426,
            Self::RateLimited | Self::QuotaExhausted => 429,
            Self::Internal => 500,
            Self::NotImplemented => 501,
            Self::BadUpstream => 502,
            Self::Overloaded
            | Self::ProviderUnavailable
            | Self::Draining
            | Self::NoProviderForPolicy => 503,
            Self::Timeout => 504,
        }
    }

    /// The machine-readable name in error bodies.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::SchemaMismatch => "invalid_request",
            Self::ContextTooLong => "context_length_exceeded",
            Self::InvalidApiKey => "invalid_api_key",
            Self::NotAllowed => "not_allowed",
            Self::ModelNotFound => "model_not_found",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UpgradeRequired => "upgrade_required",
            Self::NotImplemented => "not_implemented",
            Self::RateLimited => "rate_limited",
            Self::QuotaExhausted => "quota_exhausted",
            Self::BadUpstream => "bad_upstream",
            Self::Overloaded => "overloaded",
            Self::ProviderUnavailable => "provider_unavailable",
            Self::Draining => "draining",
            Self::NoProviderForPolicy => "no_provider_for_policy",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }
}

/// Which side caused a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The client's request.
    Client,
    /// The gateway's own decision.
    Gateway,
    /// The provider.
    Provider,
}

/// One field that does not fit the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The path to the field: names and indexes as text, for example `["messages", "0", "role"]`.
    pub path: Vec<String>,
    /// What would be right.
    pub message: String,
    /// A stable name of the rule, for example `missing` or `greater_than`.
    pub rule: &'static str,
}

/// Why a request failed, for the caller and for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// For the caller: lower case, says what would be right.
    pub message: Cow<'static, str>,
    /// Which side caused it.
    pub origin: Origin,
    /// When to retry. Every 429 and 503 has it; `http` fills in one second if nothing better is
    /// known.
    pub retry_after: Option<Duration>,
    /// Whether a retry now is useless, because the gateway already retried or it can never succeed.
    pub spent: bool,
    /// The fields that do not fit, if that is the failure.
    pub problems: Vec<FieldProblem>,
    /// The reason, if the gateway turned the request away.
    pub reason: Option<Reason>,
    /// For the log only.
    pub cause: Option<Box<str>>,
}

impl GatewayError {
    /// A failure of this kind, with the gateway as its origin.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            origin: Origin::Gateway,
            retry_after: None,
            spent: false,
            problems: Vec::new(),
            reason: None,
            cause: None,
        }
    }

    /// A request that cannot be served as it is.
    #[must_use]
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message).from(Origin::Client)
    }

    /// A failure of the provider.
    #[must_use]
    pub fn upstream(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(kind, message).from(Origin::Provider)
    }

    /// The data policy leaves no provider.
    #[must_use]
    pub fn no_provider_for_policy() -> Self {
        let message = "no provider that the data policy allows serves this request";
        Self::new(ErrorKind::NoProviderForPolicy, message)
            .turned_away(EdgeReason::NoProviderForPolicy)
    }

    /// An actor's mailbox is full.
    #[must_use]
    pub fn mailbox_full() -> Self {
        let message = "the gateway has more requests than it can take in";
        Self::new(ErrorKind::Overloaded, message).turned_away(EdgeReason::MailboxFull)
    }

    /// A defect of the gateway; the cause is for the log.
    #[must_use]
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Internal, "internal error").because(cause)
    }

    /// Sets which side caused it.
    #[must_use]
    pub fn from(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Sets when to retry.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Marks a retry by the caller as useless now.
    #[must_use]
    pub fn spent(mut self) -> Self {
        self.spent = true;
        self
    }

    /// Sets the reason of a gate's refusal.
    #[must_use]
    pub fn refused_as(mut self, reason: RefusalReason) -> Self {
        self.reason = Some(Reason::Gate(reason));
        self
    }

    /// Sets why the request came to no gate.
    #[must_use]
    pub fn turned_away(mut self, reason: EdgeReason) -> Self {
        self.reason = Some(Reason::Edge(reason));
        self
    }

    /// Sets the cause, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string().into_boxed_str());
        self
    }
}

impl GatewayError {
    /// What the log says of it: the reason in one word, if there is one, and the cause.
    #[must_use]
    pub fn logged_cause(&self) -> Option<Cow<'_, str>> {
        let cause = self.cause.as_deref().map(Cow::Borrowed);
        match (self.reason.map(Reason::as_str), cause) {
            (Some(reason), Some(cause)) => Some(format!("{reason}: {cause}").into()),
            (Some(reason), None) => Some(reason.into()),
            (None, cause) => cause,
        }
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind.code(), self.message)?;
        match &self.cause {
            Some(cause) => write!(formatter, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for GatewayError {}
