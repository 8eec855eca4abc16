//! Context lengths and capabilities that the list of a provider leaves out.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::client::get;
use crate::harness::{Config, Gateway, Provider, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Call, Gate, Script, Upstream};

/// A gateway, and how many requests it got.
struct Asked {
    gateway: Gateway,
    sent: AtomicUsize,
}

impl Asked {
    async fn of(config: Config) -> Self {
        Self { gateway: spawn_gateway(config).await, sent: AtomicUsize::new(0) }
    }

    async fn get(&self, path: &str) -> Value {
        self.sent.fetch_add(1, Ordering::Relaxed);
        get(&self.gateway.url(path)).await.json()
    }

    /// Awaits the moment when the model has this context length.
    async fn described(&self, model: &str, context: u64) {
        let path = format!("/v1/models/{model}");
        let is_so = async || (self.get(&path).await["context_length"] == context).then_some(());
        eventually(|| format!("`{model}` has {context} tokens"), is_so).await;
    }

    async fn end(self) {
        self.gateway.end(self.sent.into_inner()).await;
    }
}

/// How many calls were made for this path.
fn count(upstream: &Upstream, path: &str) -> usize {
    upstream.calls_so_far().iter().filter(|call| call.path == path).count()
}

/// An Ollama whose list names models and digests and nothing else.
fn older(call: &Call) -> Script {
    let entry = |name: &str, digest: &str| json!({ "name": name, "model": name, "digest": digest });
    match call.path.as_str() {
        "/api/tags" => Script::json(
            200,
            &json!({ "models": [entry("a:latest", "1"), entry("copy:latest", "1"), entry("b:latest", "2"),
                { "name": "nameless:latest", "model": "nameless:latest" }] }),
        ),
        "/api/show" => {
            let name = call.json()["model"].as_str().unwrap().to_owned();
            let context = if name.starts_with('b') { 2048 } else { 4096 };
            let info = json!({ "general.architecture": "tiny", "tiny.context_length": context });
            Script::json(
                200,
                &json!({ "capabilities": ["completion", "vision"], "model_info": info }),
            )
        }
        _ => Script::status(404),
    }
}

#[tokio::test]
async fn an_older_ollama_is_asked_once_for_each_digest() {
    let upstream = Upstream::spawn_whole(older);
    let gateway = Asked::of(Config::new().provider(Provider::ollama(&upstream))).await;
    gateway.get("/v1/models").await;
    for (model, context) in [("a", 4096), ("copy", 4096), ("b", 2048)] {
        gateway.described(model, context).await;
    }
    let tags = gateway.get("/v1beta/models/a").await;
    assert_eq!(tags["inputTokenLimit"], 4096, "{tags}");
    assert_eq!(count(&upstream, "/api/show"), 2);
    gateway.end().await;
}

#[tokio::test]
async fn a_list_does_not_wait_for_a_slow_description() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn_whole(move |call| match call.path.as_str() {
        "/api/show" => older(call).head_hold(&held),
        _ => older(call),
    });
    let gateway = Asked::of(Config::new().provider(Provider::ollama(&upstream))).await;
    let list = gateway.get("/v1/models").await;
    assert_eq!(list["data"].as_array().unwrap().len(), 4, "{list}");
    assert!(list["data"][0]["context_length"].is_null(), "{list}");
    gate.open();
    gateway.described("a", 4096).await;
    gateway.end().await;
}

#[tokio::test]
async fn lm_studio_is_recognized_and_asked_for_its_longer_list() {
    let list = |owner: &'static str| {
        Upstream::spawn_whole(move |call| match call.path.as_str() {
            "/v1/models" => {
                let entry = |id: &str| json!({ "id": id, "object": "model", "owned_by": owner });
                Script::json(200, &json!({ "object": "list", "data": [entry("a"), entry("vec")] }))
            }
            "/api/v0/models" => {
                let entry = |id: &str, kind: &str, state: &str| {
                    json!({ "id": id, "object": "model", "type": kind, "publisher": "x",
                        "state": state, "max_context_length": 131_072 })
                };
                let mut loaded = entry("a", "vlm", "loaded");
                loaded["loaded_context_length"] = 8192.into();
                let rest = entry("vec", "embeddings", "not-loaded");
                Script::json(200, &json!({ "object": "list", "data": [loaded, rest] }))
            }
            _ => Script::status(404),
        })
    };
    let (studio, other) = (list("organization_owner"), list("somebody"));
    let config = Config::new()
        .provider(Provider::openai("studio", &studio).models(["*"]))
        .provider(Provider::openai("other", &other).models(["none"]));
    let gateway = Asked::of(config).await;
    gateway.get("/v1/models").await;
    gateway.described("a", 8192).await;
    gateway.described("vec", 131_072).await;
    let vector = gateway.get("/v1beta/models/vec").await;
    assert!(vector["supportedGenerationMethods"].to_string().contains("embedContent"), "{vector}");
    assert_eq!(count(&studio, "/api/v0/models"), 1);
    assert_eq!(count(&other, "/api/v0/models"), 0);
    gateway.end().await;
}
