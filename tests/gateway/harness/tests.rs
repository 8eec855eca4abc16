//! The harness itself, around a stand-in for the gateway: a shell script that announces a scripted
//! upstream as both its listeners.

use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use super::log::{Access, check_once_each};
use super::metrics::Metrics;
use super::{
    Breaker, Config, Gateway, Key, Provider, Rate, Route, Server, Signal, Target, with_listeners,
};
use crate::client::{chat, post_json};
use crate::upstream::{Call, Script, Upstream};

/// Comes before the addresses are announced, so that no signal finds the script unprepared.
const TRAPS: &str = "trap 'exit 0' TERM; trap 'echo again >&2' HUP";

fn admin_of_a_gateway_at_rest(call: &Call) -> Script {
    match call.path.as_str() {
        "/metrics" => Script::status(200).piece(
            "# TYPE llm_gateway_requests_total counter\n\
             llm_gateway_requests_total{dialect=\"native\",outcome=\"ok\"} 1\n\
             llm_gateway_in_flight{provider=\"ollama\"} 0\n",
        ),
        _ => Script::json(200, &json!([{"in_flight": 0, "queued": {}, "free": 4, "limit": 4}])),
    }
}

async fn stand_in(upstream: &Upstream, then: &str) -> Gateway {
    let url = upstream.url();
    let script = format!(
        "{TRAPS}
         echo '[t INFO llm_gateway] gateway listening on {url}' >&2
         echo '[t INFO llm_gateway] admin listening on {url}' >&2
         {then}
         while :; do sleep 0.02; done"
    );
    // A shell cannot trap a signal that it was started without, as under `nohup`.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", "sh", "-c", &script]);
    Gateway::start(command, TempDir::new().unwrap()).await
}

fn access(id: &str, outcome: &str) -> String {
    format!("echo '[t INFO access] ended request_id={id} dialect=native outcome={outcome}' >&2")
}

#[tokio::test]
async fn addresses_are_read_from_the_log() {
    let upstream = Upstream::spawn_whole(admin_of_a_gateway_at_rest);
    let gateway = stand_in(&upstream, &access("a", "ok")).await;
    assert_eq!(gateway.address(), upstream.address());
    assert_eq!(post_json(&gateway.url("/v1/chat"), &chat("hi")).await.status, 200);
    assert!(gateway.resident_bytes() > 0 && gateway.open_descriptors() > 0);
    gateway.end(1).await;
}

#[tokio::test]
async fn signals_arrive_and_the_exit_status_is_seen() {
    let upstream = Upstream::spawn_whole(admin_of_a_gateway_at_rest);
    let mut gateway = stand_in(&upstream, "").await;
    gateway.signal(Signal::Hup);
    assert_eq!(gateway.logged("again").await, "again");
    gateway.signal(Signal::Term);
    assert_eq!(gateway.exited().await.code(), Some(0));
}

#[tokio::test]
#[should_panic(expected = "ended without")]
async fn a_process_that_ends_before_it_listens_fails_the_test() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo 'error: gateway.toml:3: no' >&2; exit 78"]);
    Gateway::start(command, TempDir::new().unwrap()).await;
}

#[tokio::test]
#[should_panic(expected = "did not end its gateway")]
async fn a_gateway_that_is_forgotten_fails_the_test() {
    let upstream = Upstream::spawn_whole(admin_of_a_gateway_at_rest);
    drop(stand_in(&upstream, "").await);
}

#[tokio::test]
#[should_panic(expected = "ended twice")]
async fn a_request_that_ends_twice_fails_the_test() {
    let upstream = Upstream::spawn_whole(|call| match call.path.as_str() {
        "/metrics" => Script::status(200).piece("llm_gateway_requests_total 2\n"),
        _ => admin_of_a_gateway_at_rest(call),
    });
    let twice = format!("{}\n{}", access("a", "ok"), access("a", "timeout"));
    stand_in(&upstream, &twice).await.end(2).await;
}

