//! A model that a server loads, and the process that runs it.

use serde_json::Value;

use crate::chat::LoadBy;

/// A model to be loaded, or to be kept for another time.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// The model's name at the provider.
    pub model: &'a str,
    /// How it is loaded.
    pub by: LoadBy,
    /// The gateway's own key.
    pub api_key: Option<&'a str>,
    /// How long it stays loaded without calls, in the server's own words; `None` leaves that to the
    /// server.
    pub keep_alive: Option<&'a Value>,
}

/// The process that runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelRunner {
    /// How the model is loaded.
    pub by: LoadBy,
    /// How many calls it is given at one time at most, where its kind has a limit of its own.
    pub slots: Option<u32>,
}
