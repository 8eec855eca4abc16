//! The parts that the calls for a chat and for a bare prompt have in common: settings and pictures.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::chat::{GatewayError, ImageSource, Sampling};
use crate::wire::json;

/// Top-level fields that are passed on.
pub(super) type Passed<'a> = Vec<(&'a str, &'a Value)>;

/// The inline picture, the only kind that Ollama takes.
pub(super) fn inline(source: &ImageSource) -> Result<&str, GatewayError> {
    match source {
        ImageSource::Inline { base64, .. } => Ok(base64),
        ImageSource::Url(_) => Err(GatewayError::invalid(
            "image_url: this provider takes images in the request, send a data: URI",
        )),
    }
}

/// The last fields of both calls.
#[derive(Serialize)]
pub(super) struct Settings<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) think: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_logprobs: Option<u8>,
    #[serde(skip_serializing_if = "Options::is_empty")]
    pub(super) options: Options<'a>,
    #[serde(flatten, serialize_with = "json::entries")]
    pub(super) passed: Passed<'a>,
}

/// The canonical sampling under Ollama's names, added to the options that an Ollama client set
/// itself.
pub(super) struct Options<'a> {
    pub(super) sampling: &'a Sampling,
    pub(super) limit: Option<u32>,
    pub(super) own: Option<&'a Map<String, Value>>,
}

impl Serialize for Options<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sampling = self.sampling;
        let mut options = serializer.serialize_map(None)?;
        for (name, value) in self.own.into_iter().flatten() {
            options.serialize_entry(name, value)?;
        }
        entry(&mut options, "num_predict", self.limit)?;
        entry(&mut options, "temperature", sampling.temperature)?;
        entry(&mut options, "top_p", sampling.top_p)?;
        entry(&mut options, "top_k", sampling.top_k)?;
        entry(&mut options, "min_p", sampling.min_p)?;
        entry(&mut options, "presence_penalty", sampling.presence_penalty)?;
        entry(&mut options, "frequency_penalty", sampling.frequency_penalty)?;
        entry(&mut options, "repeat_penalty", sampling.repeat_penalty)?;
        entry(&mut options, "seed", sampling.seed)?;
        if !sampling.stop.is_empty() {
            options.serialize_entry("stop", &sampling.stop)?;
        }
        options.end()
    }
}

impl Options<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.own.is_none_or(Map::is_empty)
            && self.limit.is_none()
            && *self.sampling == Sampling::default()
    }
}

fn entry<M: SerializeMap>(
    map: &mut M,
    name: &str,
    value: Option<impl Serialize>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, &value),
        None => Ok(()),
    }
}
