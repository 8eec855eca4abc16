//! The options for which Ollama reloads a model when they change.
//!
//! Owns the list of them and their comparison. A request without a context length asks for the
//! default one, and reloads a model that was loaded with any other.

use serde_json::Value;

use super::field::Fields;
use super::refusal::Refusal;

/// The context length in tokens if a request sets none (Ollama's on a small GPU).
pub const DEFAULT_NUM_CTX: u32 = 4096;
/// Options of the process that runs a model, besides the context length (`needsReload` in
/// `server/sched.go`).
const OF_THE_RUNNER: [&str; 6] =
    ["num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"];

/// The options that a model is loaded with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerOptions {
    /// The context length in tokens.
    pub num_ctx: u32,
    /// Whether a full context may be shifted; a request for embeddings never forbids it.
    pub shift: bool,
    /// The other options that the request sets, by name.
    pub rest: Vec<(&'static str, String)>,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        Self { num_ctx: DEFAULT_NUM_CTX, shift: true, rest: Vec::new() }
    }
}

impl RunnerOptions {
    /// Reads them from a request's `options`; `shift` is a field of the request itself.
    ///
    /// # Errors
    /// Ollama's error for a `shift` that is not a boolean.
    pub fn read(request: &Fields<'_>, options: &Fields<'_>, num_ctx: u32) -> Result<Self, Refusal> {
        let said = |name: &&'static str| {
            let value = options.get(name).filter(|value| !value.is_null())?;
            Some((*name, value.to_string()))
        };
        let rest = OF_THE_RUNNER.iter().filter_map(said).collect();
        let shift = match request.get("shift") {
            None | Some(Value::Null) => true,
            Some(_) => request.boolean("shift", true)?,
        };
        Ok(Self { num_ctx, shift, rest })
    }
}
