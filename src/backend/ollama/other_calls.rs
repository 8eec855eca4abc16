//! The calls to Ollama other than chats: embeddings, a model's description, the lists of models.
//!
//! The one thing to know: `/api/tags` lists the installed models, and only `/api/ps` the loaded
//! ones.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::decode::Timings;
use crate::backend::document::parse;
use crate::backend::lenient::count;
use crate::backend::model_list::{entries, facts_of, first_text, number, time};
use crate::backend::{DecodeError, UpstreamRequest, bearer};
use crate::chat::{Api, EmbedRequest, Listing, Model, ShowRequest, Usage, Whole};

/// The fields of Ollama's own API that are passed on as the client sent them.
const PASSED_ON: &[&str] = &["truncate", "options", "keep_alive"];

/// Builds the call for embeddings.
pub(super) fn embed(request: &EmbedRequest, model: &str, key: Option<&str>) -> UpstreamRequest {
    let mut dropped = Vec::new();
    let mut passed = Map::new();
    if let Some(extra) = &request.extra {
        for (name, value) in &extra.fields {
            if extra.api == Api::Ollama && PASSED_ON.contains(&name.as_str()) {
                passed.insert(name.clone(), value.clone());
            } else {
                dropped.push(name.clone());
            }
        }
    }
    let body = Embed { model, input: &request.input, dimensions: request.dimensions, passed };
    UpstreamRequest::post("/api/embed", bearer(key), &body, dropped)
}

/// Builds the call for a model's description.
pub(super) fn show(request: &ShowRequest, model: &str, key: Option<&str>) -> UpstreamRequest {
    let body = Show { model, verbose: request.verbose.then_some(true) };
    UpstreamRequest::post("/api/show", bearer(key), &body, Vec::new())
}

/// Builds the call for a list of models.
pub(super) fn listing(listing: Listing, key: Option<&str>) -> UpstreamRequest {
    let path = match listing {
        Listing::Installed => "/api/tags",
        Listing::Loaded => "/api/ps",
    };
    UpstreamRequest::get(path, bearer(key))
}

/// Reads embeddings.
pub(super) fn embeddings(body: &[u8]) -> Result<(Whole, Usage), DecodeError> {
    let answer: Embedded = parse(body)?;
    let usage = Usage {
        prompt: answer.prompt_eval_count,
        durations: answer.timings.durations(),
        ..Usage::default()
    };
    Ok((Whole::Embeddings(answer.embeddings), usage))
}

/// Reads a model's description.
pub(super) fn description(body: &[u8]) -> Result<(Whole, Usage), DecodeError> {
    Ok((Whole::Document(parse(body)?), Usage::default()))
}

/// Reads a list of models and keeps each entry as it came.
pub(super) fn models(body: &[u8]) -> Result<Vec<Model>, DecodeError> {
    let model = |entry: Map<String, Value>| {
        let name = first_text(&entry, &["name", "model", "id"])?.to_owned();
        let created = time(&entry, &["modified_at", "created"]);
        // Ollama's own `/v1/models` gives the namespace as the owner: `library` for models without
        // one.
        let owner = name.rsplit_once('/').map_or("library", |(owner, _)| owner).to_owned();
        let context = number(&entry, &["/context_length", "/details/context_length"]);
        let facts = facts_of(context, entry.get("capabilities"));
        let (owner, entry) = (Some(owner), Some(entry));
        Some(Model { name, created, owner, facts, entry, ..Model::default() })
    };
    Ok(entries(body, &["models", "data"])?.into_iter().filter_map(model).collect())
}

#[derive(Serialize)]
struct Embed<'a> {
    model: &'a str,
    input: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
    #[serde(flatten)]
    passed: Map<String, Value>,
}

#[derive(Serialize)]
struct Show<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbose: Option<bool>,
}

#[derive(Deserialize)]
struct Embedded {
    embeddings: Vec<Vec<f32>>,
    #[serde(default, deserialize_with = "count")]
    prompt_eval_count: Option<u64>,
    #[serde(flatten)]
    timings: Timings,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn embeddings_are_requested_and_read() {
        let fields = json!({"truncate": false, "user": "u"});
        let fields = fields.as_object().unwrap().clone();
        let extra = crate::chat::Extra { api: Api::Ollama, fields };
        let request = EmbedRequest {
            input: vec!["a".into(), "b".into()],
            dimensions: Some(8),
            extra: Some(extra),
            ..EmbedRequest::default()
        };
        let call = embed(&request, "m", Some("k"));
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        let expected =
            json!({"model": "m", "input": ["a", "b"], "dimensions": 8, "truncate": false});
        assert_eq!(body, expected);
        assert_eq!((call.path.as_str(), call.dropped), ("/api/embed", vec!["user".to_owned()]));
        assert_eq!(call.headers, [("authorization", "Bearer k".to_owned())]);
        let golden = include_bytes!("../../../tests/fixtures/dialect/ollama/embed.json");
        let (result, usage) = embeddings(golden).unwrap();
        assert_eq!(result, Whole::Embeddings(vec![vec![0.5, -0.25, 0.125]]));
        assert_eq!(usage.prompt, Some(2));
    }

    #[test]
    fn lists_keep_each_entry_as_it_came() {
        let golden = include_bytes!("../../../tests/fixtures/dialect/ollama/tags.json");
        let models = models(golden).unwrap();
        assert_eq!(models[0].name, "tiny-chat:1b");
        assert_eq!(models[0].created, Some(1_793_520_000));
        assert_eq!(models[0].owner.as_deref(), Some("library"));
        let golden: Value = serde_json::from_slice(golden).unwrap();
        assert_eq!(json!(models[0].entry), golden["models"][0]);
        assert!(super::models(br#"{"models": null}"#).unwrap().is_empty());
        assert!(super::models(b"<html>").is_err());
    }
}
