//! The gateway.
pub mod provider;
