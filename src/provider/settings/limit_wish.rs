//! What happens to a token limit that a provider rejects.

use serde::{Deserialize, Serialize};

/// `max_tokens = "…"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitWish {
    /// It is sent as it was asked for; a rejection is the answer.
    #[default]
    Asked,
    /// It is lowered to what the provider says will fit, and sent once more.
    Fit,
}
