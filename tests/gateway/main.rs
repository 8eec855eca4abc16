//! Tests of the whole gateway: the real binary between scripted clients and scripted providers.
//!
//! Everything happens on loopback sockets with ports chosen by the kernel. A test never sleeps in
//! order to wait: it awaits a condition (`upstream.calls(3)`, `gateway.settled()`), and every such
//! wait ends after [`patience::PATIENCE`] with a message that says what did not happen.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`upstream`] | a provider that misbehaves by script and records what it was asked |
//! | [`client`] | callers: whole answers, streams, and raw sockets that leave or dawdle |
//! | [`harness`] | the gateway's own process: its addresses, log, metrics and end |
#![cfg(test)]

mod burst;
#[allow(dead_code, reason = "a vocabulary for tests; no one test needs all its words")]
mod client;
mod commands;
mod failures;
#[allow(dead_code, reason = "a vocabulary for tests; no one test needs all its words")]
mod harness;
mod leaving;
mod native;
mod patience;
mod shutdown;
#[allow(dead_code, reason = "a vocabulary for tests; no one test needs all its words")]
mod upstream;
