//! What clients read when a provider cannot be reached, refuses, is slow or breaks off.
//!
//! Each provider picks its answer by the model it is asked for, so that one gateway serves a whole
//! table and no case meets the breaker or the cooldown of another.

mod broken;
mod deadlines;
mod midway;
mod refusals;
mod retries;

use serde_json::Value;

use crate::client::{Answer, chat, streamed_chat};
use crate::harness::{Breaker, Provider, Retry};
use crate::upstream::Call;

/// One provider at `url` that is tried again soon, and whose breaker stays out of the way.
fn quick(url: String) -> Provider {
    with_retries(url, 2)
}

/// The same without retries.
fn once(url: String) -> Provider {
    with_retries(url, 0)
}

fn with_retries(url: String, retries: u32) -> Provider {
    Provider::new("ollama", "ollama", url)
        .retry(Retry::default().max_retries(retries).backoff("1ms").max_backoff("2ms"))
        .breaker(Breaker::default().failures(1000).open("5s").max_open("120s"))
}

/// A chat with this model.
fn chat_with(model: &str) -> Value {
    let mut chat = chat("hi");
    chat["model"] = model.into();
    chat
}

/// The same, streamed.
fn streamed_with(model: &str) -> Value {
    let mut chat = streamed_chat("hi");
    chat["model"] = model.into();
    chat
}

/// Where an Ollama's answer is translated, and where it is carried.
const BOTH: [&str; 2] = ["/v1/chat", "/api/chat"];

/// The same request for this path. One that fails again and again is not tried any more, so each
/// path has its own.
fn at(path: &str, mut chat: Value) -> Value {
    chat["messages"][0]["content"] = path.into();
    chat["stream"] = (chat["stream"] == true).into();
    chat
}

/// The model that a call asks for.
fn model_of(call: &Call) -> String {
    call.json()["model"].as_str().unwrap().to_owned()
}

/// Checks the status, the code and the envelope of an error, and returns its words.
fn check_error(answer: &Answer, status: u16, code: &str) -> String {
    check_error_at("/v1/chat", answer, status, code)
}

/// The same in the envelope of this path; Ollama's has no code.
fn check_error_at(path: &str, answer: &Answer, status: u16, code: &str) -> String {
    let body = answer.json();
    assert_eq!(answer.status, status, "{body}");
    let words = if path == "/api/chat" { "error" } else { "detail" };
    if words == "detail" {
        assert_eq!(body["code"].as_str(), Some(code), "{body}");
        assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{body}");
    }
    assert_eq!(answer.header("x-gateway-provider"), Some("ollama"));
    let comes_back = [429, 503].contains(&status);
    assert_eq!(answer.header("retry-after").is_some(), comes_back, "{:?}", answer.headers);
    body[words].as_str().unwrap().to_owned()
}

/// `Retry-After` in whole seconds, within the bounds that are promised.
fn retry_after(answer: &Answer) -> u64 {
    let seconds = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    seconds
}
