//! The calls to OpenAI and its imitators other than chats: embeddings and the list of models.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::usage;
use crate::backend::document::parse;
use crate::backend::lenient::{count, optional};
use crate::backend::model_list::{entries, facts_of, first_text, has_word, number, time};
use crate::backend::swapper;
use crate::backend::{DecodeError, UpstreamRequest, bearer, own_fields, refuse_no_input};
use crate::chat::{Ability, Api, EmbedRequest, Facts, GatewayError, Model, Usage, Whole};

/// Builds the call for embeddings.
pub(super) fn embed(
    request: &EmbedRequest,
    model: &str,
    key: Option<&str>,
) -> Result<UpstreamRequest, GatewayError> {
    refuse_no_input(request)?;
    let mut dropped = Vec::new();
    let passed = own_fields(request.extra.as_ref(), Api::OpenAi, &mut dropped)?;
    let passed = passed.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let (input, dimensions) = (&request.input, request.dimensions);
    let body = Embed { model, input, encoding_format: "float", dimensions, passed };
    Ok(UpstreamRequest::post("/embeddings", bearer(key), &body, dropped))
}

/// Builds the call for the list of models.
pub(super) fn listing(key: Option<&str>) -> UpstreamRequest {
    UpstreamRequest::get("/models", bearer(key))
}

/// Reads embeddings, which may come in any order.
pub(super) fn embeddings(body: &[u8]) -> Result<(Whole, Usage), DecodeError> {
    let mut answer: Embedded = parse(body)?;
    // The sort is stable: entries without an index keep their order.
    answer.data.sort_by_key(|entry| entry.index);
    let vectors = answer.data.into_iter().map(|entry| entry.embedding.into_numbers());
    let vectors = vectors.collect::<Result<_, _>>()?;
    let prompt = answer.usage.and_then(|counts| usage::read(&counts).prompt);
    Ok((Whole::Embeddings(vectors), Usage { prompt, ..Usage::default() }))
}

/// Where servers write the context length of a model: vLLM and SGLang, llama.cpp (as started, as
/// trained), OpenRouter, LM Studio, Mistral, Groq.
const CONTEXT: &[&str] = &[
    "/max_model_len",
    "/meta/n_ctx",
    "/meta/n_ctx_train",
    "/context_length",
    "/loaded_context_length",
    "/max_context_length",
    "/context_window",
    "/top_provider/context_length",
];

/// Reads the facts about a model from its entry in the list: OpenRouter's modalities and
/// parameters, Mistral's table of capabilities, the lists of LM Studio, llama.cpp and Ollama, and
/// LM Studio's types.
fn facts(entry: &Map<String, Value>) -> Facts {
    let own = entry.get("capabilities");
    let listed = |word: &str| has_word(own, word).filter(|has| *has);
    let told = |name: &str| own.and_then(|own| own.get(name)).and_then(Value::as_bool);
    let takes = |kind: &str| {
        let shape = entry.get("architecture").and_then(|shape| shape.get("input_modalities"));
        has_word(shape, kind)
    };
    let tuned = |word: &str| has_word(entry.get("supported_parameters"), word);
    let kind = entry.get("type").and_then(Value::as_str);
    let sees = match kind {
        Some("vlm") => Some(true),
        Some("llm") => Some(false),
        Some(_) | None => None,
    };
    let embeds = kind.map(|kind| kind.starts_with("embedding")).filter(|embeds| *embeds);
    let context = number(entry, CONTEXT);
    if listed("tools").is_some() || listed("embedding").is_some() {
        return facts_of(context, own);
    }
    Facts::taking(context)
        .with(Ability::Vision, takes("image").or(told("vision")).or(listed("vision")))
        .with(Ability::Vision, listed("multimodal").or(sees))
        .with(Ability::Tools, tuned("tools").or(told("function_calling")).or(listed("tool_use")))
        .with(Ability::Thinking, tuned("reasoning").or(told("reasoning")))
        .with(Ability::Completion, told("completion_chat"))
        .with(Ability::Audio, takes("audio").or(told("audio")))
        .with(Ability::Insert, told("completion_fim"))
        .with(Ability::Embedding, embeds)
}

/// Reads the list of models.
pub(super) fn models(body: &[u8]) -> Result<Vec<Model>, DecodeError> {
    let model = |entry: Map<String, Value>| {
        Some(Model {
            name: first_text(&entry, &["id", "name", "model"])?.to_owned(),
            created: time(&entry, &["created", "created_at"]),
            owner: first_text(&entry, &["owned_by", "organization"]).map(ToOwned::to_owned),
            facts: facts(&entry),
            entry: None,
            aliases: swapper::aliases(&entry),
            memory: swapper::memory(&entry),
        })
    };
    Ok(entries(body, &["data", "models"])?.into_iter().filter_map(model).collect())
}

#[derive(Serialize)]
struct Embed<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
    #[serde(flatten)]
    passed: Map<String, Value>,
}

