//! Reads the error within a carried answer.

use serde_json::Value;

use crate::backend::stream::NO_REASON;
use crate::backend::{Rejection, RejectionClass, shorten};

/// The failure that an `error` field tells, in whatever shape; `None` if it is empty.
pub(super) fn failure(error: &Value) -> Option<Rejection> {
    let words = match error {
        Value::Null | Value::Bool(false) => return None,
        Value::String(words) if words.is_empty() => return None,
        Value::String(words) => words.as_str(),
        other => other.get("message").and_then(Value::as_str).unwrap_or(NO_REASON),
    };
    let class = RejectionClass::Broken;
    Some(Rejection { class, message: shorten(words), retry_after: None })
}
