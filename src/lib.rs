//! The gateway.

pub mod admin;
pub mod config;
pub mod http;
pub mod policy;
pub mod provider;
pub mod router;
pub mod secret;
pub mod telemetry;
pub mod units;
