//! How requests end: a closed set of labels, exactly one for each request.
//!
//! It owns the mapping from kinds of failure to outcomes. Refusals because of load are one outcome,
//! but never mixed with those because of a broken provider.

use crate::chat::ErrorKind;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered completely.
    Ok,
    /// An error of the client.
    ClientError,
    /// The caller's limit, or the provider's.
    RateLimited,
    /// Refused because of load.
    Overloaded,
    /// Refused because the provider is broken or is being drained, the gateway is stopping, or none
    /// may serve it.
    Unavailable,
    /// The deadline passed.
    Timeout,
    /// The provider or the gateway failed.
    UpstreamError,
    /// The client disconnected.
    Cancelled,
}

impl Outcome {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::ClientError,
        Self::RateLimited,
        Self::Overloaded,
        Self::Unavailable,
        Self::Timeout,
        Self::UpstreamError,
        Self::Cancelled,
    ];

    /// Whether it failed for another reason than the client's error.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::Unavailable
            | Self::Timeout
            | Self::UpstreamError => true,
            Self::Ok | Self::ClientError | Self::Cancelled => false,
        }
    }

    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::UpstreamError => "upstream_error",
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<ErrorKind> for Outcome {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidRequest
            | ErrorKind::SchemaMismatch
            | ErrorKind::ContextTooLong
            | ErrorKind::InvalidApiKey
            | ErrorKind::NotAllowed
            | ErrorKind::ModelNotFound
            | ErrorKind::NotFound
            | ErrorKind::MethodNotAllowed
            | ErrorKind::BodyTooLarge
            | ErrorKind::BodyTimeout
            | ErrorKind::UnsupportedMediaType
            | ErrorKind::UpgradeRequired
            | ErrorKind::NotImplemented => Self::ClientError,
            ErrorKind::RateLimited | ErrorKind::QuotaExhausted => Self::RateLimited,
            ErrorKind::Overloaded => Self::Overloaded,
            ErrorKind::ProviderUnavailable
            | ErrorKind::Draining
            | ErrorKind::NoProviderForPolicy => Self::Unavailable,
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::BadUpstream | ErrorKind::Internal => Self::UpstreamError,
        }
    }
}
