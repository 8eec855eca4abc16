//! What decides about the order of requests for different models.

use serde::{Deserialize, Serialize};

/// `scheduling = "…"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduling {
    /// What the server has loaded: a model is loaded when that is worth it, by the gateway itself.
    Warm,
    /// The line alone. The server loads whatever the next request asks for.
    Fair,
}
