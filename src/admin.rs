//! The admin listener.

pub mod settings;
