//! A failure, or several of one kind, for operators.

use std::sync::Arc;

use serde::Serialize;

use super::{clipped, kept};
use crate::chat::Reason;
use crate::telemetry::RequestEnded;

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// A request, with the error that its caller got.
    Request,
    /// A provider's breaker, which opened.
    Breaker,
    /// An actor, which was restarted.
    Actor,
    /// A reload of the configuration.
    Configuration,
}

/// A failure.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// Identifies failures that are counted together.
    pub number: u64,
    /// The journal's version at the latest change.
    #[serde(skip)]
    pub(super) version: u64,
    /// When it last happened, in milliseconds since 1970.
    pub at: u64,
    /// How often.
    pub count: u64,
    /// What failed.
    pub kind: FailureKind,
    /// The provider, if there is one.
    pub provider: Option<Arc<str>>,
    /// The latest request.
    pub request_id: Option<Arc<str>>,
    /// The name of the key.
    pub caller: Option<Arc<str>>,
    /// How the request ended.
    pub outcome: Option<&'static str>,
    /// The error's code.
    pub code: Option<&'static str>,
    /// The reason, if the request was turned away.
    pub reason: Option<Reason>,
    /// The message in the log.
    pub message: Option<Box<str>>,
}

impl Failure {
    pub(super) fn new(
        at: u64,
        kind: FailureKind,
        provider: Option<Arc<str>>,
        message: &str,
    ) -> Self {
        let message = (!message.is_empty()).then(|| Box::from(clipped(message)));
        Self {
            number: 0,
            version: 0,
            at,
            count: 1,
            kind,
            provider,
            request_id: None,
            caller: None,
            outcome: None,
            code: None,
            reason: None,
            message,
        }
    }

    /// The failure of a request; `last_error` is the latest error of a provider.
    pub(super) fn of_request(at: u64, ended: &RequestEnded<'_>, last_error: Option<&str>) -> Self {
        let message = ended.cause.or(last_error).unwrap_or_default();
        let provider = ended.provider.cloned();
        Self {
            request_id: Some(kept(ended.request_id)),
            caller: ended.caller.cloned(),
            outcome: Some(ended.outcome.as_str()),
            code: ended.code,
            reason: ended.reason,
            ..Self::new(at, FailureKind::Request, provider, message)
        }
    }

    /// Whether both are the same failure at different times.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.code == other.code
            && self.reason == other.reason
            && self.provider == other.provider
            && self.caller == other.caller
            && self.message == other.message
    }
}
