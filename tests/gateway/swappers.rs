//! Loads are scheduled at servers of OpenAI's API that load the models that they are asked for,
//! where the operator has asked for that.
//!
//! What a reader would get wrong: no time is asserted. What counts is what was loaded, by which
//! call, and who was answered.

mod server;

use serde_json::{Value, json};

use crate::client::{Answer, chat, post_json, post_json_with};
use crate::crowd::send;
use crate::harness::{Config, Gateway, Key, Provider, spawn_gateway};
use server::{Kind, MODELS, Seen, Swapping};

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const ROUNDS: usize = 6;

async fn in_front_of(provider: Provider) -> Gateway {
    let config = Config::new().provider(provider);
    spawn_gateway(KEYS.iter().fold(config, |config, key| config.key(Key::new(key)))).await
}

fn body(model: &str) -> Value {
    let mut body = chat("hi");
    body["model"] = model.into();
    body
}

/// Six keys, two to a model, each asking again as soon as it is answered.
async fn closed_loop(gateway: &Gateway) {
    let client = async |number: usize| {
        for _ in 0..ROUNDS {
            let key = format!("sk-{}", KEYS[number]);
            let headers = [("x-api-key", &*key)];
            let url = gateway.url("/v1/chat");
            let answer = post_json_with(&url, &headers, &body(MODELS[number % 3])).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    };
    futures_util::future::join_all((0..KEYS.len()).map(client)).await;
}

async fn seen_by(kind: Kind, scheduling: &str) -> Seen {
    let server = Swapping::start(kind);
    let gateway = in_front_of(server.provider().scheduling(scheduling)).await;
    closed_loop(&gateway).await;
    let metrics = gateway.metrics().await;
    let by = |by| metrics.sum("llm_gateway_model_loads_total", &[("by", by)]);
    let seen = server.seen();
    let ordered = (seen.loads - seen.strays) as f64;
    assert_eq!((by("gateway"), by("ollama")), (ordered, 0.0), "{kind:?} {scheduling}");
    gateway.end(KEYS.len() * ROUNDS).await;
    seen
}

/// No request meets a model that is not loaded, nothing is loaded twice, and loads are few.
async fn is_scheduled(kind: Kind) -> Seen {
    let fair = seen_by(kind, "fair").await;
    let warm = seen_by(kind, "warm").await;
    assert_eq!((fair.loads, fair.unloads), (fair.strays, 0), "{fair:?}");
    assert_eq!((warm.strays, warm.again), (0, 0), "{warm:?}");
    assert!(warm.loads >= 3 && warm.loads * 3 < fair.loads * 2, "{warm:?} against {fair:?}");
    warm
}

#[tokio::test]
async fn llama_servers_router_loads_as_the_gateway_orders() {
    assert_eq!(is_scheduled(Kind::LlamaServer).await.unloads, 0);
}

#[tokio::test]
async fn llama_swap_loads_as_the_gateway_orders() {
    assert_eq!(is_scheduled(Kind::LlamaSwap).await.unloads, 0);
}

#[tokio::test]
async fn lm_studio_is_told_to_unload_what_should_go() {
    let seen = is_scheduled(Kind::LmStudio).await;
    assert_eq!(seen.unloads, seen.loads - 1);
}

#[tokio::test]
async fn an_older_lm_studio_loads_by_the_smallest_request() {
    assert_eq!(is_scheduled(Kind::LmStudioOlder).await.unloads, 0);
}

#[tokio::test]
async fn a_server_that_tells_nothing_is_served_in_the_line_s_order_and_the_log_says_so() {
    let server = Swapping::start(Kind::Untold);
    let gateway = in_front_of(server.provider().scheduling("warm")).await;
    closed_loop(&gateway).await;
    let words = "scheduling = \"warm\" has no effect, since its server does not say";
    gateway.logged(words).await;
    assert_eq!(gateway.log_lines().iter().filter(|line| line.contains(words)).count(), 1);
    let asked = ["/models", "/running", "/api/v1/models", "/api/v0/models"];
    assert!(asked.iter().all(|path| server.asked(path) == 0));
    let (status, said) = wish(&gateway, "m1", "load").await;
    assert_eq!((status, &said["code"]), (400, &json!("invalid_request")), "{said}");
    gateway.end(KEYS.len() * ROUNDS).await;
}

#[tokio::test]
async fn a_server_whose_loads_are_not_scheduled_is_not_asked_for_them() {
    for kind in [Kind::LlamaServer, Kind::LlamaSwap, Kind::LmStudio] {
        let server = Swapping::start(kind);
        let gateway = in_front_of(server.provider()).await;
        let headers = [("x-api-key", "sk-a")];
        for model in MODELS {
            assert_eq!(send(&gateway, &headers, body(model)).await.unwrap().status, 200);
        }
        let others = server.upstream.calls_so_far();
        let is_usual = |path: &str| ["/v1/models", "/v1/chat/completions"].contains(&path);
        assert!(others.iter().all(|call| is_usual(&call.path)), "{kind:?}");
        gateway.end(3).await;
    }
}

#[tokio::test]
async fn an_operator_has_models_loaded_and_unloaded_where_the_server_can() {
    for (kind, unloads) in [
        (Kind::LlamaServer, true),
        (Kind::LlamaSwap, true),
        (Kind::LmStudio, true),
        (Kind::LmStudioOlder, false),
    ] {
        let server = Swapping::start(kind);
        let gateway = in_front_of(server.provider().scheduling("warm")).await;
        for model in ["m1", "m1", "m2"] {
            let (status, said) = wish(&gateway, model, "load").await;
            assert_eq!((status, &said["status"]), (200, &json!("loaded")), "{kind:?}: {said}");
        }
        assert_eq!(server.loaded().as_deref(), Some("m2"));
        assert_eq!((server.seen().loads, server.seen().again), (2, 0), "{kind:?}");
        let (status, said) = wish(&gateway, "m2", "unload").await;
        assert_eq!(status, if unloads { 200 } else { 400 }, "{kind:?}: {said}");
        assert_eq!(server.loaded().is_none(), unloads, "{kind:?}");
        gateway.end(0).await;
    }
}

async fn wish(gateway: &Gateway, model: &str, what: &str) -> (u16, Value) {
    let path = format!("/admin/providers/swaps/models/{model}/{what}");
    let Answer { status, body, .. } = post_json(&gateway.admin_url(&path), &json!({})).await;
    (status, serde_json::from_slice(&body).unwrap())
}
