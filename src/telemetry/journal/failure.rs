//! One failure, or many of one kind, as operators may see them.

use std::sync::Arc;

use serde::Serialize;

use super::{clipped, kept};
use crate::telemetry::RequestEnded;

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// A request, as its caller was told.
    Request,
    /// A provider so often that it is left alone.
    Breaker,
    /// An actor, which was started again.
    Actor,
    /// Reading the configuration again.
    Configuration,
}

/// A failure.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// Stays the same while failures of one kind are counted together.
    pub number: u64,
    /// The journal's version at the latest change.
    #[serde(skip)]
    pub(super) version: u64,
    /// When it happened last, in milliseconds since 1970.
    pub at: u64,
    /// How often.
    pub count: u64,
    /// What failed.
    pub kind: FailureKind,
    /// The provider, where there is one.
    pub provider: Option<Arc<str>>,
    /// The latest request.
    pub request_id: Option<Arc<str>>,
    /// The name of the key.
    pub caller: Option<Arc<str>>,
    /// How the request ended.
    pub outcome: Option<&'static str>,
    /// The error's code.
    pub code: Option<&'static str>,
    /// What the log says about it.
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
            message,
        }
    }

    /// A request failed, perhaps because of `trouble` with a provider.
    pub(super) fn of_request(at: u64, ended: &RequestEnded<'_>, trouble: Option<&str>) -> Self {
        let message = ended.cause.or(trouble).unwrap_or_default();
        let provider = ended.provider.cloned();
        Self {
            request_id: Some(kept(ended.request_id)),
            caller: ended.caller.cloned(),
            outcome: Some(ended.outcome.as_str()),
            code: ended.code,
            ..Self::new(at, FailureKind::Request, provider, message)
        }
    }

    /// Whether it is the same thing happening again.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.code == other.code
            && self.provider == other.provider
            && self.caller == other.caller
            && self.message == other.message
    }
}
