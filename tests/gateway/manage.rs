//! Models installed and removed through the gateway, by keys that may.

mod files;

use llm_gateway::policy::{DataPolicy, Trust};
use serde_json::{Value, json};

use crate::client::raw::{Raw, post_bytes};
use crate::client::{Answer, get, post_json_with, send, send_stream};
use crate::harness::{Config, Gateway, Key, Provider, Rate, Timeouts, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Call, Gate, Script, Upstream};

/// The header of the key that may manage models.
const ADMIN: (&str, &str) = ("x-api-key", "k-admin");
const JSON: (&str, &str) = ("content-type", "application/json");

fn with_keys() -> Config {
    let manager = |name: &str| Key::new(name).key(format!("k-{name}")).manage_models(true);
    Config::new()
        .key(manager("admin"))
        .key(Key::new("user").key("k-user"))
        .key(manager("team").models(["team-*"]))
        .key(manager("near").data_policy(DataPolicy::Local))
}

/// An Ollama with these models that does whatever it is told.
fn ollama(models: &'static [&'static str]) -> Upstream {
    Upstream::spawn_whole(move |call| answers(models, call))
}

fn answers(models: &[&str], call: &Call) -> Script {
    match call.path.as_str() {
        "/api/tags" => {
            let list: Vec<Value> =
                models.iter().map(|name| json!({"name": name, "model": name})).collect();
            Script::json(200, &json!({"models": list}))
        }
        "/api/pull" | "/api/push" | "/api/create" => Script::status(200)
            .header("content-type", "application/x-ndjson")
            .chunked()
            .pieces(["{\"status\":\"pulling\"}\n", "{\"status\":\"success\"}\n"]),
        _ => Script::status(200),
    }
}

fn calls(upstream: &Upstream) -> Vec<Call> {
    let mut calls = upstream.calls_so_far();
    calls.retain(|call| call.path != "/api/tags");
    calls
}

async fn gateway(upstream: &Upstream) -> Gateway {
    spawn_gateway(with_keys().provider(Provider::ollama(upstream))).await
}

async fn manage(gateway: &Gateway, key: &str, path: &str, body: Value) -> Answer {
    post_json_with(&gateway.url(path), &[("x-api-key", key)], &body).await
}

