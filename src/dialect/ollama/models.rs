//! `/api/tags`, `/api/ps` and `/api/version`, as Ollama's clients read them.
//!
//! The one thing to know: a model of another kind of provider gets an entry that looks like one of Ollama's, because
//! clients insist on the fields; its size is 0 and its digest is that of its name.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::chat::{Model, Offer};

/// The version of Ollama whose API is spoken. Editors ask for it and refuse one that is too old.
pub const VERSION: &str = "0.33.0";

/// What can be asked for.
#[must_use]
pub fn installed(offers: &[Offer]) -> Value {
    json!({"models": offers.iter().map(entry).collect::<Vec<_>>()})
}

/// What is in memory: the entries of Ollama providers, as they are.
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
        model => {
            let created = model.as_ref().and_then(|model| model.created).unwrap_or(0);
            // The last second that RFC 3339 can write.
            let modified = UNIX_EPOCH + Duration::from_secs(created.min(253_402_300_799));
            let digest = Sha256::digest(format!("{}/{}", offer.provider, offer.name));
            json!({
                "name": offer.name,
                "model": offer.name,
                "modified_at": humantime::format_rfc3339_seconds(modified).to_string(),
                "size": 0,
                "digest": format!("{digest:x}"),
                "details": {
                    "parent_model": "", "format": "", "family": &*offer.provider,
                    "families": null, "parameter_size": "", "quantization_level": "",
                },
            })
        }
    }
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
        };
        assert_eq!(installed(&[offer(&name, &model)])["models"][0], golden["models"][0]);
        assert_eq!(installed(&[offer("alias", &model)])["models"][0]["model"], "alias");
        let foreign = Model { entry: None, ..model.clone() };
        let made_up = installed(&[offer("other", &foreign)]);
        for key in ["name", "model", "modified_at", "size", "digest", "details"] {
            assert!(made_up["models"][0].get(key).is_some(), "{key}");
        }
        assert_eq!(loaded(&[offer("other", &foreign)]), json!({"models": []}));
    }
}
