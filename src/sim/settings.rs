//! The settings of the simulated Ollama.
//!
//! Owns the defaults: a small server with Ollama's own defaults. Refuses nothing: every value has a
//! meaning, zero included.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::told::Counts;

/// The settings of the simulator. [`SimSettings::default`] is a small server: one slot per model,
/// loads of 1.5 s, 40 tokens a second.
#[derive(Clone, Debug, PartialEq)]
pub struct SimSettings {
    /// The address on which it listens; port 0 picks a free port. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// The calls that each loaded model runs at one time (`OLLAMA_NUM_PARALLEL`); embedding models
    /// and the families that Ollama does not run in parallel always have 1. Default 1; 0 means 1.
    pub slots: u32,
    /// The calls that may wait for a load (`OLLAMA_MAX_QUEUE`), besides the one whose model is
    /// being loaded or waits for memory. Default 512.
    pub max_queue: u32,
    /// The most models in memory at one time (`OLLAMA_MAX_LOADED_MODELS`). Default 3; 0 means 3.
    pub max_loaded_models: u32,
    /// The memory for models in bytes, beside their number: a model loads beside others if it takes
    /// at most four fifths of what they leave. Default `None`: only their number is bounded.
    pub memory: Option<u64>,
    /// How long a load takes, at most a day. Default 1.5 s.
    pub load: Duration,
    /// How long the loads of these models take instead; invalid names are left out. Default none.
    pub loads: Vec<(String, Duration)>,
    /// How long an unload takes to free its memory, at most a day. Default 500 ms.
    pub unload: Duration,
    /// How long a call that has its slot takes to its first token. Default 200 ms.
    pub first_token: Duration,
    /// The tokens a second of one call, after the first token. Default 40; 0 or less means no
    /// pause.
    pub tokens_per_second: f64,
    /// Tokens a second of a prompt that are read before the first token. Default 0: reading takes
    /// no time.
    pub read: f64,
    /// The tokens of conversations that each loaded model keeps in the host's memory
    /// (llama-server's `--cache-ram`), besides those in its slots. Default `None`: nothing is
    /// remembered, not even in slots.
    pub prompt_cache: Option<u64>,
    /// As which server remembered tokens are counted. Default `Counts::OlderOllama`.
    pub counts: Counts,
    /// Another seed gives other answers to the same questions. Default 0.
    pub seed: u64,
    /// The installed models; invalid names are left out. Default `llama3.1`, `llama3.1:70b`,
    /// `mistral`, `codellama`, `qwen3` (which thinks) and `nomic-embed-text`.
    pub models: Vec<String>,
    /// Sizes of models in bytes, by name; those that are not installed are installed. Others have
    /// four and a half bits per parameter.
    pub sizes: Vec<(String, u64)>,
    /// Other names of models, each with the name that the model is installed by.
    pub aliases: Vec<(String, String)>,
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
            memory: None,
            load: Duration::from_millis(1500),
            loads: Vec::new(),
            unload: Duration::from_millis(500),
            first_token: Duration::from_millis(200),
            tokens_per_second: 40.0,
            read: 0.0,
            prompt_cache: None,
            counts: Counts::OlderOllama,
            seed: 0,
            models: models.map(str::to_owned).to_vec(),
            sizes: Vec::new(),
            aliases: Vec::new(),
        }
    }
}

impl SimSettings {
    /// The same settings with this many models: the first of its own, then made-up ones.
    #[must_use]
    pub fn with_models(mut self, count: u32) -> Self {
        let made_up = (1..).map(|number| format!("model-{number}"));
        self.models = self.models.into_iter().chain(made_up).take(count as usize).collect();
        self
    }
}
