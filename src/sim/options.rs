//! The command-line options of `llm-gateway sim`.
//!
//! Owns the options; settings without an option keep the default in [`SimSettings`].

use std::net::SocketAddr;
use std::time::Duration;

use super::settings::SimSettings;

/// The options of `llm-gateway sim`.
#[derive(Debug, Clone, clap::Args)]
pub struct SimOptions {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:11434", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Calls that run at once for a loaded model (OLLAMA_NUM_PARALLEL)
    #[arg(long, default_value_t = 1, value_name = "N")]
    slots: u32,
    /// How long a model takes to load
    #[arg(long, default_value_t = 1500, value_name = "MS")]
    load_ms: u64,
    /// Models that are installed: the usual ones, and more that are made up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    models: Option<u32>,
    /// Models in memory at one time (OLLAMA_MAX_LOADED_MODELS)
    #[arg(long, default_value_t = 3, value_name = "M")]
    loaded: u32,
    /// How long memory takes to come back after a model was unloaded
    #[arg(long, default_value_t = 500, value_name = "MS")]
    unload_ms: u64,
    /// From the turn to the first token
    #[arg(long, default_value_t = 200, value_name = "MS")]
    first_token_ms: u64,
    /// The speed of one call
    #[arg(long, default_value_t = 40.0, value_name = "N")]
    tokens_per_second: f64,
    /// Chooses the texts
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

impl SimOptions {
    /// The settings of the simulator to start.
    #[must_use]
    pub fn settings(&self) -> SimSettings {
        let settings = SimSettings {
            listen: self.listen,
            slots: self.slots,
            max_loaded_models: self.loaded,
            load: Duration::from_millis(self.load_ms),
            unload: Duration::from_millis(self.unload_ms),
            first_token: Duration::from_millis(self.first_token_ms),
            tokens_per_second: self.tokens_per_second,
            seed: self.seed,
            ..SimSettings::default()
        };
        match self.models {
            Some(count) => settings.with_models(count),
            None => settings,
        }
    }
}
