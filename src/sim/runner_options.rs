//! The options for which Ollama loads a model again when they differ.
//!
//! Owns the list of them and their comparison. A request that says nothing about the context length is equal only to a
//! model that was loaded by a request that said nothing about it either.

use serde_json::Value;

use super::field::Fields;
use super::refusal::Refusal;

/// Options of the process that runs a model, beside the context length (`needsReload` in `server/sched.go`).
const OF_THE_RUNNER: [&str; 6] =
    ["num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"];

/// What a model is loaded with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerOptions {
    /// The context length that was asked for, in tokens.
    pub num_ctx: Option<u32>,
    /// Whether a full context may be shifted; an embedding never says that it may not.
    pub shift: bool,
    /// The others that were said, by name.
    pub rest: Vec<(&'static str, String)>,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        Self { num_ctx: None, shift: true, rest: Vec::new() }
    }
}

impl RunnerOptions {
    /// Reads them from a request's `options`; `shift` stands beside these.
    ///
    /// # Errors
    /// As Ollama has it for a `shift` that is no boolean.
    pub fn read(
        request: &Fields<'_>,
        options: &Fields<'_>,
        num_ctx: Option<u32>,
    ) -> Result<Self, Refusal> {
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
