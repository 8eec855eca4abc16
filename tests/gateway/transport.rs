//! What HTTP itself guarantees to clients, whatever they request: connections that stay usable,
//! answers that can be read.
//!
//! The tests send and read bytes, since higher-level clients would hide what is tested.

mod coding;
mod cors;
mod http10;
mod rest;
mod upgrade;

use std::time::Duration;

use crate::client::raw::Raw;
use crate::harness::{Config, Gateway, Provider, spawn_gateway};
use crate::upstream::{Call, Script, Upstream, ollama};

/// Between two bytes that are to arrive one by one.
const GAP: Duration = Duration::from_micros(200);

/// Answers with what it was asked, in two pieces.
fn echo(call: &Call) -> Script {
    let body = call.json();
    let asked = body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
    ollama::reply_with(call, &["echo ", &asked])
}

async fn gateway(upstream: &Upstream) -> Gateway {
    gateway_with(upstream, Config::new()).await
}

/// A gateway with this configuration, in front of one Ollama.
async fn gateway_with(upstream: &Upstream, config: Config) -> Gateway {
    spawn_gateway(config.provider(Provider::ollama(upstream))).await
}

/// Reads an answer in chunks to its last one, takes it away, and returns it.
async fn read_chunked(raw: &mut Raw) -> String {
    raw.read_until("\r\n0\r\n\r\n").await;
    raw.take()
}
