//! What is in force and why: after a change at run time, a reload, and a change that waits for the
//! next start.

use serde_json::{Value, json};

use crate::client::{ask, get, patch_json};
use crate::crowd::press;
use crate::harness::{Gateway, Provider, Server, spawn_gateway_with};
use crate::upstream::Upstream;

/// A value of `GET /admin/config` as JSON.
async fn setting(gateway: &Gateway, key: &str) -> Value {
    let url = gateway.admin_url("/admin/config");
    let answer = ask("GET", &url, &[("accept", "application/json")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let all = answer.json();
    let found = all["settings"].as_array().unwrap().iter().find(|one| one["key"] == key);
    found.unwrap_or_else(|| panic!("no {key} in {all}")).clone()
}

/// The line of a key in `GET /admin/config` as TOML.
async fn line(gateway: &Gateway, key: &str) -> String {
    let answer = get(&gateway.admin_url("/admin/config")).await;
    assert_eq!(answer.header("content-type"), Some("application/toml; charset=utf-8"));
    let text = answer.text();
    text.parse::<toml::Table>().expect("TOML");
    let found = text.lines().find(|line| line.starts_with(&format!("{key} = ")));
    found.unwrap_or_else(|| panic!("no {key} in {text}")).to_owned()
}

const SLOTS: &str = "providers.ollama.max_concurrency";
const VARIABLE: &str = "LLM_GATEWAY__PROVIDERS__OLLAMA__MAX_QUEUE";

#[tokio::test]
async fn a_limit_that_was_changed_at_run_time_is_shown_beside_what_the_file_says() {
    let upstream = Upstream::ollama();
    let provider = Provider::ollama(&upstream).slots(2).max_queue(9);
    let gateway = spawn_gateway_with(&provider, &[(VARIABLE, "16")]).await;
    let file = gateway.config_file().display().to_string();
    let before = setting(&gateway, SLOTS).await;
    assert_eq!((&before["value"], &before["source"]), (&json!(2), &json!("file")));
    assert!(before["at"].as_str().unwrap().starts_with(&format!("{file}:")), "{before}");
    let queue = setting(&gateway, "providers.ollama.max_queue").await;
    let expected = json!({"key": "providers.ollama.max_queue", "value": 16, "source": "environment",
        "at": VARIABLE, "file": 9});
    assert_eq!(queue, expected);
    let wait = setting(&gateway, "providers.ollama.max_queue_wait").await;
    assert_eq!((&wait["value"], &wait["source"]), (&json!("30s"), &json!("default")));

    let patch = json!({"max_concurrency": 8, "max_queue": 32});
    let url = gateway.admin_url("/admin/providers/ollama");
    assert_eq!(patch_json(&url, &patch).await.status, 200);
    let after = setting(&gateway, SLOTS).await;
    assert_eq!((&after["value"], &after["source"]), (&json!(8), &json!("patch")));
    assert_eq!(after["configured"], json!(2));
    let queue = line(&gateway, "max_queue").await;
    assert!(
        queue.starts_with(&format!("max_queue = 32  # PATCH; configured: 16 ({VARIABLE}; ")),
        "{queue}"
    );
    assert!(queue.contains(&file) && queue.ends_with(" says 9)"), "{queue}");

    assert_eq!(patch_json(&url, &json!({"max_concurrency": null})).await.status, 200);
    assert_eq!(setting(&gateway, SLOTS).await, before);
    gateway.end(0).await;
}

#[tokio::test]
async fn a_reload_says_what_changed_what_stays_and_what_waits() {
    let upstream = Upstream::ollama();
    let provider = |slots, queue| Provider::ollama(&upstream).slots(slots).max_queue(queue);
    let gateway = spawn_gateway_with(&provider(2, 9), &[]).await;
    let url = gateway.admin_url("/admin/providers/ollama");
    assert_eq!(patch_json(&url, &json!({"max_queue": 32})).await.status, 200);
    let answer = press(&gateway, "reload").await.json();
    assert_eq!(answer["changed"], json!([]));
    gateway.logged("the configuration was read again: nothing has changed").await;

    let text = format!("{}\n[server]\nworkers = 3\n", provider(4, 9));
    gateway.write_config(&text);
    let answer = press(&gateway, "reload").await.json();
    let changed = json!([
        {"key": "server.workers", "change": "changed", "before": 0, "after": 3},
        {"key": SLOTS, "change": "changed", "before": 2, "after": 4},
    ]);
    assert_eq!(answer["changed"], changed);
    let kept = json!([{"key": "providers.ollama.max_queue", "value": 32, "configured": 9}]);
    assert_eq!(answer["patched"], kept);
    assert_eq!(answer["next_start"], json!(["server.workers"]));
    let said = format!("the configuration was read again: server.workers 0 -> 3, {SLOTS} 2 -> 4");
    gateway.logged(&said).await;
    let workers = setting(&gateway, "server.workers").await;
    assert_eq!((&workers["value"], &workers["configured"]), (&json!(0), &json!(3)));
    assert_eq!(workers["next_start"], json!(true));
    let workers = line(&gateway, "workers").await;
    assert!(
        workers.starts_with("workers = 0  # until the next start; configured: 3 ("),
        "{workers}"
    );

    // It waits as long as the file says so, and no longer.
    let both = crate::harness::Config::new()
        .server(Server::default().workers(3usize))
        .provider(provider(4, 9))
        .provider(Provider::new("gpu", "ollama", upstream.url()));
    gateway.write_config(&both);
    let answer = press(&gateway, "reload").await.json();
    assert_eq!(answer["changed"], json!([{"key": "providers.gpu", "change": "added"}]));
    assert_eq!(answer["next_start"], json!(["server.workers"]));
    gateway.write_config(provider(4, 9));
    let answer = press(&gateway, "reload").await.json();
    assert_eq!(answer["next_start"], json!([]));
    assert_eq!(setting(&gateway, "server.workers").await["source"], "default");

    // What is refused is named where it would be in force.
    std::fs::write(gateway.config_file(), "[server]\nworker = 3\n").unwrap();
    assert_eq!(press(&gateway, "reload").await.status, 422);
    let shown = get(&gateway.admin_url("/admin/config")).await.text();
    let refused = "# It is refused as it is now: error: ";
    assert!(
        shown.lines().any(|line| line.starts_with(refused) && line.contains("server.worker")),
        "{shown}"
    );
    gateway.end(0).await;
}
