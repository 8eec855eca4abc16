//! The calls to Anthropic other than messages: the count of a prompt's tokens, and the list of
//! models.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::encode;
use crate::backend::document::parse;
use crate::backend::lenient;
use crate::backend::model_list::{entries, first_text, number, time};
use crate::backend::{ApiVersion, DecodeError, Target, UpstreamRequest};
use crate::chat::{Ability, ChatRequest, Facts, GatewayError, Model, Usage, Whole};
use crate::wire::json;

/// The fields of a messages request that affect only the answer; a count refuses them.
const UNCOUNTED: [&str; 7] =
    ["max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata"];

/// Builds the call for a count: the call for an answer without the fields that do not belong to the
/// prompt.
pub(super) fn count(
    request: &ChatRequest,
    target: Target<'_>,
) -> Result<UpstreamRequest, GatewayError> {
    let call = encode::chat(request, target)?;
    let body: Map<String, Value> =
        serde_json::from_slice(&call.body).map_err(GatewayError::internal)?;
    let counted = body.into_iter().filter(|(name, _)| !UNCOUNTED.contains(&name.as_str()));
    let body = json::to_vec(&counted.collect::<Map<String, Value>>());
    Ok(UpstreamRequest { path: "/v1/messages/count_tokens".to_owned(), body, ..call })
}

/// Builds the call for the list of models, in one page of the largest size. Both versions of the
/// API give the same answer.
pub(super) fn listing(key: Option<&str>) -> UpstreamRequest {
    let headers = encode::headers(key, ApiVersion::default());
    UpstreamRequest::get("/v1/models?limit=1000", headers)
}

/// Reads a count. Counting costs nothing, so there is no usage.
pub(super) fn tokens(body: &[u8]) -> Result<(Whole, Usage), DecodeError> {
    let answer: Counted = parse(body)?;
    let none = || DecodeError::Malformed("no count of tokens".to_owned());
    Ok((Whole::Tokens(answer.input_tokens.ok_or_else(none)?), Usage::default()))
}

/// Reads the list of models.
pub(super) fn models(body: &[u8]) -> Result<Vec<Model>, DecodeError> {
    let model = |entry: Map<String, Value>| {
        Some(Model {
            name: first_text(&entry, &["id", "name"])?.to_owned(),
            created: time(&entry, &["created_at", "created"]),
            owner: Some("anthropic".to_owned()),
            facts: facts(&entry),
            ..Model::default()
        })
    };
    Ok(entries(body, &["data", "models"])?.into_iter().filter_map(model).collect())
}

/// Newer versions of the API tell the context and the abilities; all of Anthropic's models still in
/// service call tools and read pictures.
fn facts(entry: &Map<String, Value>) -> Facts {
    let supported = |name: &str| {
        let ability = entry.get("capabilities")?.get(name)?;
        ability.as_bool().or_else(|| ability.get("supported")?.as_bool())
    };
    Facts::taking(number(entry, &["/max_input_tokens"]))
        .with(Ability::Tools, Some(true))
        .with(Ability::Vision, supported("image_input").or(Some(true)))
        .with(Ability::Thinking, supported("thinking"))
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default, deserialize_with = "lenient::count")]
    input_tokens: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing::user;

    #[test]
    fn a_count_sends_only_the_prompt() {
        let mut request = user("hi");
        request.sampling.temperature = Some(0.5);
        let call = count(&request, Target::new("claude", Some("k"))).unwrap();
        assert_eq!(call.path, "/v1/messages/count_tokens");
        let body: Map<String, Value> = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(body.keys().collect::<Vec<_>>(), ["model", "messages"]);
        let golden = include_bytes!("../../../tests/fixtures/dialect/anthropic/count_tokens.json");
        assert_eq!(tokens(golden).unwrap(), (Whole::Tokens(30), Usage::default()));
    }

    #[test]
    fn the_list_is_read() {
        let body = br#"{"data": [{"id": "claude", "created_at": "2026-11-22T10:00:00Z"}, {"type": "model"}]}"#;
        let models = models(body).unwrap();
        assert_eq!((models[0].name.as_str(), models[0].created), ("claude", Some(1_795_341_600)));
        assert_eq!(models.len(), 1);
    }
}
