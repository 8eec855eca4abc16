//! Loads of models are scheduled: in front of the simulated Ollama, in scaled time.
//!
//! What a reader would get wrong: no time is asserted. What counts is what was loaded, by whom, and
//! who was answered.

mod gateways;
mod hosts;
mod kinds;
mod memory;

use std::time::{Duration, SystemTime};

use llm_gateway::sim::SimSettings;
use serde_json::{Value, json};

use crate::client::{Answer, chat, get, post_json, post_json_with, stream_with, streamed_chat};
use crate::crowd::{answers, count, press, send, snapshot, waiting};
use crate::harness::{Config, Gateway, Key, Provider, Retry, Server, spawn_gateway};
use crate::patience::eventually;
use crate::simulator::Simulator;
use crate::upstream::{Script, Upstream, ollama};

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Three models, of which so many fit.
fn three(room: u32, load: u64) -> Simulator {
    let models = ["m0", "m1", "m2"].map(str::to_owned).to_vec();
    Simulator::start(SimSettings { models, ..settings(room, load) })
}

/// A server of which so many models fit.
fn settings(room: u32, load: u64) -> SimSettings {
    SimSettings {
        slots: 1,
        max_loaded_models: room,
        load: Duration::from_millis(load),
        unload: Duration::from_millis(20),
        first_token: Duration::from_millis(5),
        tokens_per_second: 0.0,
        ..SimSettings::default()
    }
}

async fn in_front_of(simulator: &Simulator, more: impl Fn(Provider) -> Provider) -> Gateway {
    let config = Config::new().provider(more(Provider::new("ollama", "ollama", &simulator.url)));
    spawn_gateway(KEYS.iter().fold(config, |config, key| config.key(Key::new(key)))).await
}

async fn ask(gateway: &Gateway, key: &str, model: &str) -> Answer {
    let key = format!("sk-{key}");
    post_json_with(&gateway.url("/v1/chat"), &[("x-api-key", &key)], &body(model)).await
}

/// A chat with this model.
fn body(model: &str) -> Value {
    let mut body = chat("hi");
    body["model"] = model.into();
    body
}

