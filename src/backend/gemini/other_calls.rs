//! The calls to Gemini other than chats: embeddings, the count of a prompt's tokens, the list of
//! models.
//!
//! The one thing to know: embeddings of older models with fewer dimensions do not have length 1,
//! and are passed on as they come.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::encode::{self, headers, path_of, short_name};
use crate::backend::document::parse;
use crate::backend::lenient;
use crate::backend::model_list::{entries, first_text, has_word, number, time};
use crate::backend::{DecodeError, Target, UpstreamRequest, own_fields, refuse_no_input};
use crate::chat::{
    Ability, Api, ChatRequest, EmbedRequest, Facts, GatewayError, Model, Usage, Whole,
};
use crate::wire::json;

/// A listed model must support one of these methods.
const USEFUL: [&str; 2] = ["generateContent", "embedContent"];

/// Builds the call for embeddings.
pub(super) fn embed(
    request: &EmbedRequest,
    model: &str,
    key: Option<&str>,
) -> Result<UpstreamRequest, GatewayError> {
    refuse_no_input(request)?;
    let mut dropped = Vec::new();
    let own = own_fields(request.extra.as_ref(), Api::Gemini, &mut dropped)?;
    let path = path_of(short_name(model))?;
    let one = |text: &String| {
        let mut one = json!({"model": path, "content": {"parts": [{"text": text}]}});
        if let Some(one) = one.as_object_mut() {
            let dimensions = request.dimensions.map(|dimensions| json!(dimensions));
            one.extend(dimensions.map(|value| ("outputDimensionality".to_owned(), value)));
            for (name, value) in &own {
                one.entry(*name).or_insert_with(|| (*value).clone());
            }
        }
        one
    };
    let requests: Vec<Value> = request.input.iter().map(one).collect();
    let path = format!("/v1beta/{path}:batchEmbedContents");
    Ok(UpstreamRequest::post(path, headers(key), &json!({"requests": requests}), dropped))
}

/// Builds the call for a count: the whole request for an answer, wrapped, so that instructions and
/// tools count.
pub(super) fn count(
    request: &ChatRequest,
    target: Target<'_>,
) -> Result<UpstreamRequest, GatewayError> {
    let mut call = encode::chat(request, target)?;
    let path = path_of(short_name(target.model))?;
    let mut wrapped: Map<String, Value> = serde_json::from_slice(&call.body).map_err(|error| {
        GatewayError::internal(format!("the body of a chat that was just written: {error}"))
    })?;
    wrapped.insert("model".to_owned(), json!(path));
    call.body = json::to_vec(&json!({"generateContentRequest": wrapped}));
    call.path = format!("/v1beta/{path}:countTokens");
    Ok(call)
}

/// Builds the call for the list of models, in one page of the largest size.
pub(super) fn listing(key: Option<&str>) -> UpstreamRequest {
    UpstreamRequest::get("/v1beta/models?pageSize=1000", headers(key))
}

/// Reads embeddings.
pub(super) fn embeddings(body: &[u8]) -> Result<(Whole, Usage), DecodeError> {
    let answer: Embedded = parse(body)?;
    let vectors = answer.embeddings.into_iter().map(|entry| entry.values).collect();
    let prompt = answer.usage_metadata.and_then(|usage| usage.prompt_token_count);
    Ok((Whole::Embeddings(vectors), Usage { prompt, ..Usage::default() }))
}

/// Reads a count.
pub(super) fn tokens(body: &[u8]) -> Result<(Whole, Usage), DecodeError> {
    let answer: Counted = parse(body)?;
    Ok((Whole::Tokens(answer.total_tokens.unwrap_or(0)), Usage::default()))
}

/// Reads the list of models, without those that neither chat nor embed.
pub(super) fn models(body: &[u8]) -> Result<Vec<Model>, DecodeError> {
    let model = |entry: Map<String, Value>| {
        let methods = entry.get("supportedGenerationMethods").and_then(Value::as_array);
        let is_useful = methods.is_none_or(|methods| {
            let mut methods = methods.iter().filter_map(Value::as_str).peekable();
            methods.peek().is_none() || methods.any(|method| USEFUL.contains(&method))
        });
        let name = first_text(&entry, &["name", "id"]).filter(|_| is_useful)?;
        Some(Model {
            name: short_name(name).to_owned(),
            created: time(&entry, &["createTime", "created"]),
            owner: Some("google".to_owned()),
            facts: facts(name, &entry),
            ..Model::default()
        })
    };
    Ok(entries(body, &["models", "data"])?.into_iter().filter_map(model).collect())
}

