//! How long a provider is waited for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `timeouts = { … }`: each more than 0, and none longer than `total`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Name lookup, TCP and TLS together. Default 5 s, or `total` when that is shorter.
    #[serde(with = "crate::units::duration")]
    pub connect: Duration,
    /// From the request sent to the first event of the answer. Default 300 s for a local provider,
    /// which may have to load the model first, and 60 s for a cloud one.
    #[serde(with = "crate::units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub first_event: Option<Duration>,
    /// From the start of the call to all of an answer that is passed on as it comes and not
    /// streamed, which says nothing before its end. Default five times `first_event`.
    #[serde(with = "crate::units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub whole: Option<Duration>,
    /// Between two events of an answer. Default 120 s for a local provider, 60 s for a cloud one.
    #[serde(with = "crate::units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// The whole request, from its arrival, waiting included. Default 600 s, the official OpenAI
    /// client's own limit.
    #[serde(with = "crate::units::duration")]
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_event: None,
            whole: None,
            idle: None,
            total: Duration::from_secs(600),
        }
    }
}
