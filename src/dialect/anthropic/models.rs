//! `GET /v1/models` and `/v1/models/{id}` for Anthropic's clients: the same paths as OpenAI's,
//! distinguished by the header `anthropic-version`.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::chat::Offer;

/// The list of models, always one page.
#[must_use]
pub fn some(offers: &[Offer]) -> Value {
    json!({
        "data": offers.iter().map(one).collect::<Vec<_>>(),
        "has_more": false,
        "first_id": offers.first().map(|offer| &offer.name),
        "last_id": offers.last().map(|offer| &offer.name),
    })
}

/// One model. `created_at` is required; Anthropic itself writes the start of 1970 if the time is
/// unknown.
#[must_use]
pub fn one(offer: &Offer) -> Value {
    let created = offer.model.as_ref().and_then(|model| model.created).unwrap_or(0);
    // The last second that RFC 3339 can express.
    let created = UNIX_EPOCH + Duration::from_secs(created.min(253_402_300_799));
    let mut entry = json!({
        "type": "model",
        "id": offer.name,
        "display_name": offer.name,
        "created_at": humantime::format_rfc3339_seconds(created).to_string(),
    });
    if let (Some(context), Some(fields)) = (offer.facts.context, entry.as_object_mut()) {
        fields.insert("max_input_tokens".to_owned(), json!(context));
    }
    entry
}
