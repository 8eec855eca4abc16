//! Many clients at once, and the moments when they run or wait.
//!
//! It owns nothing. Clients are tasks; the admin listener says in which state they are, so that a
//! test can bring a gateway into an exact state first.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::{Answer, chat, patch_json, post_json, post_json_with};
use crate::harness::Gateway;
use crate::patience::eventually;

/// A client on its way.
pub type Sent = JoinHandle<Answer>;

/// Sends a native chat in a task of its own.
pub fn send(gateway: &Gateway, headers: &[(&str, &str)], body: Value) -> Sent {
    let url = gateway.url("/v1/chat");
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let headers: Vec<(String, String)> = headers.iter().map(own).collect();
    tokio::spawn(async move {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        post_json_with(&url, &headers, &body).await
    })
}

/// Sends `count` chats with `content`, all at once.
pub fn send_many(
    gateway: &Gateway,
    headers: &[(&str, &str)],
    content: &str,
    count: usize,
) -> Vec<Sent> {
    (0..count).map(|_| send(gateway, headers, chat(content))).collect()
}

/// A chat to be answered by one provider.
pub fn chat_with(provider: &str, content: &str) -> Value {
    let mut chat = chat(content);
    chat["model"] = format!("{provider}/llama3.1").into();
    chat
}

/// The header that carries a key.
pub fn key(key: &str) -> [(&str, &str); 1] {
    [("x-api-key", key)]
}

/// Every answer, in the order of sending.
pub async fn answers(sent: Vec<Sent>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for one in sent {
        answers.push(one.await.unwrap());
    }
    answers
}

/// How many of the answers have this status.
pub fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// The snapshot of a provider.
pub async fn snapshot(gateway: &Gateway, provider: &str) -> Value {
    let all = gateway.providers().await;
    let found = all["providers"].as_array().unwrap().iter().find(|one| one["name"] == provider);
    found.unwrap_or_else(|| panic!("no {provider} in {all}")).clone()
}

/// Awaits the moment when a field of the provider's snapshot has this value.
pub async fn shows(gateway: &Gateway, provider: &str, field: &str, value: impl Into<Value>) {
    let (value, last) = (value.into(), std::cell::RefCell::new(Value::Null));
    eventually(
        || format!("{provider} shows {field} = {value}, last {}", last.borrow()),
        async || {
            let now = snapshot(gateway, provider).await[field].clone();
            let is_there = now == value;
            *last.borrow_mut() = now;
            is_there.then_some(())
        },
    )
    .await;
}

/// Awaits the moment when so many wait at the provider.
pub async fn waiting(gateway: &Gateway, provider: &str, count: usize) {
    shows(gateway, provider, "queued", count).await;
}

/// Turns knobs of a provider.
pub async fn turn(gateway: &Gateway, provider: &str, knobs: Value) -> Answer {
    patch_json(&gateway.admin_url(&format!("/admin/providers/{provider}")), &knobs).await
}

/// Presses a button of the admin listener: `reload`, `providers/ollama/drain`, …
pub async fn press(gateway: &Gateway, button: &str) -> Answer {
    post_json(&gateway.admin_url(&format!("/admin/{button}")), &json!({})).await
}
