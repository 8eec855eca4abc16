//! Log probabilities of tokens in OpenAI's shape, which Ollama uses too.

use serde::Deserialize;

use super::lenient::{list, text};
use crate::chat::TokenLogprob;

/// A token.
#[derive(Deserialize)]
pub(super) struct Token {
    #[serde(default, deserialize_with = "text")]
    token: Option<String>,
    #[serde(default)]
    logprob: Option<f64>,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    #[serde(default, deserialize_with = "list")]
    top_logprobs: Vec<Token>,
}

/// The tokens with a known probability.
pub(super) fn tokens(told: Vec<Token>) -> Vec<TokenLogprob> {
    let tokens = told.into_iter().filter_map(|token| {
        Some(TokenLogprob {
            token: token.token.unwrap_or_default(),
            logprob: token.logprob?,
            bytes: token.bytes,
            top: tokens(token.top_logprobs),
        })
    });
    tokens.collect()
}
