//! Why a model is loaded next, and why then: the rule's own reasons, for operators.
//!
//! The one thing to know: a reason is given where the time is decided. Nothing else may explain the
//! rule.

use serde::Serialize;

/// What decides when a model may be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It fits beside the models that are loaded.
    Fits,
    /// Whether it fits is unknown, and tried once.
    Untried,
    /// It is loaded with other options than it is to have.
    Reload,
    /// Calls for it stand in the server's own line already.
    Stray,
    /// Its last load failed or was not begun, and the pause after that has to pass.
    Paused,
    /// The model that leaves has served no request since it was loaded.
    Unused,
    /// The model that leaves is idle for long enough.
    Idle,
    /// Only batch work waits, and people have used the model that leaves: it has to be quiet for
    /// longer.
    Quiet,
    /// Only batch work waits for the model that leaves.
    Batch,
    /// It is waited for as long as is worth both loads, and its callers have had no more than those
    /// of the model that leaves.
    Turn,
    /// Requests that came before the model that leaves was loaded are served first, unless this one
    /// has waited for as long as any may.
    Promised,
    /// Its callers have had more than those of the model that leaves, who are served first, unless
    /// it has waited for as long as any may.
    HadMore,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_word() {
        assert_eq!(serde_json::to_value(Why::HadMore).unwrap(), "had_more");
    }
}
