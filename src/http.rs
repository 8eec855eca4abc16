//! Bytes from and to clients.

pub mod settings;
