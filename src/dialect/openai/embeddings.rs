//! `POST /v1/embeddings`.
//!
//! It owns the route's requests and answers. It rejects token ids, which only the model's own
//! tokeniser can interpret, and empty texts, as OpenAI does.
//!
//! The one thing to know: OpenAI's SDKs request base64 if their user sets nothing, and one of them
//! decodes without a check. A client that requested base64 never gets a list of numbers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use super::request::{model, rest};
use super::{INVALID_VALUE, UNSUPPORTED_VALUE};
use crate::chat::{Ask, EmbedRequest, Endpoint, GatewayError, Whole};
use crate::dialect::single::{misdirected, single};
use crate::dialect::{AnswerHead, Dialect, Encoder, ErrorBody};
use crate::wire::fields::{Fields, Object, take};
use crate::wire::json;

/// The most texts of one request: OpenAI's own limit.
const MOST_TEXTS: usize = 2048;

/// OpenAI's embeddings.
#[derive(Debug)]
pub struct OpenAiEmbeddings;

impl Dialect for OpenAiEmbeddings {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn paths(&self) -> &'static [&'static str] {
        &["/v1/embeddings", "/embeddings"]
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(Endpoint::OpenAiEmbeddings)
    }

    fn decode(&self, body: &[u8]) -> Result<Ask, GatewayError> {
        let mut body = json::read_object(body)?;
        let mut fields = Fields::new();
        let mut request = EmbedRequest {
            model: model(&mut fields, &mut body),
            hint: fields.text(&mut body, "model_hint"),
            input: input(&mut fields, &mut body),
            dimensions: fields.unsigned(&mut body, "dimensions", 1),
            extra: None,
            as_base64: as_base64(&mut fields, &mut body),
        };
        fields.finish()?;
        request.extra = rest(body);
        Ok(Ask::Embed(request))
    }

    fn encoder(&self, ask: &Ask, head: AnswerHead) -> Box<dyn Encoder> {
        let Ask::Embed(request) = ask else { return misdirected() };
        let model = head.model_for(request.model.as_deref());
        let as_base64 = request.as_base64;
        single(move |result, usage, _| {
            let Whole::Embeddings(vectors) = result else { return None };
            let prompt_tokens = usage.prompt.unwrap_or(0);
            let usage = Counts { prompt_tokens, total_tokens: prompt_tokens };
            let entry = |(index, vector): (usize, Vec<f32>)| {
                let embedding = if as_base64 {
                    Vector::Base64(base64(&vector))
                } else {
                    Vector::Floats(vector)
                };
                Entry { object: "embedding", index, embedding }
            };
            let data = vectors.into_iter().enumerate().map(entry).collect();
            Some(json::to_vec(&List { object: "list", data, model: &model, usage }))
        })
    }

    fn error(&self, error: &GatewayError, _request_id: &str) -> ErrorBody {
        super::error_body(error)
    }
}

/// One text or a list of texts.
fn input(fields: &mut Fields, body: &mut Object) -> Vec<String> {
    let list = match take(body, "input") {
        Some(Value::Array(list)) => list,
        Some(single) => vec![single],
        None => {
            fields.problem("input", "missing", "should be a text or a list of texts");
            return Vec::new();
        }
    };
    let problem = match list.as_slice() {
        [] => Some((INVALID_VALUE, "should hold at least one text")),
        list if list.len() > MOST_TEXTS => Some((INVALID_VALUE, "should hold at most 2048 texts")),
        list if list.iter().any(|item| item.is_number() || item.is_array()) => Some((
            UNSUPPORTED_VALUE,
            "token ids are not supported, send texts (LangChain: check_embedding_ctx_length=False)",
        )),
        list if list.iter().any(|item| item.as_str() == Some("")) => {
            Some((INVALID_VALUE, "should hold no empty text"))
        }
        list if !list.iter().all(Value::is_string) => {
            Some(("string_type", "should be a text or a list of texts"))
        }
        _ => None,
    };
    if let Some((rule, message)) = problem {
        fields.problem("input", rule, message);
    }
    let text = |item| if let Value::String(text) = item { Some(text) } else { None };
    list.into_iter().filter_map(text).collect()
}

fn as_base64(fields: &mut Fields, body: &mut Object) -> bool {
    match fields.text(body, "encoding_format").as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            fields.problem("encoding_format", INVALID_VALUE, "should be float or base64");
            false
        }
    }
}

/// The numbers as little-endian bytes, in base64 with padding.
fn base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry>,
    model: &'a str,
    usage: Counts,
}

#[derive(Serialize)]
struct Entry {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Counts {
    prompt_tokens: u64,
    total_tokens: u64,
}

#[cfg(test)]
mod tests;
