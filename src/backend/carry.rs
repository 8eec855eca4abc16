//! Passes a request on as it came, and its answer back as it comes, without translating either.
//!
//! It owns the few changes to a carried body: the model's name behind an alias, the operator's own
//! fields and limits, and the count of a stream's tokens. Everything else, known or not, arrives as
//! it was sent. `answer.rs` owns the answer, `watch.rs` chooses the decoder that watches it.
//!
//! The one thing to know: changes are spliced into the bytes. Nothing is parsed and written again,
//! because that would change the client's numbers, order and duplicates.

mod answer;
mod billing;
mod failure;
mod frame_kind;
mod frames;
mod gemini;
pub mod raw;
mod responses;
mod watch;

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Backend, Decoder, LimitField, Target, UpstreamRequest, has_newer_limit};
use crate::chat::{Ask, BILLING, Carry, Endpoint};
use crate::wire::json;
use crate::wire::splice::{Edits, Outline, quoted};

/// Builds the call that carries a request; `None` if the backend has no path for its endpoint.
/// `fields` are the operator's own.
#[must_use]
pub fn encode(
    carry: &Carry,
    backend: &dyn Backend,
    fields: &Map<String, Value>,
    target: Target<'_>,
) -> Option<UpstreamRequest> {
    let path = backend.path_for(carry.endpoint, target.model)?;
    let mut dropped = Vec::new();
    let path = match carry.query.as_str() {
        "" => path,
        query => format!("{path}?{query}"),
    };
    let mut headers = backend.credentials(target);
    headers.retain(|(name, _)| !carry.headers.iter().any(|(other, _)| other == name));
    headers.extend(carry.headers.iter().cloned());
    let outline = Outline::read(&carry.body)?;
    let mut edits = outline.edit();
    // The gateway's own field, which no provider knows.
    edits.remove("model_hint");
    let is_anthropics =
        matches!(carry.endpoint, Endpoint::AnthropicMessages | Endpoint::AnthropicCount);
    if is_anthropics && !target.quirks.keeps_volatile && billing::remove(&outline, &mut edits) {
        dropped.push(BILLING.trim_end_matches(':').to_owned());
    }
    if carry.endpoint.is_gemini() {
        gemini::name(&outline, &mut edits, target.model);
    } else if asked_model(&outline).as_deref() != Some(target.model) {
        edits.set("model", quoted(target.model));
    }
    if carry.endpoint.generates() {
        limit(carry.endpoint, &outline, &mut edits, target);
        let alike = if carry.endpoint.is_gemini() { gemini::alike } else { str::eq };
        add(&outline, &mut edits, &with_limit(carry.endpoint, fields, target), alike);
        let is_openai =
            matches!(carry.endpoint, Endpoint::OpenAiChat | Endpoint::OpenAiCompletions);
        if is_openai && target.quirks.no_stream_usage {
            // The operator's setting says that the server refuses this field.
            if wants_usage(&outline) {
                dropped.push("stream_options".to_owned());
            }
            edits.remove("stream_options");
        }
        if counts_usage(carry, target) && !wants_usage(&outline) {
            let options = outline.get("stream_options").and_then(with_usage);
            edits.set("stream_options", options.unwrap_or_else(|| USAGE.to_vec()));
        }
    }
    let body = if edits.is_empty() { carry.body.to_vec() } else { edits.apply() };
    Some(UpstreamRequest { path, headers, body, dropped })
}