#[derive(Deserialize)]
struct Embedded {
    data: Vec<EmbeddedEntry>,
    #[serde(default, deserialize_with = "optional")]
    usage: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct EmbeddedEntry {
    #[serde(default, deserialize_with = "count")]
    index: Option<u64>,
    embedding: Vector,
}

/// The gateway asks for numbers; some servers send base64 all the same, because OpenAI's own
/// clients ask for it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

impl Vector {
    /// Base64 holds the numbers one after the other, in little-endian order.
    fn into_numbers(self) -> Result<Vec<f32>, DecodeError> {
        let malformed =
            || DecodeError::Malformed("a vector that is not base64 of whole numbers".to_owned());
        let text = match self {
            Self::Numbers(numbers) => return Ok(numbers),
            Self::Base64(text) => text,
        };
        let bytes = STANDARD.decode(text).or(Err(malformed()))?;
        let (numbers, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(malformed());
        }
        Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn embeddings_are_requested_as_numbers_and_sorted() {
        let mut request = EmbedRequest { as_base64: true, ..EmbedRequest::default() };
        assert!(embed(&request, "m", None).unwrap_err().message.starts_with("input:"));
        request.input = vec!["a".into(), "b".into()];
        let call = embed(&request, "m", Some("k")).unwrap();
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(body, json!({"model": "m", "input": ["a", "b"], "encoding_format": "float"}));
        let answer = json!({"data": [
            {"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1]},
        ], "usage": {"prompt_tokens": 4, "total_tokens": 4}});
        let (result, usage) = embeddings(answer.to_string().as_bytes()).unwrap();
        assert_eq!(result, Whole::Embeddings(vec![vec![1.0], vec![2.0]]));
        assert_eq!(usage.prompt, Some(4));
    }

    #[test]
    fn embeddings_in_base64_are_read_unless_they_are_damaged() {
        let answer = |text: &str| {
            let body = json!({ "data": [{ "index": 0, "embedding": text }] });
            embeddings(body.to_string().as_bytes()).map(|(vectors, _)| vectors)
        };
        assert_eq!(answer("AAAAPwAAgL4="), Ok(Whole::Embeddings(vec![vec![0.5, -0.25]])));
        for damaged in ["AAAAPwA=", "!"] {
            assert!(matches!(answer(damaged), Err(DecodeError::Malformed(_))), "{damaged}");
        }
    }

    #[test]
    fn the_list_is_read() {
        let golden = include_bytes!("../../../tests/fixtures/dialect/openai/models.json");
        let models = models(golden).unwrap();
        assert_eq!(
            (models[0].name.as_str(), models[0].created),
            ("tiny-chat:1b", Some(1_795_341_600))
        );
    }

    #[test]
    fn facts_about_models_are_read_from_the_lists_of_many_servers() {
        let chat = ["completion", "tools"];
        let sees = ["completion", "tools", "vision"];
        for (entry, context, can) in [
            (json!({"max_model_len": 32768}), Some(32768), &chat[..]),
            (
                json!({"meta": {"n_ctx_train": 131_072}, "capabilities": ["completion", "multimodal"]}),
                Some(131_072),
                &sees,
            ),
            (json!({"meta": {"n_ctx_train": 131_072, "n_ctx": 8192}}), Some(8192), &chat),
            (
                json!({"context_length": 8192, "architecture": {"input_modalities": ["text"]},
                    "supported_parameters": ["max_tokens", "reasoning"]}),
                Some(8192),
                &["completion", "thinking"],
            ),
            (json!({"max_context_length": 4096, "type": "vlm"}), Some(4096), &sees),
            (json!({"type": "embeddings"}), None, &["embedding"]),
            (
                json!({"capabilities": {"vision": true, "function_calling": false}}),
                None,
                &["completion", "vision"],
            ),
            (
                json!({"capabilities": ["completion", "tools", "thinking"]}),
                None,
                &["completion", "tools", "thinking"],
            ),
            (json!({"context_length": "many", "capabilities": 7}), None, &chat),
        ] {
            let mut entry = entry;
            entry["id"] = json!("m");
            let models = models(json!([entry]).to_string().as_bytes()).unwrap();
            let facts = &models[0].facts;
            assert_eq!((facts.context, &*facts.capabilities("m")), (context, can), "{entry}");
        }
    }

    #[test]
    fn a_bare_list_with_odd_entries_is_read() {
        let body = json!([{"id": "org/a", "created": "0", "organization": "o"}, {"object": "model"},
            {"id": "b", "created": 7.5, "owned_by": null}]);
        let models = models(body.to_string().as_bytes()).unwrap();
        let told: Vec<_> = models
            .iter()
            .map(|model| (&*model.name, model.created, model.owner.as_deref()))
            .collect();
        assert_eq!(told, [("org/a", Some(0), Some("o")), ("b", Some(7), None)]);
    }
}
