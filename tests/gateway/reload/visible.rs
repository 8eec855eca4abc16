//! What operators see of a refused configuration, and of one that changes less than its file.

use std::fs;

use serde_json::Value;

use super::{EVERY_WAY, REFUSED, TAKEN, Told, reload, started, times, whole};
use crate::client::get;
use crate::crowd::press;
use crate::harness::{Gateway, Metrics, Provider, spawn_gateway_with};
use crate::upstream::Upstream;

const SUCCESSFUL: &str = "llm_gateway_config_last_reload_successful";
const TIMESTAMP: &str = "llm_gateway_config_last_reload_timestamp_seconds";

async fn ready(gateway: &Gateway) -> Value {
    let ready = get(&gateway.url("/readyz")).await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    ready.json()
}

fn when(metrics: &Metrics) -> f64 {
    metrics.sum(TIMESTAMP, &[])
}

#[tokio::test]
async fn a_refused_configuration_is_reported_everywhere_until_it_is_corrected() {
    let upstream = Upstream::ollama();
    let text = whole(&upstream);
    let gateway = started("gateway.toml", &text).await;
    let started_at = when(&gateway.metrics().await);
    assert!(started_at > 1.7e9, "{started_at}");
    assert_eq!(gateway.metrics().await.sum(SUCCESSFUL, &[]), 1.0);
    let mut console = crate::client::open(&gateway.admin_url("/admin/events"), &[]).await;
    let first = console.until("\n\n").await;
    assert!(first.contains("\"configuration\":{\"reads\":1,"), "{first}");
    let file = gateway.config_file();
    for told in EVERY_WAY {
        reload(&gateway, told, REFUSED, || fs::write(&file, "").unwrap()).await;
        let metrics = gateway.metrics().await;
        assert!(metrics.has(SUCCESSFUL, &[]) && metrics.sum(SUCCESSFUL, &[]) == 0.0, "{told:?}");
        assert!(when(&metrics) >= started_at);
        let detail = serde_json::json!({"status": "ok", "configuration": "refused"});
        assert_eq!(ready(&gateway).await, detail);
        let seen = console.until("event: configuration").await + &console.until("\n\n").await;
        assert!(seen.contains("gateway.toml: says nothing any more"), "{seen}");
        reload(&gateway, told, TAKEN, || fs::write(&file, &text).unwrap()).await;
        assert_eq!(gateway.metrics().await.sum(SUCCESSFUL, &[]), 1.0);
        assert_eq!(ready(&gateway).await, serde_json::json!({"status": "ok"}));
        let seen = console.until("event: configuration").await + &console.until("\n\n").await;
        assert!(seen.contains("\"problems\":[]"), "{seen}");
    }
    drop(console);
    gateway.end(0).await;
}

#[tokio::test]
async fn the_same_content_is_reported_once_in_the_log_and_every_time_in_the_answer() {
    let upstream = Upstream::ollama();
    let text = whole(&upstream);
    let gateway = started("gateway.toml", &text).await;
    let file = gateway.config_file();
    let bad = format!("{text}[server2]\n[cache]\nttl = 'long'\n");
    let problems = ["server2: unknown key; did you mean `server`?", "cache.ttl: "];
    fs::write(&file, &bad).unwrap();
    for number in 1..=3_u64 {
        let refused = press(&gateway, "reload").await;
        let told = refused.json();
        assert_eq!((refused.status, told["problems"].as_array().unwrap().len()), (422, 2));
        assert_eq!(told["reads"], number + 1);
        for problem in problems {
            assert!(told["problems"].to_string().contains(problem), "{told}");
            assert_eq!(times(&gateway, problem), 1, "{number}: {:#?}", gateway.log_lines());
        }
    }
    assert_eq!(times(&gateway, REFUSED), 1);
    // Other content is reported again, with the same problems.
    fs::write(&file, format!("{bad}# hm\n")).unwrap();
    assert_eq!(press(&gateway, "reload").await.status, 422);
    assert_eq!(times(&gateway, REFUSED), 2);
    // So is the same content after it was corrected.
    for text in [&text, &format!("{bad}# hm\n")] {
        fs::write(&file, text).unwrap();
        press(&gateway, "reload").await;
    }
    assert_eq!(times(&gateway, REFUSED), 3);
    gateway.end(0).await;
}

#[tokio::test]
async fn the_answer_and_the_log_name_the_keys_that_the_environment_overrides() {
    let upstream = Upstream::ollama();
    let variable = "LLM_GATEWAY__PROVIDERS__OLLAMA__MAX_CONCURRENCY";
    let limited =
        |limit: usize, queue: usize| Provider::ollama(&upstream).slots(limit).max_queue(queue);
    let gateway = spawn_gateway_with(&limited(2, 9), &[(variable, "4")]).await;
    gateway.write_config(limited(8, 9));
    let answer = press(&gateway, "reload").await.json();
    let overridden = serde_json::json!([
        {"key": "providers.ollama.max_concurrency", "variable": variable}
    ]);
    assert_eq!((&answer["status"], &answer["overridden"]), (&"reloaded".into(), &overridden));
    let line = gateway.logged("providers.ollama.max_concurrency has changed in the file").await;
    assert!(line.contains(variable) && line.contains("WARN"), "{line}");
    let shown = crate::crowd::snapshot(&gateway, "ollama").await;
    assert_eq!((&shown["limit"], &shown["max_queue"]), (&4.into(), &9.into()));
    // Unchanged content is not reported again, however it is read.
    let known = times(&gateway, "has changed in the file");
    reload(&gateway, Told::Nobody, TAKEN, || gateway.write_config(limited(8, 7))).await;
    assert_eq!(times(&gateway, "has changed in the file"), known);
    reload(&gateway, Told::Hangup, TAKEN, || gateway.write_config(limited(6, 7))).await;
    assert_eq!(times(&gateway, "has changed in the file"), known + 1);
    gateway.end(0).await;
}

#[tokio::test]
async fn the_answer_names_what_changes_with_the_next_start_and_what_is_worth_changing() {
    let upstream = Upstream::ollama();
    let text = whole(&upstream);
    let gateway = started("gateway.toml", &text).await;
    let changed =
        text.replace("[server]\n", "[server]\nworkers = 1\n") + "[log]\nformat = 'json'\n";
    fs::write(gateway.config_file(), changed).unwrap();
    let answer = press(&gateway, "reload").await.json();
    assert_eq!(answer["next_start"], serde_json::json!(["server.workers", "log.format"]));
    assert!(
        answer["warnings"].to_string().contains("a key in a file is easily leaked"),
        "{answer}"
    );
    assert!(!answer.to_string().contains("sk-a"), "{answer}");
    gateway.logged("server.workers changes with the next start").await;
    gateway.end(0).await;
}
