//! What a chat and a gap to be filled have in common on their way to OpenAI and its imitators.

use serde::Serialize;

use super::reasoning::Back;
use crate::backend::Quirks;
use crate::chat::{ChatRequest, GatewayError};

/// Refuses what cannot be asked, and gives the stop texts without empty ones.
pub(super) fn check(request: &ChatRequest) -> Result<Vec<&str>, GatewayError> {
    if request.n.is_some_and(|n| n > 1) {
        return Err(GatewayError::invalid("n: this gateway gives one answer, ask for n = 1"));
    }
    if request.messages.is_empty() {
        return Err(GatewayError::invalid("messages: at least one message is needed"));
    }
    let stops = request.sampling.stop.iter().map(String::as_str);
    let stops: Vec<&str> = stops.filter(|stop| !stop.is_empty()).collect();
    Ok(stops)
}

/// The headers of every call.
pub(super) fn headers(api_key: Option<&str>) -> Vec<(&'static str, String)> {
    api_key.map(|key| ("authorization", format!("Bearer {key}"))).into_iter().collect()
}

/// Names what the API has no field for.
pub(super) fn name_untold(request: &ChatRequest, back: Back, dropped: &mut Vec<String>) {
    let sampling = &request.sampling;
    for (name, is_set) in [
        ("top_k", sampling.top_k.is_some()),
        ("min_p", sampling.min_p.is_some_and(|p| p != 0.0)),
        ("repeat_penalty", sampling.repeat_penalty.is_some_and(|penalty| penalty != 1.0)),
        ("reasoning", back.loses(request)),
    ] {
        if is_set {
            dropped.push(name.to_owned());
        }
    }
}

/// The penalty, unless it is none.
pub(super) fn set(penalty: Option<f64>) -> Option<f64> {
    penalty.filter(|penalty| *penalty != 0.0)
}

#[derive(Serialize)]
pub(super) struct StreamOptions {
    include_usage: bool,
}

impl StreamOptions {
    /// The count of tokens is always asked for, except of a server that refuses to be.
    pub(super) fn of(quirks: Quirks) -> Option<Self> {
        (!quirks.no_stream_usage).then_some(Self { include_usage: true })
    }
}
