//! What the gateway reports about itself.

pub mod settings;
