//! Models that are loaded and unloaded because the operator wants it.

use llm_gateway::sim::SimSettings;
use serde_json::{Value, json};

use crate::client::{Answer, post_json};
use crate::harness::{Config, Gateway, Provider, Signal, spawn_gateway};
use crate::patience::eventually;
use crate::simulator::{Simulator, quick};

fn with_models(models: &[&str], most: u32) -> Simulator {
    let models = models.iter().map(|model| (*model).to_owned()).collect();
    Simulator::start(SimSettings { models, max_loaded_models: most, ..quick() })
}

fn in_front_of(simulator: &Simulator) -> Provider {
    Provider::new("ollama", "ollama", &simulator.url)
}

async fn wish(gateway: &Gateway, provider: &str, model: &str, what: &str) -> (u16, Value) {
    let path = format!("/admin/providers/{provider}/models/{model}/{what}");
    let Answer { status, body, .. } = post_json(&gateway.admin_url(&path), &json!({})).await;
    (status, serde_json::from_slice(&body).unwrap())
}

/// The names of the models that are loaded, in order.
async fn loaded(simulator: &Simulator) -> Vec<String> {
    let mut names: Vec<String> =
        simulator.loaded().await.into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_operator_has_a_model_loaded_and_unloaded() {
    let name = "library.example:5000/team/qwen3:8b";
    let simulator = with_models(&["llama3.1", name, "nomic-embed-text"], 3);
    let settings = toml::toml! { "*" = { num_ctx = 2048 } };
    let gateway = spawn_gateway(in_front_of(&simulator).model_settings(settings)).await;
    for model in [name, "nomic-embed-text", name] {
        let (status, said) = wish(&gateway, "ollama", model, "load").await;
        assert_eq!(
            (status, &said["status"], &said["model"]),
            (200, &json!("loaded"), &json!(model))
        );
        assert!(said["took_ms"].is_u64(), "{said}");
    }
    assert_eq!(loaded(&simulator).await, [name, "nomic-embed-text:latest"]);
    assert_eq!(simulator.counted(["loads", "reloads"]).await, [2, 0]);
    let body = json!({"model": name, "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(post_json(&gateway.url("/v1/chat/completions"), &body).await.status, 200);
    for _ in 0..2 {
        let (status, said) = wish(&gateway, "ollama", name, "unload").await;
        assert_eq!((status, &said["status"]), (200, &json!("unloaded")), "{said}");
    }
    assert_eq!(loaded(&simulator).await, ["nomic-embed-text:latest"]);
    assert_eq!(simulator.counted(["loads", "reloads"]).await, [2, 0]);
    gateway.end(1).await;
}

#[tokio::test]
async fn what_cannot_be_loaded_is_said() {
    let simulator = with_models(&["llama3.1"], 3);
    let other = Provider::default().name("fair").backend("ollama").scheduling("fair");
    let config = Config::new().provider(in_front_of(&simulator)).provider(other);
    let gateway = spawn_gateway(config).await;
    for what in ["load", "unload"] {
        for (provider, model, expected, word) in [
            ("nobody", "llama3.1", 404, "no provider is named `nobody`"),
            ("ollama", "llama4", 404, "does not have the model `llama4`"),
            ("fair", "llama3.1", 409, "scheduling"),
        ] {
            let (status, said) = wish(&gateway, provider, model, what).await;
            let detail = said["detail"].as_str().unwrap();
            assert!(status == expected && detail.contains(word), "{status} {said}");
        }
    }
    assert_eq!(simulator.counted(["loads", "requests"]).await, [0, 0]);
    gateway.end(0).await;
}

#[tokio::test]
async fn models_are_loaded_in_advance_and_after_a_reload() {
    let simulator = with_models(&["a", "b", "c"], 3);
    let gateway = spawn_gateway(in_front_of(&simulator).preload(["b", "missing", "a"])).await;
    gateway.logged("`a` is loaded").await;
    let lines = gateway.log_lines();
    let at = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
    assert!(
        at("`b` is loaded") < at("`missing`: it cannot")
            && at("`missing`: it cannot") < at("`a` is loaded")
    );
    assert_eq!(loaded(&simulator).await, ["a:latest", "b:latest"]);
    gateway.write_config(in_front_of(&simulator).preload(["b", "c"]));
    gateway.signal(Signal::Hup);
    gateway.logged("`c` is loaded").await;
    assert_eq!(loaded(&simulator).await, ["a:latest", "b:latest", "c:latest"]);
    assert_eq!(simulator.counted(["loads", "unloads"]).await, [3, 0]);
    gateway.end(0).await;
}

#[tokio::test]
async fn models_that_are_loaded_in_advance_do_not_take_each_other_s_place() {
    let simulator = with_models(&["a", "b", "c"], 1);
    let gateway = spawn_gateway(in_front_of(&simulator).preload(["a", "b", "c"])).await;
    gateway.logged("`b` does not fit beside").await;
    let is_back = async || (loaded(&simulator).await == ["a:latest"]).then_some(());
    eventually(|| "the first one again".to_owned(), is_back).await;
    assert!(!gateway.log_lines().iter().any(|line| line.contains("`c`")));
    gateway.end(0).await;
}
