//! The gateway.

pub mod admin;
pub mod app;
pub mod backend;
pub mod chat;
pub mod config;
pub mod dialect;
pub mod http;
pub mod job;
pub mod policy;
pub mod provider;
pub mod router;
pub mod secret;
pub mod sim;
pub mod telemetry;
pub mod units;
pub mod wire;
