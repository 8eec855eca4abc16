//! What becomes of a limit of tokens that a provider refuses.

use serde::{Deserialize, Serialize};

/// `max_tokens = "…"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitWish {
    /// It goes on as it was asked for; a refusal is the answer.
    #[default]
    Asked,
    /// It is lowered to what the provider says that fits, and asked for once more.
    Fit,
}