/// Begins to read the answer to a carried request. The answer of a fallback names the model that
/// ran; any other answer names the model that the client asked for.
#[must_use]
pub fn decoder(
    carry: &Carry,
    ask: &Ask,
    (target, is_fallback): (Target<'_>, bool),
    seed: u64,
) -> Box<dyn Decoder> {
    let outline = Outline::read(&carry.body);
    let asked = match carry.endpoint.is_gemini() {
        true => ask.model().map(str::to_owned),
        false => outline.as_ref().and_then(asked_model),
    };
    let hides_usage = counts_usage(carry, target)
        && outline.as_ref().is_some_and(|outline| !wants_usage(outline));
    let options = answer::AnswerOptions {
        endpoint: carry.endpoint,
        form: carry.form,
        as_base64: matches!(ask, Ask::Embed(embed) if embed.as_base64)
            || outline.as_ref().and_then(|it| it.get("encoding_format")) == Some(b"\"base64\""),
        stream: carry.stream,
        is_list: carry.is_list(),
        // A client that asked by an alias reads that alias again.
        model: asked
            .filter(|asked| asked != target.model)
            .map(|asked| quoted(if is_fallback { target.model } else { &asked })),
        hides_usage,
        is_translatable: carry.refusal.is_none(),
    };
    Box::new(answer::Carrier::new(watch::decoder(carry, ask, seed), options))
}

const USAGE: &[u8] = br#"{"include_usage":true}"#;

/// The model's name as the client wrote it.
fn asked_model(outline: &Outline<'_>) -> Option<String> {
    serde_json::from_slice(outline.get("model")?).ok()
}

/// Whether the gateway asks the provider to count the tokens of this stream.
fn counts_usage(carry: &Carry, target: Target<'_>) -> bool {
    let can_ask = matches!(carry.endpoint, Endpoint::OpenAiChat | Endpoint::OpenAiCompletions);
    can_ask && carry.stream && !target.quirks.no_stream_usage
}

/// Whether the client itself asks for the count of tokens.
fn wants_usage(outline: &Outline<'_>) -> bool {
    let options = outline.get("stream_options").and_then(Outline::read);
    options.is_some_and(|options| options.get("include_usage") == Some(b"true"))
}

/// The client's options with the request for a count of tokens added; `None` if they are not an
/// object.
fn with_usage(options: &[u8]) -> Option<Vec<u8>> {
    let options = Outline::read(options)?;
    let mut edits = options.edit();
    edits.set("include_usage", *b"true");
    Some(edits.apply())
}

/// Sets the operator's limit of tokens on a request without one, under the provider's name for it.
fn limit(endpoint: Endpoint, outline: &Outline<'_>, edits: &mut Edits<'_, '_>, target: Target<'_>) {
    let is_set = |name: &str| outline.get(name).is_some_and(|value| value != b"null");
    let default = target.quirks.default_max_tokens.map(|limit| limit.to_string());
    match endpoint {
        Endpoint::OpenAiChat => {
            const NAMES: [&str; 2] = ["max_tokens", "max_completion_tokens"];
            let [older, newer] = NAMES;
            let name = match has_newer_limit(target.model, target.quirks.limit_field) {
                true => newer,
                false => older,
            };
            match (NAMES.iter().any(|name| is_set(name)), default) {
                (false, Some(default)) => edits.set(name, default),
                // The client's name for the limit is changed only if the operator or the model
                // leaves no choice and the client did not use the other name too.
                (true, _) if name == newer && !is_set(newer) => {
                    rename(outline, edits, older, newer)
                }
                (true, _) if target.quirks.limit_field == LimitField::MaxTokens => {
                    if !is_set(older) {
                        rename(outline, edits, newer, older);
                    }
                }
                (true, _) | (false, None) => {}
            }
        }
        Endpoint::OpenAiCompletions | Endpoint::AnthropicMessages => {
            if let (false, Some(default)) = (is_set("max_tokens"), default) {
                edits.set("max_tokens", default);
            }
        }
        Endpoint::OpenAiResponses => {
            if let (false, Some(default)) = (is_set("max_output_tokens"), default) {
                edits.set("max_output_tokens", default);
            }
        }
        // Ollama has the limit among its options: see `with_limit`.
        Endpoint::OllamaChat | Endpoint::OllamaGenerate => {}
        // So has Gemini.
        Endpoint::GeminiGenerate | Endpoint::GeminiStream => {}
        Endpoint::OpenAiEmbeddings
        | Endpoint::AnthropicCount
        | Endpoint::OllamaEmbed
        | Endpoint::GeminiCount
        | Endpoint::GeminiEmbed
        | Endpoint::GeminiBatchEmbed => {}
    }
}

/// Renames a limit. If the other name is there with `null`, it gets the value.
fn rename(outline: &Outline<'_>, edits: &mut Edits<'_, '_>, name: &str, other: &str) {
    match (outline.get(name), outline.get(other)) {
        (Some(value), Some(_)) => {
            edits.set(other, value);
            edits.remove(name);
        }
        (Some(_), None) => edits.rename(name, other),
        (None, _) => {}
    }
}

/// The operator's fields; for Ollama and Gemini, with the limit of tokens among the options.
fn with_limit<'a>(
    endpoint: Endpoint,
    fields: &'a Map<String, Value>,
    target: Target<'_>,
) -> Cow<'a, Map<String, Value>> {
    let place = match endpoint {
        Endpoint::OllamaChat | Endpoint::OllamaGenerate => Some(("options", "num_predict")),
        Endpoint::GeminiGenerate | Endpoint::GeminiStream => {
            Some(("generationConfig", "maxOutputTokens"))
        }
        Endpoint::OpenAiChat
        | Endpoint::OpenAiCompletions
        | Endpoint::OpenAiEmbeddings
        | Endpoint::OpenAiResponses
        | Endpoint::AnthropicMessages
        | Endpoint::AnthropicCount
        | Endpoint::OllamaEmbed
        | Endpoint::GeminiCount
        | Endpoint::GeminiEmbed
        | Endpoint::GeminiBatchEmbed => None,
    };
    let (Some((table, name)), Some(default)) = (place, target.quirks.default_max_tokens) else {
        return Cow::Borrowed(fields);
    };
    let mut fields = fields.clone();
    let options = fields.entry(table).or_insert_with(|| Value::Object(Map::new()));
    if let Some(options) = options.as_object_mut() {
        options.entry(name).or_insert_with(|| Value::from(default));
    }
    Cow::Owned(fields)
}

/// Whether two names mean the same field.
type Alike = fn(&str, &str) -> bool;

/// Adds fields as [`super::added_fields`] does: values that are there stay, and missing entries of
/// tables are added.
fn add(
    outline: &Outline<'_>,
    edits: &mut Edits<'_, '_>,
    fields: &Map<String, Value>,
    alike: Alike,
) {
    for (name, value) in fields {
        let there = outline.names().find(|other| alike(other, name));
        match (there, value) {
            (None, _) => edits.set(name, json::to_vec(value)),
            (Some(name), Value::Object(fields)) => {
                let there = outline.get(name).unwrap_or_default();
                if let Some(filled) = filled(there, fields, alike) {
                    edits.set(name, filled);
                }
            }
            (Some(_), _) => {}
        }
    }
}

/// A table with fields added; `None` if it is not a table, or has a `type` that says which of
/// several tables it is.
fn filled(there: &[u8], fields: &Map<String, Value>, alike: Alike) -> Option<Vec<u8>> {
    let table = Outline::read(there)?;
    if table.get("type").is_some() {
        return None;
    }
    let mut edits = table.edit();
    add(&table, &mut edits, fields, alike);
    Some(edits.apply())
}

#[cfg(test)]
mod tests;
