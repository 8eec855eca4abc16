//! The limits of each key, at the real binary: which keys are admitted, how often, for how many
//! tokens.

mod budgets;
mod keys;
mod rates;
mod scopes;

use serde_json::Value;

use crate::client::{Answer, chat, get, post_json_with};
use crate::crowd::key;
use crate::harness::{Config, Gateway, Key, Provider, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::Upstream;

/// A gateway before one Ollama, with these keys.
async fn gateway_with<const COUNT: usize>(upstream: &Upstream, keys: [Key; COUNT]) -> Gateway {
    spawn_gateway(config(upstream, keys)).await
}

fn config<const COUNT: usize>(upstream: &Upstream, keys: [Key; COUNT]) -> Config {
    Config::new().keys(keys).provider(Provider::ollama(upstream).slots(100))
}

/// What this key is answered.
async fn ask(gateway: &Gateway, secret: &str) -> Answer {
    post_json_with(&gateway.url("/v1/chat"), &key(secret), &chat("hi")).await
}

/// The account of this key, as operators see it.
pub(super) async fn account(gateway: &Gateway, name: &str) -> Value {
    let all = get(&gateway.admin_url("/admin/keys")).await.json();
    let found = all["keys"].as_array().unwrap().iter().find(|account| account["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {all}")).clone()
}

/// Awaits the moment when the account of this key shows the value at the pointer.
pub(super) async fn account_shows(gateway: &Gateway, name: &str, pointer: &str, value: u64) {
    eventually(
        || format!("the account of {name} shows {value} at {pointer}"),
        async || {
            (account(gateway, name).await.pointer(pointer) == Some(&value.into())).then_some(())
        },
    )
    .await;
}

fn number(answer: &Answer, header: &str) -> u64 {
    let value = answer.header(header).unwrap_or_else(|| panic!("no {header}: {answer:?}"));
    value.parse().unwrap_or_else(|error| panic!("{error}: {header}: {value}"))
}

/// Checks a refusal by a limit and returns its `Retry-After` in seconds.
fn limited(answer: &Answer, words: &str) -> u64 {
    let body = answer.json();
    assert_eq!((answer.status, &body["code"]), (429, &"rate_limited".into()), "{body}");
    assert!(body["detail"].as_str().unwrap().contains(words), "{body}");
    let after = number(answer, "retry-after");
    assert!((1..=60).contains(&after), "{after}");
    after
}
