//! Servers of OpenAI's API that load the models that they are asked for: how each says what it has
//! loaded, and how it is told to load a model.
//!
//! It owns the shapes of their calls and lists. It never asks a server: which one it is, the list
//! of models tells that is read anyway.
//!
//! The one thing to know: OpenAI's API has no word for any of this, so each server has its own, at
//! paths beside the `/v1` of its address. One whose list tells nothing is not scheduled.

use serde_json::{Map, Value, json};

use super::model_list::{entries, first_text};
use super::{DecodeError, Load, ModelRunner, UpstreamRequest, bearer};
use crate::chat::{Ability, Facts, LoadBy, Memory, Model};

/// A server that loads models. All its paths are below the server's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swapper {
    /// llama.cpp's `llama-server` as a router of several models: `--models-dir`.
    LlamaServer,
    /// llama-swap, which starts and stops a server for each model.
    LlamaSwap,
    /// LM Studio since 0.4, which has calls for loads.
    LmStudio,
    /// LM Studio before that, which loads a model with its first request.
    LmStudioOlder,
}

impl Swapper {
    /// The server that has listed these models at `/v1/models`; `None` if it does not say what it
    /// has loaded.
    pub fn of(list: &[Model]) -> Option<Self> {
        let is_owner = |owner: &str| list.iter().any(|model| model.owner.as_deref() == Some(owner));
        if is_owner("llama-swap") {
            Some(Self::LlamaSwap)
        } else if is_owner("organization_owner") {
            Some(Self::LmStudio)
        } else if is_owner("llamacpp") && list.iter().any(|model| model.memory.is_some()) {
            Some(Self::LlamaServer)
        } else {
            None
        }
    }

    /// The server that it may be instead if it does not have the list of what is loaded.
    pub fn older(self) -> Option<Self> {
        match self {
            Self::LmStudio => Some(Self::LmStudioOlder),
            Self::LlamaServer | Self::LlamaSwap | Self::LmStudioOlder => None,
        }
    }

    /// Builds the call for the list that tells what is loaded.
    pub fn listing(self, api_key: Option<&str>) -> UpstreamRequest {
        let path = match self {
            Self::LlamaServer => "/models",
            Self::LlamaSwap => "/running",
            Self::LmStudio => "/api/v1/models",
            Self::LmStudioOlder => "/api/v0/models",
        };
        UpstreamRequest::get(path, bearer(api_key))
    }

    /// Reads that list. Models that it does not contain are not loaded.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Malformed`] when it is no such list.
    pub fn read(self, body: &[u8]) -> Result<Vec<Model>, DecodeError> {
        let (list, name) = match self {
            Self::LlamaServer | Self::LmStudioOlder => ("data", "id"),
            Self::LlamaSwap => ("running", "model"),
            Self::LmStudio => ("models", "key"),
        };
        let model = |entry: Map<String, Value>| {
            Some(Model {
                name: first_text(&entry, &[name])?.to_owned(),
                facts: facts(&entry),
                aliases: aliases(&entry),
                memory: Some(memory(&entry)?),
                ..Model::default()
            })
        };
        Ok(entries(body, &[list])?.into_iter().filter_map(model).collect())
    }

    /// What is known of the process that runs a model; `None` where the server loads nothing for
    /// it.
    pub fn runner(self, model: &Model) -> Option<ModelRunner> {
        let is_here = model.memory != Some(Memory::Elsewhere);
        is_here.then_some(ModelRunner { by: Self::by(model), slots: None })
    }

    /// How a model is loaded where requests load it.
    pub fn by(model: &Model) -> LoadBy {
        match model.facts.can(Ability::Embedding) {
            Some(true) if model.facts.can(Ability::Completion) != Some(true) => LoadBy::Embedding,
            Some(_) | None => LoadBy::Prompt,
        }
    }

