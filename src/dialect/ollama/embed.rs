//! `/api/embed` and the older `/api/embeddings`: requests and answers.
//!
//! The one thing to know: the old route's vectors have length 1 here, like the new one's, although
//! old servers did not normalise them. The directions are the same, and so is every cosine.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Ollama;
use super::request::{kept, model_name};
use crate::chat::{EmbedRequest, GatewayError, Usage, Whole};
use crate::dialect::Encoder;
use crate::dialect::single::single;
use crate::wire::fields::{Fields, Object, take};
use crate::wire::json;

/// The most texts of one request. Ollama has no limit, OpenAI has this one.
const MOST_TEXTS: usize = 2048;

/// Decodes a request of `/api/embed`.
pub(super) fn many(fields: &mut Fields, body: &mut Object) -> Result<EmbedRequest, GatewayError> {
    let model = Some(model_name(fields, body)?);
    let invalid = || GatewayError::invalid("invalid input type");
    let input = match take(body, "input") {
        None => Vec::new(),
        Some(Value::String(text)) => some(text),
        Some(Value::Array(list)) if list.len() > MOST_TEXTS => {
            return Err(GatewayError::invalid("input: at most 2048 texts are accepted"));
        }
        Some(Value::Array(list)) => {
            let text = |item| match item {
                Value::String(text) => Ok(text),
                _ => Err(invalid()),
            };
            list.into_iter().map(text).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(invalid()),
    };
    let dimensions = fields.unsigned(body, "dimensions", 0).filter(|dimensions| *dimensions > 0);
    Ok(EmbedRequest { model, input, dimensions, extra: kept(body), ..EmbedRequest::default() })
}

/// Decodes a request of `/api/embeddings`.
pub(super) fn one(fields: &mut Fields, body: &mut Object) -> Result<EmbedRequest, GatewayError> {
    let model = Some(model_name(fields, body)?);
    let input = fields.text(body, "prompt").map(some).unwrap_or_default();
    Ok(EmbedRequest { model, input, extra: kept(body), ..EmbedRequest::default() })
}

/// Begins to write the embeddings.
pub(super) fn encoder(route: Ollama, model: String, waited: Duration) -> Box<dyn Encoder> {
    single(move |result, usage, took| {
        let Whole::Embeddings(vectors) = result else { return None };
        Some(match route {
            Ollama::Embed => {
                let took = took.saturating_sub(waited);
                json::to_vec(&answer(&model, &vectors, usage, took))
            }
            Ollama::Chat | Ollama::Generate | Ollama::Embeddings | Ollama::Show => {
                let embedding = vectors.into_iter().next().unwrap_or_default();
                json::to_vec(&serde_json::json!({"embedding": embedding}))
            }
        })
    })
}

/// No text or an empty one only loads the model.
fn some(text: String) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { vec![text] }
}

fn answer<'a>(
    model: &'a str,
    vectors: &'a [Vec<f32>],
    usage: &Usage,
    took: Duration,
) -> Answer<'a> {
    let measured = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    Answer {
        model,
        embeddings: vectors,
        total_duration: usage.durations.map_or(measured, |durations| durations.total),
        load_duration: usage.durations.map_or(0, |durations| durations.load),
        prompt_eval_count: usage.prompt.filter(|count| *count > 0),
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    embeddings: &'a [Vec<f32>],
    /// In nanoseconds.
    total_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    load_duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