#[tokio::test]
async fn a_key_that_may_manage_models_reaches_every_path_of_management() {
    let upstream = ollama(&["llama3.1:latest"]);
    let gateway = gateway(&upstream).await;
    let requests = [
        ("POST", "/api/pull", r#"{ "model":"new", "insecure":true,"stream":true }"#),
        ("POST", "/api/push", r#"{"model":"team/new"}"#),
        ("POST", "/api/create", r#"{"model":"mine","from":"llama3.1","system":"x"}"#),
        ("POST", "/api/copy", r#"{"source":"llama3.1","destination":"other"}"#),
        ("DELETE", "/api/delete", r#"{"model":"llama3.1"}"#),
        ("HEAD", "/api/blobs/sha256:00ff", ""),
        ("POST", "/api/blobs/sha256:00ff", "GGUF\0"),
    ];
    for (method, path, body) in requests {
        let answer = send(method, &gateway.url(path), &[ADMIN, JSON], body).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("x-gateway-provider"), Some("ollama"), "{path}");
    }
    let calls = calls(&upstream);
    for (call, (method, path, body)) in calls.iter().zip(requests) {
        assert_eq!((&*call.method, &*call.path, &call.body[..]), (method, path, body.as_bytes()));
        assert!(!call.head.contains("k-admin"), "{}", call.head);
    }
    gateway.settled().await;
    gateway.adds_up(7).await;
    let line = gateway.access_lines().remove(0);
    for (name, value) in [("dialect", "manage"), ("caller", "admin"), ("model", "new")] {
        assert_eq!(line.fields[name], value);
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("llm_gateway_requests_total", &[("dialect", "manage")]), 7.0);
    assert_eq!(metrics.sum("llm_gateway_upstream_attempts_total", &[("outcome", "ok")]), 7.0);
    // It takes no slot, so that no gate decided anything.
    assert_eq!(metrics.sum("llm_gateway_admissions_total", &[]), 0.0);
    gateway.end(7).await;
}

#[tokio::test]
async fn everybody_else_is_refused_and_told_who_can() {
    let upstream = ollama(&[]);
    let gateway = gateway(&upstream).await;
    let told = manage(&gateway, "k-user", "/api/pull", json!({"model": "nosuch"})).await;
    assert_eq!(told.status, 403);
    let told = told.text();
    for words in
        ["no provider here has the model `nosuch`", "whoever runs `ollama`", "manage_models"]
    {
        assert!(told.contains(words), "{told}");
    }
    for (method, path) in [("HEAD", "/api/blobs/sha256:0"), ("DELETE", "/api/delete")] {
        let answer = send(method, &gateway.url(path), &[("x-api-key", "k-user")], "").await;
        assert_eq!(answer.status, 403, "{path}");
    }
    assert_eq!(manage(&gateway, "k-none", "/api/pull", json!({"model": "a"})).await.status, 401);
    // These are no models.
    for path in ["/api/me", "/api/signout", "/api/experimental/x", "/api/blobs/a/b"] {
        assert_eq!(send("POST", &gateway.url(path), &[ADMIN], "{}").await.status, 403, "{path}");
    }
    for (method, path, allow) in
        [("GET", "/api/pull", "POST"), ("PUT", "/api/blobs/sha256:0", "HEAD, POST")]
    {
        let answer = send(method, &gateway.url(path), &[ADMIN], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{path}");
    }
    for body in ["", "[]", "{}", r#"{"model":"a","Model":"b"}"#] {
        let answer = send("POST", &gateway.url("/api/pull"), &[ADMIN, JSON], body).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    assert!(calls(&upstream).is_empty());
    gateway.end(14).await;
}

#[tokio::test]
async fn progress_arrives_as_it_is_made_without_a_slot() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn_whole(move |call| match call.path.as_str() {
        "/api/pull" => Script::status(200)
            .header("content-type", "application/x-ndjson")
            .chunked()
            .piece("{\"status\":\"pulling\"}\n")
            .hold(&held)
            .piece("{\"status\":\"success\"}\n"),
        "/api/chat" => crate::upstream::ollama::reply(call),
        _ => answers(&[], call),
    });
    let timeouts = Timeouts::default().total("2s").idle("1s");
    let provider = Provider::ollama(&upstream).slots(1).max_queue(0).timeouts(timeouts);
    let gateway = spawn_gateway(with_keys().provider(provider)).await;
    let url = gateway.url("/api/pull");
    let mut pull = send_stream("POST", &url, &[ADMIN, JSON], r#"{"model":"m"}"#).await;
    assert_eq!(pull.header("content-type"), Some("application/x-ndjson"));
    pull.until("pulling").await;
    // The only slot is free for those who ask.
    let chat =
        json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": false});
    assert_eq!(manage(&gateway, "k-user", "/api/chat", chat).await.status, 200);
    gate.open();
    let rest = pull.rest().await;
    assert!(rest.ended_properly && rest.text() == "{\"status\":\"success\"}\n", "{rest:?}");
    gateway.end(2).await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_installation() {
    let upstream = Upstream::spawn_whole(|call| match call.path.as_str() {
        "/api/pull" => Script::status(200).chunked().piece("{\"status\":\"pulling\"}\n").stall(),
        _ => answers(&[], call),
    });
    let gateway = gateway(&upstream).await;
    for leave in [Raw::fin, Raw::rst] {
        let mut client = Raw::connect(gateway.address()).await;
        client.send(&post_bytes("/api/pull", &[ADMIN], &json!({"model": "m"}))).await;
        client.read_until("pulling").await;
        let call = calls(&upstream).pop().unwrap();
        leave(client);
        assert!(!upstream.left(call.number).await.answered);
    }
    gateway.adds_up(2).await;
    assert!(gateway.access_lines().iter().all(|line| line.outcome == "cancelled"));
    gateway.end(2).await;
}

#[tokio::test]
async fn an_installation_that_breaks_off_says_so_in_its_own_words() {
    let upstream = Upstream::spawn_whole(|call| match call.path.as_str() {
        "/api/pull" => Script::status(200)
            .header("content-type", "application/x-ndjson")
            .chunked()
            .pieces(["{\"status\":\"pulling\"}\n", "x"])
            .cut_at(21),
        "/api/push" => Script::json(401, &json!({"error": "you need to be signed in"})),
        "/api/create" => Script::json(400, &json!({"error": "invalid model name"})),
        "/api/delete" => Script::json(404, &json!({"error": "model 'x' not found"})),
        "/api/copy" => Script::json(500, &json!({"error": "disk is full"})),
        _ => answers(&[], call),
    });
    let gateway = gateway(&upstream).await;
    let url = gateway.url("/api/pull");
    let pull = send_stream("POST", &url, &[ADMIN, JSON], r#"{"model":"m"}"#).await.rest().await;
    assert!(!pull.ended_properly);
    let text = pull.text();
    let last = text.lines().last().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert!(error["error"].as_str().unwrap().contains("cut off"), "{text}");
    for (method, path, status, words) in [
        ("POST", "/api/create", 400, "invalid model name"),
        ("DELETE", "/api/delete", 404, "model 'x' not found"),
        ("POST", "/api/copy", 502, "disk is full"),
    ] {
        let body = r#"{"model":"x"}"#;
        let answer = send(method, &gateway.url(path), &[ADMIN, JSON], body).await;
        assert_eq!(answer.status, status, "{path} {}", answer.text());
        assert!(answer.json()["error"].as_str().unwrap().contains(words), "{}", answer.text());
    }
    assert_ne!(manage(&gateway, "k-admin", "/api/push", json!({"model": "x"})).await.status, 200);
    // Each was tried once: it may have done what it was asked.
    assert_eq!(calls(&upstream).iter().filter(|call| call.path == "/api/copy").count(), 1);
    // None of that says anything about the models that are there.
    let snapshot = gateway.providers().await.to_string();
    assert!(snapshot.contains(r#""breaker":{"state":"closed""#), "{snapshot}");
    gateway.end(5).await;
}

#[tokio::test]
async fn a_new_model_is_listed_at_once_and_a_removed_one_no_more() {
    let installed = std::sync::Arc::new(parking_lot::Mutex::new(vec!["old:latest".to_owned()]));
    let there = installed.clone();
    let upstream = Upstream::spawn_whole(move |call| {
        let mut there = there.lock();
        match call.path.as_str() {
            "/api/pull" => there.push("new:latest".to_owned()),
            "/api/delete" => there.retain(|name| name != "old:latest"),
            _ => {}
        }
        let list: Vec<Value> =
            there.iter().map(|name| json!({"name": name, "model": name})).collect();
        match call.path.as_str() {
            "/api/tags" => Script::json(200, &json!({"models": list})),
            _ => answers(&[], call),
        }
    });
    let gateway = gateway(&upstream).await;
    let listed = async || {
        let answer = send("GET", &gateway.url("/api/tags"), &[ADMIN], "").await;
        let models = answer.json()["models"].as_array().unwrap().clone();
        let mut names: Vec<String> =
            models.iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(listed().await, ["old:latest"]);
    assert_eq!(manage(&gateway, "k-admin", "/api/pull", json!({"model": "new"})).await.status, 200);
    assert_eq!(listed().await, ["new:latest", "old:latest"]);
    let removed = r#"{"model":"old"}"#;
    assert_eq!(
        send("DELETE", &gateway.url("/api/delete"), &[ADMIN, JSON], removed).await.status,
        200
    );
    assert_eq!(listed().await, ["new:latest"]);
    assert_eq!(installed.lock().len(), 1);
    gateway.end(5).await;
}

#[tokio::test]
async fn the_ollama_that_has_the_model_is_asked_or_the_one_that_is_named() {
    let (one, two) = (ollama(&["a:latest"]), ollama(&["b:latest", "team-b:latest"]));
    let far = ollama(&[]);
    let second = Key::new("second").key("k-second").manage_models(true).providers(["two"]);
    let config = with_keys()
        .key(second)
        .provider(Provider::new("chats", "openai", "http://127.0.0.1:1/v1"))
        .provider(Provider::ollama(&one).name("one"))
        .provider(Provider::ollama(&two).name("two"))
        .provider(Provider::ollama(&far).name("far").trust(Trust::Cloud).models(["far-*"]));
    let gateway = spawn_gateway(config).await;
    let asked = async |key: &'static str, provider: Option<&str>, model: &str| {
        let mut headers = vec![("x-api-key", key), JSON];
        headers.extend(provider.map(|name| ("x-gateway-provider", name)));
        let body = json!({"model": model}).to_string();
        let answer = send("POST", &gateway.url("/api/pull"), &headers, body).await;
        (answer.status, answer.header("x-gateway-provider").unwrap_or_default().to_owned())
    };
    let at = |name: &str| (200, name.to_owned());
    assert_eq!(asked("k-admin", None, "a").await, at("one"));
    assert_eq!(asked("k-admin", None, "b").await, at("two"));
    assert_eq!(asked("k-admin", None, "new").await, at("one"));
    assert_eq!(asked("k-admin", Some("two"), "a").await, at("two"));
    assert_eq!(asked("k-admin", Some("far"), "far-1").await, at("far"));
    assert_eq!(asked("k-admin", Some("chats"), "a").await.0, 400);
    assert_eq!(asked("k-admin", Some("nobody"), "a").await.0, 400);
    // A key's scope: its providers, its models, its data.
    assert_eq!(asked("k-second", None, "new").await, at("two"));
    assert_eq!(asked("k-second", Some("one"), "new").await.0, 403);
    assert_eq!(asked("k-team", None, "team-a").await, at("one"));
    assert_eq!(asked("k-team", None, "team-b").await, at("two"));
    assert_eq!(asked("k-team", None, "a").await.0, 403);
    assert_eq!(asked("k-near", Some("far"), "far-1").await.0, 503);
    assert_eq!(asked("k-near", None, "big:120b-cloud").await.0, 503);
    for (path, body) in [
        ("/api/create", json!({"model": "team-c", "from": "a"})),
        ("/api/copy", json!({"source": "team-b", "destination": "a"})),
        ("/api/copy", json!({"source": "b", "destination": "team-x"})),
    ] {
        assert_eq!(manage(&gateway, "k-team", path, body.clone()).await.status, 403, "{body}");
    }
    // A file is no model yet.
    let file =
        send("HEAD", &gateway.url("/api/blobs/sha256:0"), &[("x-api-key", "k-team")], "").await;
    assert_eq!((file.status, file.header("x-gateway-provider")), (200, Some("one")));
    gateway.end(18).await;
}

#[tokio::test]
async fn limits_of_the_key_hold_for_what_it_manages() {
    let upstream = ollama(&[]);
    let key = Key::new("a").key("k-a").manage_models(true).rate(Rate::of(1, 0.001));
    let config = Config::new().key(key).provider(Provider::ollama(&upstream));
    let gateway = spawn_gateway(config).await;
    let pull = async || manage(&gateway, "k-a", "/api/pull", json!({"model": "m"})).await;
    assert_eq!(pull().await.status, 200);
    let refused = pull().await;
    assert_eq!((refused.status, calls(&upstream).len()), (429, 1));
    assert!(refused.header("retry-after").is_some());
    eventually(
        || "the gateway answers".to_owned(),
        async || (get(&gateway.url("/livez")).await.status == 200).then_some(()),
    )
    .await;
    gateway.end(2).await;
}