/// The list tells the context and whether a model thinks. It does not mention pictures: all chat
/// models of the family `gemini` read them.
fn facts(name: &str, entry: &Map<String, Value>) -> Facts {
    let chats = has_word(entry.get("supportedGenerationMethods"), "generateContent");
    let embeds = has_word(entry.get("supportedGenerationMethods"), "embedContent");
    Facts::taking(number(entry, &["/inputTokenLimit"]))
        .with(Ability::Completion, chats)
        .with(Ability::Embedding, embeds)
        .with(Ability::Vision, (chats != Some(false) && name.contains("gemini")).then_some(true))
        .with(Ability::Thinking, entry.get("thinking").and_then(Value::as_bool))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Embedded {
    embeddings: Vec<EmbeddedEntry>,
    #[serde(default)]
    usage_metadata: Option<Counts>,
}

#[derive(Deserialize)]
struct EmbeddedEntry {
    values: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    #[serde(default, deserialize_with = "lenient::count")]
    prompt_token_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    /// Missing if it is 0, as proto3 leaves zeros out.
    #[serde(default, deserialize_with = "lenient::count")]
    total_tokens: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing::{tool, user};
    use crate::chat::{Message, Role};

    #[test]
    fn embeddings_are_requested_in_one_batch() {
        let input = vec!["a".to_owned(), "b".to_owned()];
        let request = EmbedRequest { input, dimensions: Some(8), ..EmbedRequest::default() };
        let call = embed(&request, "gemini-embedding-001", Some("k")).unwrap();
        assert_eq!(call.path, "/v1beta/models/gemini-embedding-001:batchEmbedContents");
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(body["requests"][1]["content"]["parts"][0]["text"], "b");
        assert_eq!(body["requests"][1]["model"], "models/gemini-embedding-001");
        assert_eq!(body["requests"][1]["outputDimensionality"], 8);
        let (result, usage) = embeddings(br#"{"embeddings": [{"values": [1, 0.5]}]}"#).unwrap();
        assert_eq!(result, Whole::Embeddings(vec![vec![1.0, 0.5]]));
        assert_eq!(usage.prompt, None);
    }

    #[test]
    fn a_prompt_is_counted_with_its_instructions_and_tools() {
        let mut request = user("how long is this?");
        request.messages.insert(0, Message::text(Role::System, "be brief"));
        request.tools.push(tool("f"));
        let call = count(&request, Target::new("gemini-2.5-flash", Some("k"))).unwrap();
        assert_eq!(call.path, "/v1beta/models/gemini-2.5-flash:countTokens");
        assert_eq!(call.headers, [("x-goog-api-key", "k".to_owned())]);
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        let wrapped = &body["generateContentRequest"];
        assert_eq!(wrapped["model"], "models/gemini-2.5-flash");
        assert_eq!(wrapped["systemInstruction"]["parts"][0]["text"], "be brief");
        assert_eq!(wrapped["contents"][0]["parts"][0]["text"], "how long is this?");
        assert_eq!(wrapped["tools"][0]["functionDeclarations"][0]["name"], "f");
        let told = |body: &[u8]| tokens(body).unwrap().0;
        assert_eq!(told(br#"{"totalTokens": 31, "promptTokensDetails": []}"#), Whole::Tokens(31));
        assert_eq!(told(b"{}"), Whole::Tokens(0));
        assert_eq!(tokens(b"{\"totalTo").unwrap_err(), DecodeError::Cut);
    }

    #[test]
    fn only_models_that_chat_or_embed_are_listed() {
        let body = json!({"models": [
            {"name": "models/chat", "supportedGenerationMethods": ["generateContent"]},
            {"name": "models/film", "supportedGenerationMethods": ["predictLongRunning"]},
            {"name": "models/any", "supportedGenerationMethods": null, "createTime": 7},
            {"displayName": "nameless"},
        ]});
        let models = models(body.to_string().as_bytes()).unwrap();
        assert_eq!(models.iter().map(|model| &*model.name).collect::<Vec<_>>(), ["chat", "any"]);
    }
}
