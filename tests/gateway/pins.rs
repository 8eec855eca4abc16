//! What models are loaded with, in front of the simulated Ollama: clients that say different things
//! do not have a model loaded anew again and again.

use llm_gateway::sim::SimSettings;
use serde_json::{Value, json};

use crate::client::{Answer, post_json};
use crate::harness::{Gateway, Provider, spawn_gateway};
use crate::simulator::{Simulator, quick};

async fn in_front_of(simulator: &Simulator, more: impl Fn(Provider) -> Provider) -> Gateway {
    spawn_gateway(more(Provider::new("ollama", "ollama", &simulator.url))).await
}

/// A chat in Ollama's own words, with these further fields.
async fn chat(gateway: &Gateway, more: Value) -> Answer {
    asked(gateway, "/api/chat", &json!({"messages": [{"role": "user", "content": "hi"}]}), more)
        .await
}

async fn asked(gateway: &Gateway, path: &str, body: &Value, more: Value) -> Answer {
    let mut body = body.clone();
    body["model"] = json!("llama3.1");
    body["stream"] = json!(false);
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = post_json(&gateway.url(path), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn with_context(context: u32) -> Value {
    json!({"options": {"num_ctx": context, "temperature": 0.5}})
}

#[tokio::test]
async fn clients_with_other_context_lengths_share_the_largest_and_nothing_is_reloaded() {
    let simulator = Simulator::start(quick());
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    let first = chat(&gateway, with_context(4096)).await;
    assert_eq!(first.header("x-gateway-dropped"), None);
    let second = chat(&gateway, with_context(8192)).await;
    assert_eq!(second.header("x-gateway-dropped"), None);
    let [loads, reloads] = simulator.counted(["loads", "reloads"]).await;
    assert_eq!((loads, reloads), (2, 1), "the larger one is loaded once");
    for context in [4096, 8192, 4096, 8192, 4096] {
        let answer = chat(&gateway, with_context(context)).await;
        let dropped = (context != 8192).then_some("options.num_ctx");
        assert_eq!(answer.header("x-gateway-dropped"), dropped);
    }
    // What another API asks, which has no word for it, and the bare loading of the model.
    let body = json!({"model": "llama3.1", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(post_json(&gateway.url("/v1/chat/completions"), &body).await.status, 200);
    let loaded = asked(&gateway, "/api/generate", &json!({}), json!({})).await;
    assert_eq!(loaded.json()["done_reason"], "load");
    assert_eq!(simulator.counted(["loads", "reloads"]).await, [loads, reloads]);
    assert_eq!(simulator.loaded().await, [("llama3.1:latest".to_owned(), 8192)]);
    gateway.end(9).await;
}

#[tokio::test]
async fn clients_at_one_time_with_other_options_are_all_answered_by_one_load_and_one_reload() {
    let simulator = Simulator::start(quick());
    let gateway = in_front_of(&simulator, |ollama| ollama.slots(2)).await;
    let asked = (0..12).map(|number| {
        let options = json!({"num_ctx": 2048 << (number % 3), "num_batch": 64 + number});
        chat(&gateway, json!({"options": options, "keep_alive": number, "shift": number % 2 == 0}))
    });
    let answers = futures_util::future::join_all(asked).await;
    for answer in answers {
        let dropped = answer.header("x-gateway-dropped").unwrap().to_owned();
        for name in ["keep_alive", "shift", "options.num_batch"] {
            assert!(dropped.contains(name), "{name}: {dropped}");
        }
    }
    let [loads, reloads] = simulator.counted(["loads", "reloads"]).await;
    assert!(loads <= 3 && loads == reloads + 1, "{loads} loads, {reloads} reloads");
    assert_eq!(simulator.loaded().await, [("llama3.1:latest".to_owned(), 8192)]);
    gateway.end(12).await;
}

#[tokio::test]
async fn the_operator_s_options_are_in_every_call_from_the_first_load_on() {
    let simulator = Simulator::start(quick());
    let gateway = in_front_of(&simulator, |ollama| {
        let options = toml::toml! { options = { num_thread = 4, top_k = 5 }
        keep_alive = "1h" };
        let of_model = toml::toml! {
            "llama*" = { num_ctx = 6000, max_num_ctx = 5000, keep_alive = "30m" }
        };
        ollama.body(options).model_settings(of_model)
    })
    .await;
    let own = json!({"options": {"num_ctx": 6000, "num_thread": 4}, "keep_alive": "30m"});
    assert_eq!(chat(&gateway, own).await.header("x-gateway-dropped"), None);
    let other = json!({"options": {"num_ctx": 16384, "num_thread": 8, "top_k": 9}});
    let dropped = chat(&gateway, other).await;
    assert_eq!(dropped.header("x-gateway-dropped"), Some("options.num_ctx, options.num_thread"));
    asked(&gateway, "/api/generate", &json!({"prompt": "hi"}), json!({})).await;
    assert_eq!(simulator.counted(["loads", "reloads"]).await, [1, 0]);
    assert_eq!(simulator.loaded().await, [("llama3.1:latest".to_owned(), 6000)]);
    gateway.end(3).await;
}

#[tokio::test]
async fn no_model_is_loaded_with_more_than_the_operator_allows() {
    let simulator = Simulator::start(quick());
    let gateway = in_front_of(&simulator, |ollama| {
        ollama.model_settings(toml::toml! { "llama3.1" = { max_num_ctx = 8192 } })
    })
    .await;
    let answer = chat(&gateway, with_context(1_000_000)).await;
    assert_eq!(answer.header("x-gateway-dropped"), Some("options.num_ctx"));
    chat(&gateway, with_context(2_000_000)).await;
    assert_eq!(simulator.counted(["loads", "reloads"]).await, [1, 0]);
    assert_eq!(simulator.loaded().await, [("llama3.1:latest".to_owned(), 8192)]);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_model_that_is_not_pinned_is_loaded_as_its_clients_say() {
    let simulator = Simulator::start(quick());
    let gateway = in_front_of(&simulator, |ollama| {
        ollama.model_settings(toml::toml! { "*" = { pin = false } })
    })
    .await;
    for context in [4096, 8192, 4096] {
        let answer = chat(&gateway, with_context(context)).await;
        assert_eq!(answer.header("x-gateway-dropped"), None);
    }
    assert_eq!(simulator.loaded().await, [("llama3.1:latest".to_owned(), 4096)]);
    let [reloads, _] = simulator.counted(["reloads", "loads"]).await;
    assert!(reloads >= 2, "{reloads}");
    gateway.end(3).await;
}

#[tokio::test]
async fn a_client_that_unloads_a_model_has_it_unloaded() {
    let simulator = Simulator::start(quick());
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    chat(&gateway, with_context(4096)).await;
    for path in ["/api/generate", "/api/chat"] {
        let unloaded = asked(&gateway, path, &json!({}), json!({"keep_alive": 0})).await;
        assert_eq!(unloaded.json()["done_reason"], "unload");
        assert_eq!(unloaded.header("x-gateway-dropped"), None);
    }
    assert_eq!(simulator.loaded().await, []);
    chat(&gateway, json!({})).await;
    assert_eq!(simulator.counted(["loads", "reloads"]).await, [2, 0]);
    assert_eq!(simulator.loaded().await, [("llama3.1:latest".to_owned(), 4096)]);
    gateway.end(4).await;
}

#[tokio::test]
async fn a_model_with_a_limit_of_its_own_runs_no_more_calls_at_one_time() {
    for scheduling in ["warm", "fair"] {
        let simulator = Simulator::start(SimSettings { slots: 8, ..quick() });
        let gateway = in_front_of(&simulator, |ollama| {
            let of_model = toml::toml! { "llama3.1" = { max_concurrency = 2 } };
            ollama.slots(8).scheduling(scheduling).model_settings(of_model)
        })
        .await;
        // Which names are one model's is known from the first answer on at the latest.
        chat(&gateway, json!({})).await;
        let asked = (0..16).map(|_| chat(&gateway, json!({})));
        futures_util::future::join_all(asked).await;
        let [most, finished] = simulator.counted(["most_running", "finished"]).await;
        assert!(most == 2 && finished >= 17, "{scheduling}: {most} of {finished}");
        let shown = gateway.providers().await;
        assert!(shown.to_string().contains(r#""max_concurrency":2"#), "{shown}");
        gateway.end(17).await;
    }
}
