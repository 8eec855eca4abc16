//! The fields that only the client's own API has.

use serde_json::Value;

use crate::chat::{Api, ChatRequest, Extra, GatewayError};

/// Separates the fields that only the client's own API has: returns all of them if the provider
/// speaks `api`.
///
/// # Errors
///
/// `InvalidRequest` naming a field that the provider does not have and that would change the
/// result.
pub(super) fn foreign_fields<'a>(
    request: &'a ChatRequest,
    api: Api,
    dropped: &mut Vec<String>,
) -> Result<Vec<(&'a str, &'a Value)>, GatewayError> {
    dropped.extend(request.dropped.iter().cloned());
    own_fields(request.extra.as_ref(), api, dropped)
}

/// As [`foreign_fields`], for any request.
pub(super) fn own_fields<'a>(
    extra: Option<&'a Extra>,
    api: Api,
    dropped: &mut Vec<String>,
) -> Result<Vec<(&'a str, &'a Value)>, GatewayError> {
    /// These fields decide about the shape or the content of the answer rather than tune it.
    const DECISIVE: &[&str] = &["logit_bias", "modalities", "audio", "cachedContent"];
    let Some(extra) = extra else { return Ok(Vec::new()) };
    if extra.api == api {
        return Ok(extra.fields.iter().map(|(name, value)| (name.as_str(), value)).collect());
    }
    for (name, value) in &extra.fields {
        let is_default = match value {
            Value::Null => true,
            Value::Object(fields) => fields.is_empty() && name == "logit_bias",
            Value::Array(items) => items.iter().all(|item| item == "text"),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        if DECISIVE.contains(&name.as_str()) && !is_default {
            return Err(GatewayError::invalid(format!(
                "{name}: this provider has nothing like it, leave it out"
            )));
        }
        dropped.push(name.clone());
    }
    Ok(Vec::new())
}