/// Six keys, two to a model, each asking again as soon as it is answered.
async fn closed_loop(gateway: &Gateway, rounds: usize) {
    let client = async |number: usize| {
        for _ in 0..rounds {
            let answer = ask(gateway, KEYS[number], &format!("m{}", number % 3)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    };
    let clients = (0..KEYS.len()).map(client);
    futures_util::future::join_all(clients).await;
}

#[tokio::test]
async fn several_models_in_turn_are_loaded_a_few_times_and_not_for_every_other_request() {
    let mut loads = Vec::new();
    for scheduling in ["fair", "warm"] {
        let simulator = three(1, 150);
        let gateway = in_front_of(&simulator, |ollama| ollama.scheduling(scheduling)).await;
        closed_loop(&gateway, 12).await;
        let [loaded, aborted] = simulator.counted(["loads", "aborted_loads"]).await;
        assert_eq!(aborted, 0);
        loads.push(loaded);
        gateway.end(72).await;
    }
    let [fair, warm] = loads[..] else { panic!() };
    assert!(warm >= 3 && warm * 3 < fair * 2, "{warm} loads, {fair} without scheduling");
}

#[tokio::test]
async fn models_that_fit_are_loaded_once_each() {
    let simulator = three(3, 50);
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    closed_loop(&gateway, 4).await;
    let [loads, reloads] = simulator.counted(["loads", "reloads"]).await;
    assert_eq!((loads, reloads), (3, 0));
    let metrics = gateway.metrics().await;
    let by = |by| metrics.sum("llm_gateway_model_loads_total", &[("by", by)]);
    assert_eq!((by("gateway"), by("ollama")), (3.0, 0.0));
    let provider = [("provider", "ollama")];
    assert_eq!(metrics.sum("llm_gateway_model_load_seconds_count", &provider), 3.0);
    assert_eq!(metrics.sum("llm_gateway_model_loaded", &[("provider", "ollama")]), 3.0);
    gateway.end(24).await;
}

#[tokio::test]
async fn a_model_that_was_to_go_and_did_not_have_to_stays_as_long_as_the_others() {
    let simulator = three(3, 50);
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    // Whether the third fits beside the others is not known before it was tried.
    for model in ["m0", "m1", "m2"] {
        assert_eq!(ask(&gateway, "a", model).await.status, 200);
    }
    let stay = async || {
        let list = get(&format!("{}/api/ps", simulator.url)).await.json();
        let until = |model: &Value| {
            humantime::parse_rfc3339(model["expires_at"].as_str().unwrap()).unwrap()
        };
        let soon = SystemTime::now() + Duration::from_secs(200);
        list["models"].as_array().unwrap().iter().filter(|model| until(model) > soon).count()
    };
    eventually(|| "all stay".to_owned(), async || (stay().await == 3).then_some(())).await;
    assert_eq!(simulator.counted(["loads", "unloads"]).await, [3, 0]);
    gateway.end(3).await;
}

#[tokio::test]
async fn a_load_that_another_client_caused_is_counted_as_the_server_s() {
    let simulator = three(3, 50);
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    assert_eq!(ask(&gateway, "a", "m0").await.status, 200);
    let direct = json!({ "model": "m1", "prompt": "hi", "stream": false });
    assert_eq!(post_json(&format!("{}/api/generate", simulator.url), &direct).await.status, 200);
    assert_eq!(ask(&gateway, "a", "m2").await.status, 200);
    let metrics = gateway.metrics().await;
    let by = |by| metrics.sum("llm_gateway_model_loads_total", &[("by", by)]);
    assert_eq!((by("gateway"), by("ollama")), (2.0, 1.0));
    assert_eq!(metrics.sum("llm_gateway_model_loaded", &[("provider", "ollama")]), 3.0);
    gateway.end(2).await;
}

#[tokio::test]
async fn operators_see_what_is_loaded_since_when_and_what_comes_next_and_why() {
    let simulator = three(1, 800);
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    assert_eq!(ask(&gateway, "a", "m0").await.status, 200);
    let sent = send(&gateway, &[("x-api-key", "sk-b")], body("m1"));
    loading(&gateway, "m1").await;
    let during = snapshot(&gateway, "ollama").await;
    let next = &during["next_load"];
    assert_eq!((&next["model"], &next["phase"]), (&json!("m1"), &json!("load")), "{next}");
    assert_eq!((&next["leaving"], &next["begins_ms"]), (&json!(["m0"]), &json!(0)), "{next}");
    // Whether both fit is not known before it was tried.
    assert_eq!(next["why"], "untried", "{next}");
    assert!(next["wanted_ms"].is_u64() && next["left_ms"].is_u64(), "{next}");
    assert_eq!(sent.await.unwrap().status, 200);
    let after = snapshot(&gateway, "ollama").await;
    assert!(after.get("next_load").is_none(), "{after}");
    let load = |model: &str| {
        let models = after["models"].as_array().unwrap();
        models.iter().find(|one| one["model"] == model).unwrap()["load"].clone()
    };
    let (gone, here) = (load("m0"), load("m1"));
    assert_eq!((&gone["state"], &here["state"]), (&json!("cold"), &json!("loaded")));
    assert!(gone["since_ms"].is_u64() && here["since_ms"] == here["loaded_ms"], "{gone} {here}");
    assert!(here["size"].as_u64() > Some(0) && here["expires_at"].is_string(), "{here}");
    assert!(gone.get("size").is_none() && gone.get("expires_at").is_none(), "{gone}");
    gateway.end(2).await;
}

#[tokio::test]
async fn a_client_that_leaves_aborts_no_load() {
    let simulator = three(1, 2_000);
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    let leaver = send(&gateway, &[("x-api-key", "sk-a")], body("m1"));
    // It waits for longer than the millisecond in which its time is counted.
    loading_for(&gateway, "m1", 20).await;
    leaver.abort();
    // The model is loaded all the same, and the next clients find it.
    let early = send(&gateway, &[("x-api-key", "sk-b")], body("m1"));
    assert_eq!(early.await.unwrap().status, 200);
    loaded(&gateway, "m1").await;
    assert_eq!(ask(&gateway, "c", "m1").await.status, 200);
    assert_eq!(simulator.counted(["loads", "aborted_loads"]).await, [1, 0]);
    // The access lines tell how much of their time in line the load was.
    let line = |key: &str| {
        let line = gateway.access_lines().into_iter().find(|line| line.fields["caller"] == key);
        let fields = line.unwrap().fields;
        (fields["load_ms"].parse::<u64>(), fields["queue_ms"].parse::<u64>().unwrap())
    };
    for waited in ["a", "b"] {
        let (load, queue) = line(waited);
        assert!(load.clone().is_ok_and(|load| load > 0 && load <= queue), "{load:?} of {queue}");
    }
    assert!(line("c").0.is_err(), "its model was there");
    gateway.end(3).await;
}

#[tokio::test]
async fn the_longest_wait_for_a_slot_does_not_count_the_load() {
    let simulator = three(1, 600);
    let gateway = in_front_of(&simulator, |ollama| ollama.max_queue_wait("200ms")).await;
    assert_eq!(ask(&gateway, "a", "m0").await.status, 200);
    assert_eq!(ask(&gateway, "a", "m1").await.status, 200);
    gateway.end(2).await;
}

#[tokio::test]
async fn a_client_that_cannot_wait_for_the_load_is_told_at_once_and_counts_as_a_wish() {
    let simulator = three(1, 700);
    let gateway = in_front_of(&simulator, |ollama| ollama).await;
    assert_eq!(ask(&gateway, "a", "m0").await.status, 200);
    let headers = [("x-api-key", "sk-b"), ("x-request-timeout-ms", "300")];
    let hasty = post_json_with(&gateway.url("/v1/chat"), &headers, &body("m1")).await;
    assert_eq!((hasty.status, hasty.header("x-gateway-reason")), (503, Some("predicted_wait")));
    assert!(hasty.header("retry-after").is_some());
    let told = hasty.text();
    assert!(told.contains("`m1`") && told.contains(", about 1 s, 0 ahead"), "{told}");
    // No job waits, and the model is loaded for the next request.
    loaded(&gateway, "m1").await;
    assert_eq!(simulator.counted(["loads", "aborted_loads"]).await, [2, 0]);
    assert_eq!(ask(&gateway, "b", "m1").await.status, 200);
    assert_eq!(simulator.counted(["loads"]).await, [2]);
    gateway.end(3).await;
}

#[tokio::test]
async fn a_stream_is_told_of_the_load_that_it_waits_for() {
    let simulator = three(1, 2_500);
    let provider = Provider::new("ollama", "ollama", &simulator.url);
    let early = Server::default().heartbeat_after("50ms");
    let gateway = spawn_gateway(Config::new().server(early).provider(provider)).await;
    let mut streamed = streamed_chat("hi");
    streamed["model"] = "m1".into();
    let mut stream = stream_with(&gateway.url("/v1/chat"), &[], &streamed).await;
    stream.until(": loading `m1`, 0 ahead\n\n").await;
    let rest = stream.rest().await;
    assert!(rest.ended_properly && rest.text().ends_with("data: [DONE]\n\n"), "{}", rest.text());
    gateway.end(1).await;
}

#[tokio::test]
async fn a_crowd_that_waits_for_loads_is_as_large_as_slots_and_line() {
    let simulator = three(1, 300);
    let gateway = in_front_of(&simulator, |ollama| ollama.slots(2).max_queue(3)).await;
    let hi = |number: usize| {
        let key = format!("sk-{}", KEYS[number]);
        send(&gateway, &[("x-api-key", &key)], body("m0"))
    };
    let answers = answers((0..6).map(hi).collect()).await;
    assert_eq!((count(&answers, 200), count(&answers, 503)), (5, 1));
    gateway.end(6).await;
}

#[tokio::test]
async fn a_load_that_fails_is_an_attempt_of_those_who_wait_and_costs_the_other_model_nothing() {
    let upstream = Upstream::spawn_whole(|call| {
        let model = |name: &str| json!({ "name": name, "model": name, "digest": name });
        match call.path.as_str() {
            "/api/tags" => Script::json(200, &json!({ "models": [model("good"), model("bad")] })),
            "/api/ps" => Script::json(200, &json!({ "models": [model("good")] })),
            _ if call.json()["model"] == "bad" => {
                ollama::error(500, "llama runner process has terminated: exit status 2")
            }
            _ => ollama::reply(call),
        }
    });
    let retry = Retry::default().backoff("1ms").max_backoff("2ms");
    let gateway = spawn_gateway(Provider::ollama(&upstream).retry(retry)).await;
    let (bad, good) = (body("bad"), body("good"));
    let failing = send(&gateway, &[], bad);
    for _ in 0..5 {
        let answer = send(&gateway, &[], good.clone()).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let failed = failing.await.unwrap();
    assert_eq!((failed.status, failed.header("x-gateway-attempts")), (502, Some("3")));
    assert!(failed.text().contains("llama runner process has terminated"), "{}", failed.text());
    let calls = upstream.calls_so_far();
    let of_bad = calls.iter().filter(|call| call.method == "POST" && call.json()["model"] == "bad");
    assert!(
        of_bad.clone().all(|call| call.is_load()),
        "nothing was sent to a model that is not there"
    );
    assert_eq!(of_bad.count(), 3);
    gateway.end(6).await;
}

#[tokio::test]
async fn a_job_of_a_provider_that_is_no_longer_configured_still_gets_its_loads() {
    let (goes, stays) = (three(1, 1000), three(1, 1000));
    let provider = |name: &str, simulator: &Simulator| {
        Provider::new(name, "ollama", &simulator.url).default_model("m0").slots(1)
    };
    let stays = Config::new().provider(provider("stays", &stays));
    let gateway = spawn_gateway(stays.clone().provider(provider("goes", &goes))).await;
    let ask = |model: &str| send(&gateway, &[], body(&format!("goes/{model}")));
    let sent = vec![ask("m0"), ask("m1"), ask("m2")];
    // All of them wait for the first load.
    waiting(&gateway, "goes", 3).await;
    gateway.write_config(stays);
    assert_eq!(press(&gateway, "reload").await.status, 200);
    assert_eq!(count(&answers(sent).await, 200), 3);
    assert_eq!(goes.counted(["loads", "aborted_loads"]).await, [3, 0]);
    gateway.end(3).await;
}

#[tokio::test]
async fn a_server_that_does_not_say_what_is_loaded_gets_the_line_s_order() {
    let upstream = Upstream::spawn_whole(|call| match call.path.as_str() {
        "/api/tags" => Script::json(200, &json!({ "models": [{ "name": "m" }, { "name": "n" }] })),
        "/api/ps" => ollama::error(404, "not found"),
        _ => ollama::reply(call),
    });
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    for model in ["m", "n", "m"] {
        let answer = send(&gateway, &[], body(model)).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    assert!(upstream.calls_so_far().iter().all(|call| !call.is_load()));
    gateway.end(3).await;
}

/// Waits until the gateway believes that the model is loaded.
async fn loaded(gateway: &Gateway, model: &str) {
    state(gateway, model, "loaded").await;
}

/// Waits until the model is being loaded.
async fn loading(gateway: &Gateway, model: &str) {
    state(gateway, model, "loading").await;
}

/// Waits until the model has been loading for so many milliseconds.
async fn loading_for(gateway: &Gateway, model: &str, time: u64) {
    eventually(
        || format!("{model} is loading for {time} ms"),
        async || {
            let view = snapshot(gateway, "ollama").await;
            let model = view["models"].as_array()?.iter().find(|one| one["model"] == model)?;
            let load = &model["load"];
            (load["state"] == "loading" && load["since_ms"].as_u64()? >= time).then_some(())
        },
    )
    .await;
}

async fn state(gateway: &Gateway, model: &str, state: &str) {
    eventually(
        || format!("{model} is {state}"),
        async || {
            let view = snapshot(gateway, "ollama").await;
            let models = view["models"].as_array()?;
            let model = models.iter().find(|one| one["model"] == model)?;
            (model["load"]["state"] == state).then_some(())
        },
    )
    .await;
}
