//! `/api/tags`, `/api/ps`, `/api/version`, and `/api/show` for models of other providers, in the
//! form of Ollama's API.
//!
//! The one thing to know: a model of another kind of provider gets an entry in Ollama's form,
//! because clients require its fields; its size is 0 and its digest is that of its name.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::chat::{Model, Offer};

/// The Ollama version whose API is implemented. Editors request it and refuse one that is too old.
pub const VERSION: &str = "0.33.0";

/// The models that can be requested.
#[must_use]
pub fn installed(offers: &[Offer]) -> Value {
    json!({"models": offers.iter().map(entry).collect::<Vec<_>>()})
}

/// The models in memory: the entries of Ollama providers, unchanged.
#[must_use]
pub fn loaded(offers: &[Offer]) -> Value {
    let entry = |offer: &Offer| {
        let own = offer.model.as_ref().and_then(|model| model.entry.as_ref())?;
        Some(renamed(own, &offer.name))
    };
    json!({"models": offers.iter().filter_map(entry).collect::<Vec<_>>()})
}

fn entry(offer: &Offer) -> Value {
    match &offer.model {
        Some(Model { entry: Some(own), .. }) => renamed(own, &offer.name),
        _ => {
            let digest = Sha256::digest(format!("{}/{}", offer.provider, offer.name));
            json!({
                "name": offer.name,
                "model": offer.name,
                "modified_at": modified_at(offer),
                "size": 0,
                "digest": format!("{digest:x}"),
                "details": details(offer),
                "capabilities": offer.facts.capabilities(&offer.name),
            })
        }
    }
}

fn modified_at(offer: &Offer) -> String {
    let created = offer.model.as_ref().and_then(|model| model.created).unwrap_or(0);
    // The last second that RFC 3339 can express.
    let modified = UNIX_EPOCH + Duration::from_secs(created.min(253_402_300_799));
    humantime::format_rfc3339_seconds(modified).to_string()
}

fn details(offer: &Offer) -> Value {
    let mut details = json!({
        "parent_model": "", "format": "", "family": &*offer.provider,
        "families": null, "parameter_size": "", "quantization_level": "",
    });
    if let (Some(context), Some(fields)) = (offer.facts.context, details.as_object_mut()) {
        fields.insert("context_length".to_owned(), json!(context));
    }
    details
}

/// The facts about a model of another kind of provider. Editors hide a model without them, and take
/// its context length from the field with the name of its architecture.
#[must_use]
pub fn described(offer: &Offer) -> Value {
    let architecture = &*offer.provider;
    let mut about = Map::new();
    about.insert("general.architecture".to_owned(), json!(architecture));
    about.insert("general.basename".to_owned(), json!(offer.name));
    if let Some(context) = offer.facts.context {
        about.insert(format!("{architecture}.context_length"), json!(context));
    }
    json!({
        "modelfile": "", "parameters": "", "template": "", "license": "",
        "details": details(offer),
        "model_info": about,
        "capabilities": offer.facts.capabilities(&offer.name),
        "modified_at": modified_at(offer),
    })
}

fn renamed(own: &Map<String, Value>, name: &str) -> Value {
    let mut entry = own.clone();
    for key in ["name", "model"] {
        entry.insert(key.to_owned(), json!(name));
    }
    Value::Object(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Facts;

    #[test]
    fn an_entry_of_ollama_keeps_everything_but_its_name() {
        let golden = include_str!("../../../tests/fixtures/dialect/ollama/tags.json");
        let golden: Value = serde_json::from_str(golden).unwrap();
        let own = golden["models"][0].as_object().unwrap().clone();
        let model = Model { name: "x".into(), entry: Some(own), ..Model::default() };
        let name = golden["models"][0]["name"].as_str().unwrap().to_owned();
        let offer = |name: &str, model: &Model| Offer {
            name: name.to_owned(),
            provider: "ollama".into(),
            model: Some(model.clone()),
            facts: Facts::taking(Some(8192)),
        };
        assert_eq!(installed(&[offer(&name, &model)])["models"][0], golden["models"][0]);
        assert_eq!(installed(&[offer("alias", &model)])["models"][0]["model"], "alias");
        let foreign = Model { entry: None, ..model.clone() };
        let made_up = installed(&[offer("other", &foreign)]);
        for key in ["name", "model", "modified_at", "size", "digest", "details"] {
            assert!(made_up["models"][0].get(key).is_some(), "{key}");
        }
        assert_eq!(made_up["models"][0]["details"]["context_length"], 8192);
        assert_eq!(loaded(&[offer("other", &foreign)]), json!({"models": []}));
        let shown = described(&offer("other", &foreign));
        assert_eq!(shown["model_info"]["general.architecture"], "ollama");
        assert_eq!(shown["model_info"]["ollama.context_length"], 8192);
        assert_eq!(shown["capabilities"], json!(["completion", "tools"]));
        assert_eq!(described(&offer("bge-embed", &foreign))["capabilities"], json!(["embedding"]));
    }
}
