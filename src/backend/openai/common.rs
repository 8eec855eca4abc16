//! The parts that the calls for a chat and for an infill have in common.

use serde::Serialize;

use super::reasoning::Replay;
use crate::backend::Target;
use crate::backend::history::stop_texts;
use crate::chat::{ChatRequest, GatewayError};

/// Refuses requests that cannot be expressed, and returns the stop texts without empty ones.
pub(super) fn check(request: &ChatRequest) -> Result<Vec<&str>, GatewayError> {
    if request.n.is_some_and(|n| n > 1) {
        return Err(GatewayError::invalid("n: this gateway gives one answer, ask for n = 1"));
    }
    if request.messages.is_empty() {
        return Err(GatewayError::invalid("messages: at least one message is needed"));
    }
    Ok(stop_texts(request))
}

/// Reports the settings for which the API has no field as dropped.
pub(super) fn name_unsupported(request: &ChatRequest, replay: Replay, dropped: &mut Vec<String>) {
    let sampling = &request.sampling;
    for (name, is_set) in [
        ("top_k", sampling.top_k.is_some()),
        ("min_p", sampling.min_p.is_some_and(|p| p != 0.0)),
        ("repeat_penalty", sampling.repeat_penalty.is_some_and(|penalty| penalty != 1.0)),
        ("reasoning", replay.loses(request)),
    ] {
        if is_set {
            dropped.push(name.to_owned());
        }
    }
}

/// The fields that say how the answer is sent and sampled.
#[derive(Serialize)]
pub(super) struct Settings<'a> {
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop: Vec<&'a str>,
}

impl<'a> Settings<'a> {
    /// The settings of the request, without penalties of zero. The count of tokens is always asked
    /// for, unless the server refuses to give it.
    pub(super) fn of(request: &ChatRequest, target: Target<'_>, stop: Vec<&'a str>) -> Self {
        let sampling = &request.sampling;
        let penalty = |value: Option<f64>| value.filter(|value| *value != 0.0);
        let asks_usage = !target.quirks.no_stream_usage;
        Self {
            stream: true,
            stream_options: asks_usage.then_some(StreamOptions { include_usage: true }),
            max_tokens: target.limit(request),
            max_completion_tokens: None,
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            presence_penalty: penalty(sampling.presence_penalty),
            frequency_penalty: penalty(sampling.frequency_penalty),
            seed: sampling.seed,
            stop,
        }
    }
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}
