//! `GET /v1/models` and `/v1/models/{id}` for OpenAI's clients.

use serde::Serialize;
use serde_json::{Value, json};

use crate::chat::Offer;

/// The list of models.
#[must_use]
pub fn some(offers: &[Offer]) -> Value {
    json!({"object": "list", "data": offers.iter().map(one).collect::<Vec<_>>()})
}

/// One model. `created` is required, so an unknown one is 0; without an owner in the provider's
/// list, the owner is the provider.
#[must_use]
pub fn one(offer: &Offer) -> Value {
    let model = offer.model.as_ref();
    let owner = model.and_then(|model| model.owner.as_deref()).unwrap_or(&offer.provider);
    let is_told = !offer.facts.has_no_known_ability();
    json!(Entry {
        id: &offer.name,
        object: "model",
        created: model.and_then(|model| model.created).unwrap_or(0),
        owned_by: owner,
        context_length: offer.facts.context,
        max_model_len: offer.facts.context,
        capabilities: is_told.then(|| offer.facts.capabilities(&offer.name)),
    })
}

/// OpenAI has only the first four fields. OpenRouter's clients read the first number, vLLM's the
/// second.
#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_model_len: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Vec<&'static str>>,
}
