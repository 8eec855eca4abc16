//! `GET /v1/models` and `/v1/models/{id}`, as OpenAI's clients read them.

use serde_json::{Value, json};

use crate::chat::Offer;

/// The list of models.
#[must_use]
pub fn some(offers: &[Offer]) -> Value {
    json!({"object": "list", "data": offers.iter().map(one).collect::<Vec<_>>()})
}

/// One model. `created` is required, so unknown is 0 here; the owner is the provider where it names none.
#[must_use]
pub fn one(offer: &Offer) -> Value {
    let model = offer.model.as_ref();
    let owner = model.and_then(|model| model.owner.as_deref()).unwrap_or(&offer.provider);
    json!({
        "id": offer.name,
        "object": "model",
        "created": model.and_then(|model| model.created).unwrap_or(0),
        "owned_by": owner,
    })
}
