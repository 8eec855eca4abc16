//! How the simulated Ollama is set up.
//!
//! Owns the defaults: a small server as Ollama ships it. Refuses nothing: every value has a
//! meaning, zero included.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What the simulator simulates. [`SimSettings::default`] is a small server: one slot per model,
/// loads of 1.5 s, 40 tokens a second.
#[derive(Clone, Debug, PartialEq)]
pub struct SimSettings {
    /// Where it listens; port 0 picks a free one. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Calls that each loaded model runs at one time (`OLLAMA_NUM_PARALLEL`); embedding models and the families
    /// that Ollama does not run in parallel always have 1. Default 1; 0 means 1.
    pub slots: u32,
    /// Calls that may wait for a load (`OLLAMA_MAX_QUEUE`), besides the one being loaded or
    /// waiting for room. Default 512.
    pub max_queue: u32,
    /// Models in memory at one time (`OLLAMA_MAX_LOADED_MODELS`). Default 3; 0 means 3.
    pub max_loaded_models: u32,
    /// How long a load takes, at most a day. Default 1.5 s.
    pub load: Duration,
    /// How long memory takes to come back after a model was unloaded, at most a day. Default 500 ms.
    pub unload: Duration,
    /// From the slot to the first token. Default 200 ms.
    pub first_token: Duration,
    /// Tokens a second of one call, from the first on. Default 40; 0 or less means no pause.
    pub tokens_per_second: f64,
    /// Another seed gives other answers to the same questions. Default 0.
    pub seed: u64,
    /// The installed models; what is no model name is left out. Default `llama3.1`,
    /// `llama3.1:70b`, `mistral`, `codellama`, `qwen3` (which thinks) and `nomic-embed-text`.
    pub models: Vec<String>,
}

impl Default for SimSettings {
    fn default() -> Self {
        let models =
            ["llama3.1", "llama3.1:70b", "mistral", "codellama", "qwen3", "nomic-embed-text"];
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            slots: 1,
            max_queue: 512,
            max_loaded_models: 3,
            load: Duration::from_millis(1500),
            unload: Duration::from_millis(500),
            first_token: Duration::from_millis(200),
            tokens_per_second: 40.0,
            seed: 0,
            models: models.map(str::to_owned).to_vec(),
        }
    }
}

impl SimSettings {
    /// The same with so many models: the first of those it has, and more that are made up.
    #[must_use]
    pub fn with_models(mut self, count: u32) -> Self {
        let made_up = (1..).map(|number| format!("model-{number}"));
        self.models = self.models.into_iter().chain(made_up).take(count as usize).collect();
        self
    }
}
