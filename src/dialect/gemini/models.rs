//! `GET /v1beta/models` and `/v1beta/models/{model}` for Google's clients.

use serde_json::{Value, json};

use crate::chat::{Ability, Offer};

/// The list of models, always one page.
#[must_use]
pub fn some(offers: &[Offer]) -> Value {
    json!({"models": offers.iter().map(one).collect::<Vec<_>>()})
}

/// One model, with its known or likely methods.
#[must_use]
pub fn one(offer: &Offer) -> Value {
    let words = offer.facts.capabilities(&offer.name);
    let mut methods = Vec::new();
    if words.contains(&Ability::Completion.word()) {
        methods.extend(["generateContent", "streamGenerateContent", "countTokens"]);
    }
    if words.contains(&Ability::Embedding.word()) {
        methods.extend(["embedContent", "batchEmbedContents"]);
    }
    let mut entry = json!({
        "name": format!("models/{}", offer.name),
        "baseModelId": offer.name,
        "displayName": offer.name,
        "supportedGenerationMethods": methods,
    });
    if let Some(fields) = entry.as_object_mut() {
        if let Some(context) = offer.facts.context {
            fields.insert("inputTokenLimit".to_owned(), json!(context));
        }
        if let Some(thinks) = offer.facts.can(Ability::Thinking) {
            fields.insert("thinking".to_owned(), json!(thinks));
        }
    }
    entry
}
