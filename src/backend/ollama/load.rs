//! Loading a model, and what is known of the process that runs it.
//!
//! The one thing to know: a model is loaded by a call that asks for nothing. Ollama refuses such a
//! prompt for a model that only makes embeddings, and such an embedding for a model that makes
//! none.

use serde::Serialize;
use serde_json::Value;

use crate::backend::bearer;
use crate::backend::{Load, ModelRunner, UpstreamRequest};
use crate::chat::{Ability, LoadBy, Model};
use crate::wire::json;

/// Families whose models run one call at a time, whatever `OLLAMA_NUM_PARALLEL` is
/// (`server/sched.go`).
const ONE_AT_A_TIME: [&str; 12] = [
    "mllama",
    "qwen3vl",
    "qwen3vlmoe",
    "qwen35",
    "qwen35moe",
    "qwen3next",
    "lfm2",
    "lfm2moe",
    "nemotron_h",
    "nemotron_h_moe",
    "nemotron_h_omni",
    "nemotron_h_nano_omni",
];

/// A model that makes embeddings runs one call, and a second one stands ready.
const EMBEDDING_SLOTS: u32 = 2;

/// The call that loads a model, or gives a loaded one another time to stay.
pub(super) fn call(load: Load<'_>) -> UpstreamRequest {
    let Load { model, by, api_key, keep_alive } = load;
    let (path, input, stream) = match by {
        LoadBy::Prompt => ("/api/generate", None, Some(false)),
        LoadBy::Embedding => ("/api/embed", Some([].as_slice()), None),
    };
    let body = json::to_vec(&Body { model, input, stream, keep_alive });
    let dropped = Vec::new();
    UpstreamRequest { path: path.to_owned(), headers: bearer(api_key), body, dropped }
}

/// What the list says about the process that runs a model; `None` for one that runs elsewhere.
pub(super) fn runner(model: &Model) -> Option<ModelRunner> {
    let entry = model.entry.as_ref();
    let of_entry = |name: &str| entry.and_then(|entry| text(entry.get(name)));
    if of_entry("remote_model").or(of_entry("remote_host")).is_some() {
        return None;
    }
    let details = entry.and_then(|entry| entry.get("details"));
    let family = text(details.and_then(|details| details.get("family"))).unwrap_or_default();
    let embeds = match (model.facts.can(Ability::Embedding), model.facts.can(Ability::Completion)) {
        (Some(embeds), completes) => embeds && completes != Some(true),
        (None, _) => family.ends_with("bert"),
    };
    let (by, slots) = if embeds {
        (LoadBy::Embedding, Some(EMBEDDING_SLOTS))
    } else {
        (LoadBy::Prompt, ONE_AT_A_TIME.contains(&family).then_some(1))
    };
    Some(ModelRunner { by, slots })
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a [&'a str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<&'a Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::backend::ollama::other_calls::models;

    fn listed(entry: &Value) -> Option<ModelRunner> {
        let body = json!({ "models": [entry] }).to_string();
        runner(&models(body.as_bytes()).unwrap()[0])
    }

    #[test]
    fn a_load_asks_for_nothing() {
        let body = |by, keep_alive| {
            let call = call(Load { model: "m", by, api_key: None, keep_alive });
            (call.path, serde_json::from_slice::<Value>(&call.body).unwrap())
        };
        let prompt = json!({"model": "m", "stream": false});
        assert_eq!(body(LoadBy::Prompt, None), ("/api/generate".to_owned(), prompt));
        let short = json!("10s");
        let embedding = json!({"model": "m", "input": [], "keep_alive": "10s"});
        assert_eq!(body(LoadBy::Embedding, Some(&short)), ("/api/embed".to_owned(), embedding));
    }

    #[test]
    fn a_model_that_runs_elsewhere_has_no_runner() {
        assert!(listed(&json!({"name": "a:latest", "digest": "d"})).is_some());
        let remote = json!({"name": "c:120b-cloud", "digest": "d", "remote_model": "c:120b"});
        assert_eq!(listed(&remote), None);
    }

    #[test]
    fn some_families_run_one_call_and_embeddings_two() {
        let of = |family: &str, capabilities: Value| {
            let entry = json!({"name": "m", "details": {"family": family},
                "capabilities": capabilities});
            let runner = listed(&entry).unwrap();
            (runner.by, runner.slots)
        };
        assert_eq!(of("llama", Value::Null), (LoadBy::Prompt, None));
        assert_eq!(of("qwen35", json!(["completion"])), (LoadBy::Prompt, Some(1)));
        assert_eq!(of("nomic-bert", Value::Null), (LoadBy::Embedding, Some(2)));
        assert_eq!(of("qwen3", json!(["embedding"])), (LoadBy::Embedding, Some(2)));
        assert_eq!(of("llama", json!(["completion", "embedding"])), (LoadBy::Prompt, None));
    }
}
