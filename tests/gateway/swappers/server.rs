//! A scripted server of OpenAI's API that loads models in its own way, with room for one.
//!
//! What a reader would get wrong: it evicts at once, also a model at work. Who sends a request to a
//! model that is not loaded has made it load, and that is counted as a stray.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::Provider;
use crate::upstream::{Call, Script, Upstream, openai};

pub const MODELS: [&str; 3] = ["m0", "m1", "m2"];
const LOAD: Duration = Duration::from_millis(80);

/// What the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    LlamaServer,
    LlamaSwap,
    LmStudio,
    LmStudioOlder,
    /// Its list tells nothing of what is loaded.
    Untold,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Models loaded, for whatever reason.
    pub loads: usize,
    /// Of these, those that an ordinary request has caused.
    pub strays: usize,
    /// Orders to load what was loaded.
    pub again: usize,
    /// Calls that unload a model.
    pub unloads: usize,
}

pub struct Swapping {
    pub upstream: Upstream,
    state: Arc<Mutex<State>>,
}

struct State {
    kind: Kind,
    /// The loaded model, and from when on it answers.
    loaded: Option<(String, Instant)>,
    seen: Seen,
}

impl Swapping {
    pub fn start(kind: Kind) -> Self {
        let state = State { kind, loaded: None, seen: Seen::default() };
        let state = Arc::new(Mutex::new(state));
        let upstream = {
            let state = Arc::clone(&state);
            Upstream::spawn_whole(move |call| state.lock().answer(call))
        };
        Self { upstream, state }
    }

    /// The provider `swaps`, in front of it.
    pub fn provider(&self) -> Provider {
        Provider::openai("swaps", &self.upstream).default_model("m0").slots(4)
    }

    pub fn seen(&self) -> Seen {
        self.state.lock().seen
    }

    /// The model that is loaded or being loaded.
    pub fn loaded(&self) -> Option<String> {
        self.state.lock().loaded.as_ref().map(|(model, _)| model.clone())
    }

    /// How often it was asked at this path.
    pub fn asked(&self, path: &str) -> usize {
        self.upstream.calls_so_far().iter().filter(|call| call.path == path).count()
    }
}

impl State {
    fn answer(&mut self, call: &Call) -> Script {
        let path = call.path.as_str();
        let named = || call.json()["model"].as_str().unwrap_or_default().to_owned();
        match (self.kind, path) {
            (_, "/v1/models") => self.models(),
            (_, "/v1/chat/completions") => self.chat(&named()),
            (Kind::LlamaServer, "/models") => self.models(),
            (Kind::LlamaServer, "/models/load") => self.load_in_background(&named()),
            (Kind::LlamaServer, "/models/unload") => self.unload(&named()),
            (Kind::LlamaSwap, "/running") => self.running(),
            (Kind::LlamaSwap, _) if path.starts_with("/upstream/") => {
                let model = path.trim_start_matches("/upstream/").trim_end_matches("/health");
                if MODELS.contains(&model) {
                    self.load(model);
                }
                // Its own server has no such path.
                Script::json(404, &json!({"detail": "Not Found"})).head_pause(LOAD)
            }
            (Kind::LlamaSwap, _) if path.starts_with("/api/models/unload/") => {
                self.unload(path.trim_start_matches("/api/models/unload/"))
            }
            (Kind::LmStudio, "/api/v1/models") => self.instances(),
            (Kind::LmStudio, "/api/v1/models/load") => self.load_if_there_is_room(&named()),
            (Kind::LmStudio, "/api/v1/models/unload") => {
                let instance = call.json()["instance_id"].as_str().unwrap().to_owned();
                self.unload(instance.trim_end_matches(":1"))
            }
            (Kind::LmStudioOlder, "/api/v0/models") => self.states(),
            (Kind::LmStudioOlder, "/api/v0/chat/completions") => {
                assert_eq!(call.json()["max_tokens"], 1);
                self.load(&named());
                openai::whole(&["."]).head_pause(LOAD)
            }
            (Kind::LmStudio | Kind::LmStudioOlder, _) => Script::json(
                200,
                &json!({"error": format!("Unexpected endpoint or method. ({path})")}),
            ),
            (Kind::LlamaServer | Kind::LlamaSwap | Kind::Untold, _) => {
                openai::error(404, "not_found_error", "File Not Found")
            }
        }
    }