    /// The call that loads a model. Its answer may come before the model is loaded: only the list
    /// tells that it is.
    pub fn load(self, load: Load<'_>) -> UpstreamRequest {
        let Load { model, by, api_key, keep_alive: _ } = load;
        let post = |path: &str, body: &Value| {
            UpstreamRequest::post(path, bearer(api_key), body, Vec::new())
        };
        match (self, by) {
            (Self::LlamaServer, _) => post("/models/load", &json!({"model": model})),
            // Any request to a model starts its server. This is the one that llama-swap itself
            // makes to see whether a server is up.
            (Self::LlamaSwap, _) => UpstreamRequest::get(
                &format!("/upstream/{}/health", in_path(model)),
                bearer(api_key),
            ),
            (Self::LmStudio, _) => post("/api/v1/models/load", &json!({"model": model})),
            // There is no smaller call.
            (Self::LmStudioOlder, LoadBy::Prompt) => {
                let messages = json!([{"role": "user", "content": "."}]);
                let body = json!({"model": model, "messages": messages, "max_tokens": 1});
                post("/api/v0/chat/completions", &body)
            }
            (Self::LmStudioOlder, LoadBy::Embedding) => {
                post("/api/v0/embeddings", &json!({"model": model, "input": "."}))
            }
        }
    }

    /// The calls that unload a model as the list tells of it; none where servers have no such call.
    pub fn unload(self, model: &Model, api_key: Option<&str>) -> Vec<UpstreamRequest> {
        let post = |path: &str, body: &Value| {
            UpstreamRequest::post(path, bearer(api_key), body, Vec::new())
        };
        match self {
            Self::LlamaServer => vec![post("/models/unload", &json!({"model": model.name}))],
            Self::LlamaSwap => {
                vec![post(&format!("/api/models/unload/{}", in_path(&model.name)), &json!({}))]
            }
            Self::LmStudio => {
                let instances = model.aliases.iter();
                let unload = |id| post("/api/v1/models/unload", &json!({"instance_id": id}));
                instances.map(unload).collect()
            }
            Self::LmStudioOlder => Vec::new(),
        }
    }

    /// Whether the server unloads other models when a model that it loads does not fit beside them.
    /// Else the load fails, and the models that should go have to be unloaded for it.
    pub fn makes_room(self) -> bool {
        match self {
            Self::LlamaServer | Self::LlamaSwap | Self::LmStudioOlder => true,
            Self::LmStudio => false,
        }
    }
}

/// Whether a model is in memory, as its entry in a list tells: by llama.cpp's `status`, LM Studio's
/// `loaded_instances`, the `state` of LM Studio and llama-swap, and llama-swap's mark of models
/// that are elsewhere.
pub(super) fn memory(entry: &Map<String, Value>) -> Option<Memory> {
    let peer = entry.get("meta").and_then(|meta| meta.get("llamaswap")?.get("peerID"));
    if peer.is_some() {
        return Some(Memory::Elsewhere);
    }
    if let Some(instances) = entry.get("loaded_instances").and_then(Value::as_array) {
        return Some(if instances.is_empty() { Memory::Unloaded } else { Memory::Loaded });
    }
    let of_status = |name: &str| entry.get("status").and_then(|status| status.get(name));
    let state = of_status("value").or_else(|| entry.get("state"))?.as_str()?;
    Some(match state {
        // A sleeping model holds its place and wakes with the next request.
        "loaded" | "ready" | "sleeping" => Memory::Loaded,
        "loading" | "starting" => Memory::Loading,
        _ if of_status("failed") == Some(&Value::Bool(true)) => Memory::Failed,
        _ => Memory::Unloaded,
    })
}

/// The other names of a model: llama.cpp's `aliases`, and LM Studio's names of what it has loaded.
pub(super) fn aliases(entry: &Map<String, Value>) -> Vec<String> {
    let list = |name: &str| entry.get(name).and_then(Value::as_array).into_iter().flatten();
    let instances = list("loaded_instances").filter_map(|instance| instance.get("id"));
    let names = list("aliases").chain(instances).filter_map(Value::as_str);
    names.map(ToOwned::to_owned).collect()
}

/// The one fact that decides how a model is loaded.
fn facts(entry: &Map<String, Value>) -> Facts {
    let kind = entry.get("type").and_then(Value::as_str);
    let embeds = kind.map(|kind| kind.starts_with("embedding"));
    Facts::default()
        .with(Ability::Embedding, embeds)
        .with(Ability::Completion, embeds.map(|it| !it))
}

/// A model's name as part of a path. Slashes stay: llama-swap looks for names that contain them.
fn in_path(model: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'/');
    percent_encoding::utf8_percent_encode(model, KEPT).to_string()
}

#[cfg(test)]
mod tests;
