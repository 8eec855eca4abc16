//! Tests of the whole gateway: the real binary between scripted clients and scripted providers.
//!
//! Everything happens on loopback sockets with ports chosen by the kernel. A test never sleeps in
//! order to wait: it awaits a condition (`upstream.calls(3)`, `gateway.settled()`), and every such
//! wait ends after [`patience::PATIENCE`] with a message that says what did not happen.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`upstream`] | a provider that misbehaves by script and records its calls |
//! | [`client`] | callers: whole answers, streams, and raw sockets that disconnect or are slow |
//! | [`crowd`] | many clients at once, and the moments when they run or wait |
//! | [`harness`] | the gateway's own process: its configuration, addresses, log, metrics and end |
//! | [`simulator`] | the simulated Ollama, as bad at scheduling as the real one |
//! | [`redis`] | a real Redis that can be stopped, frozen and started again |
//! | [`wire`] | connections byte by byte, and a provider whose every byte the test controls |
//! | [`ledger`] | what clients and providers saw, joined by request id, and the invariants |
#![cfg(test)]

mod breaker;
mod burst;
mod cache;
mod calls;
mod carry;
#[allow(dead_code, reason = "a vocabulary for tests; no one test needs all its words")]
mod claude_code;
mod client;
mod coalesce;
mod codex;
mod commands;
mod console;
mod counts;
mod crowd;
mod crowding;
mod dialects;
mod documents;
mod embeddings;
mod endings;
mod failures;
mod fallback;
mod fit;
mod gemini;
#[allow(dead_code, reason = "a vocabulary for tests; no one test needs all its words")]
mod harness;
mod health;
mod heartbeats;
mod hostile;
mod isolation;
mod leaving;
mod ledger;
mod limits;
mod line;
mod live;
mod manage;
mod memory;
mod models;
mod native;
mod offsets;
mod operate;
mod panics;
mod patience;
mod pins;
mod priority;
mod raw;
mod reasons;
#[allow(dead_code, reason = "a vocabulary for tests; no one test needs all its words")]
mod redis;
mod reload;
mod remembered;
mod replay;
mod replicas;
mod resume;
mod retry;
mod rolling;
mod secrets;
mod shutdown;
mod simulator;
mod slow;
mod soak;
mod swappers;
mod tls;
mod topologies;
mod tracing;
mod transport;
#[allow(dead_code, reason = "a vocabulary for tests; no one test needs all its words")]
mod upstream;
mod vendors;
mod warm;
mod wire;
mod wishes;