#[test]
fn access_lines_are_read_in_both_formats() {
    let text = r#"[t INFO x] ended {request_id="r1" dialect=openai outcome=ok status=200}"#;
    let json =
        r#"{"level":"INFO","request_id":"r1","dialect":"openai","outcome":"ok","status":200}"#;
    for line in [text, json] {
        let access = Access::parse(line).unwrap();
        assert_eq!((access.request_id.as_str(), access.outcome.as_str()), ("r1", "ok"));
        assert_eq!(access.fields["status"], "200");
        check_once_each(&[access], 1);
    }
    assert!(Access::parse("attempt ended request_id=r1 outcome=ok").is_none());
}

#[test]
fn samples_are_summed_over_the_labels_left_out() {
    let metrics = Metrics::parse(
        "# HELP a b\na{x=\"1\",y=\"q\\\"}\"} 2\na{x=\"2\",y=\"r\"} 3 1700000000\nb 1.5e3\nc +Inf\n",
    );
    assert_eq!(metrics.sum("a", &[]), 5.0);
    assert_eq!(metrics.sum("a", &[("y", "q\"}")]), 2.0);
    assert_eq!(metrics.sum("b", &[]), 1500.0);
    assert_eq!(metrics.label_values("a", "x"), ["1", "2"]);
    assert!(metrics.has("c", &[]) && !metrics.has("a", &[("x", "3")]));
}

#[test]
fn listeners_are_added_only_where_none_is_named() {
    let config = with_listeners("[server]\ndrain = \"1s\"\n[admin]\nlisten = \"127.0.0.1:9\"\n");
    let config: toml::Table = config.parse().unwrap();
    assert_eq!(config["server"]["listen"].as_str(), Some("127.0.0.1:0"));
    assert_eq!(config["server"]["drain"].as_str(), Some("1s"));
    assert_eq!(config["admin"]["listen"].as_str(), Some("127.0.0.1:9"));
}

#[test]
fn a_configuration_prints_what_was_set_and_nothing_else() {
    let provider = |name: &str| Provider::new(name, "ollama", "http://127.0.0.1:1");
    let config = Config::new()
        .server(Server::default().workers(2))
        .key(Key::new("a").rate(Rate::of(3, 0.5)))
        .provider(provider("second").adaptive(1, 2).no_retries())
        .provider(provider("first").slots(4).breaker(Breaker::default().failures(1)))
        .route(Route::new("x", [Target::new("first", "m")]).fallback([Target::at("second")]))
        .hint("local", ["first"])
        .default_providers(["second", "first"]);
    let written: toml::Table = config.to_string().parse().unwrap();
    let expected = toml::toml! {
        hints = { local = ["first"] }
        default = { providers = ["second", "first"] }

        [server]
        workers = 2

        [[keys]]
        name = "a"
        key = "sk-a"
        rate = { capacity = 3, refill_per_second = 0.5 }

        [providers.second]
        backend = "ollama"
        base_url = "http://127.0.0.1:1"
        default_model = "llama3.1"
        max_concurrency = "auto"
        auto_concurrency = { min = 1, max = 2 }
        retry = { max_retries = 0 }

        [providers.first]
        backend = "ollama"
        base_url = "http://127.0.0.1:1"
        default_model = "llama3.1"
        max_concurrency = 4
        breaker = { failures = 1 }

        [[routes]]
        model = "x"
        targets = [{ provider = "first", model = "m" }]
        fallback = [{ provider = "second" }]
    };
    assert_eq!(written, expected);
    let order: Vec<&String> = written["providers"].as_table().unwrap().keys().collect();
    assert_eq!(order, ["second", "first"]);
}

#[test]
#[should_panic(expected = "`first` is set twice")]
fn two_providers_of_one_name_are_a_mistake_of_the_test() {
    let provider = Provider::new("first", "ollama", "http://127.0.0.1:1");
    let _ = Config::new().provider(provider.clone()).provider(provider).to_string();
}