    fn models(&self) -> Script {
        let owner = match self.kind {
            Kind::LlamaServer => "llamacpp",
            Kind::LlamaSwap => "llama-swap",
            Kind::LmStudio | Kind::LmStudioOlder => "organization_owner",
            Kind::Untold => "vllm",
        };
        let entry = |model: &str| {
            let mut entry = json!({"id": model, "object": "model", "owned_by": owner});
            if self.kind == Kind::LlamaServer {
                entry["status"] =
                    json!({"value": self.word(model, ["unloaded", "loading", "loaded"])});
            }
            entry
        };
        Script::json(200, &json!({"object": "list", "data": MODELS.map(entry)}))
    }

    fn running(&self) -> Script {
        let running: Vec<Value> = MODELS
            .into_iter()
            .filter(|model| self.has(model))
            .map(|model| json!({"model": model, "state": self.word(model, ["", "starting", "ready"])}))
            .collect();
        Script::json(200, &json!({ "running": running }))
    }

    fn instances(&self) -> Script {
        let entry = |model: &str| {
            let id = json!({"id": format!("{model}:1")});
            let instances: Vec<Value> = self.has(model).then_some(id).into_iter().collect();
            json!({"type": "llm", "key": model, "loaded_instances": instances})
        };
        Script::json(200, &json!({"models": MODELS.map(entry)}))
    }

    fn states(&self) -> Script {
        let words = ["not-loaded", "loading", "loaded"];
        let entry = |model| json!({"id": model, "type": "llm", "state": self.word(model, words)});
        Script::json(200, &json!({"data": MODELS.map(entry)}))
    }

    fn has(&self, model: &str) -> bool {
        self.loaded.as_ref().is_some_and(|(loaded, _)| loaded == model)
    }

    /// The word for a model that is not loaded, is being loaded, or is loaded.
    fn word(&self, model: &str, [unloaded, loading, loaded]: [&'static str; 3]) -> &'static str {
        match &self.loaded {
            Some((own, ready)) if own == model && Instant::now() >= *ready => loaded,
            Some((own, _)) if own == model => loading,
            Some(_) | None => unloaded,
        }
    }

    /// Loads a model in place of the one that is loaded. Returns whether it was not there.
    fn load(&mut self, model: &str) -> bool {
        if self.has(model) {
            self.seen.again += 1;
            return false;
        }
        self.seen.loads += 1;
        self.loaded = Some((model.to_owned(), Instant::now() + LOAD));
        true
    }

    fn load_in_background(&mut self, model: &str) -> Script {
        match self.load(model) {
            true => Script::json(200, &json!({"success": true})),
            false => openai::error(400, "invalid_request_error", "model is already running"),
        }
    }

    fn load_if_there_is_room(&mut self, model: &str) -> Script {
        if self.loaded.is_some() && !self.has(model) {
            let words = "Model loading was stopped due to insufficient system resources.";
            return openai::error(500, "model_load_failed", words);
        }
        self.load(model);
        Script::json(200, &json!({"model_instance_id": format!("{model}:1")})).head_pause(LOAD)
    }

    fn unload(&mut self, model: &str) -> Script {
        assert!(self.has(model), "{model} is not loaded");
        self.seen.unloads += 1;
        self.loaded = None;
        Script::json(200, &json!({"success": true}))
    }

    fn chat(&mut self, model: &str) -> Script {
        if self.has(model) {
            return openai::whole(&["ok"]).head_pause(Duration::from_millis(5));
        }
        self.load(model);
        self.seen.strays += 1;
        openai::whole(&["ok"]).head_pause(LOAD)
    }
}
