//! Health checks: which providers are checked, with which requests, and what follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, another_chat, chat, post_json, post_json_with};
use crate::crowd::{shows, snapshot};
use crate::harness::{
    Breaker, Config, Gateway, Health, Key, Provider, Route, Server, Target, Timeouts, spawn_gateway,
};
use crate::patience::eventually;
use crate::upstream::{Call, Script, Upstream, ollama, refusing};

async fn ask(gateway: &Gateway, model: &str) -> Answer {
    let mut body = another_chat();
    body["model"] = model.into();
    post_json(&gateway.url("/v1/chat"), &body).await
}

/// An Ollama that has these models and answers chats with any of them.
fn having(models: &'static [&'static str]) -> Upstream {
    Upstream::spawn_whole(move |call| match call.path.as_str() {
        "/api/tags" => tags(models),
        _ => ollama::reply(call),
    })
}

fn tags(models: &[&str]) -> Script {
    let entry = |name: &&str| json!({ "name": name, "model": name, "size": 1, "digest": "0" });
    Script::json(200, &json!({ "models": models.iter().map(entry).collect::<Vec<_>>() }))
}

fn chats(upstream: &Upstream) -> usize {
    upstream.calls_so_far().iter().filter(|call| call.path == "/api/chat").count()
}

/// The route `chat`: to `first`, else to `second`.
fn chain(first: Provider, second: &Upstream) -> Config {
    Config::new()
        .provider(first.name("first"))
        .provider(Provider::ollama(second).name("second"))
        .route(
            Route::new("chat", [Target::new("first", "m")]).fallback([Target::new("second", "m")]),
        )
        .default_providers(["first"])
}

#[tokio::test]
async fn a_provider_that_fails_its_checks_gets_no_requests_until_one_passes() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let first = Upstream::spawn_whole(move |call| match is_broken.load(Ordering::SeqCst) {
        true => ollama::error(500, "broken"),
        false if call.path == "/api/tags" => tags(&["m"]),
        false => ollama::reply(call),
    });
    let second = Upstream::ollama();
    let provider = Provider::ollama(&first)
        .no_retries()
        .breaker(Breaker::default().failures(5).open("60s").max_open("60s"))
        .health(Health::default().interval("100ms").recovery("100ms").failures(3));
    let gateway = spawn_gateway(chain(provider, &second)).await;
    let line = gateway.logged("fails its health checks and is left alone").await;
    assert!(line.contains("provider=first") && line.contains("status 500"), "{line}");
    shows(&gateway, "first", "health", "failing").await;
    let view = snapshot(&gateway, "first").await;
    assert_eq!(view["breaker"]["state"], "open");
    assert!(view["failed_checks"].as_u64().unwrap() >= 3, "{view}");
    assert!(view["last_error"]["message"].as_str().unwrap().starts_with("health check"), "{view}");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("llm_gateway_healthy", &[("provider", "first")]), 0.0);
    let failed = [("provider", "first"), ("outcome", "failed")];
    assert!(metrics.sum("llm_gateway_health_checks_total", &failed) >= 3.0);
    assert!(!metrics.has("llm_gateway_healthy", &[("provider", "second")]), "it is not asked");
    assert_eq!(ask(&gateway, "chat").await.header("x-gateway-attempts"), Some("1"));
    assert_eq!(chats(&first), 0, "nobody paid for finding out");
    // Long before the breaker's own minute is over.
    broken.store(false, Ordering::SeqCst);
    gateway.logged("passes its health checks").await;
    for _ in 0..3 {
        let answer = ask(&gateway, "chat").await;
        assert_eq!((answer.status, answer.header("x-gateway-provider")), (200, Some("first")));
    }
    shows(&gateway, "first", "health", "passing").await;
    assert_eq!(gateway.metrics().await.sum("llm_gateway_healthy", &[("provider", "first")]), 1.0);
    gateway.end(4).await;
}

#[tokio::test]
async fn checks_carry_no_prompt_and_no_client_s_key_and_are_made_once_for_all_workers() {
    let upstream = having(&["m"]);
    let config = Config::new()
        .server(Server::default().workers(4))
        .key(Key::new("a").key("k-planted"))
        .provider(
            Provider::ollama(&upstream).api_key("own").health(Health::default().interval("200ms")),
        );
    let gateway = spawn_gateway(&config).await;
    let mut body = chat("sesame");
    body["model"] = "m".into();
    for _ in 0..8 {
        let answer =
            post_json_with(&gateway.url("/v1/chat"), &[("x-api-key", "k-planted")], &body).await;
        assert_eq!(answer.status, 200);
    }
    let began = Instant::now();
    let before = upstream.calls_so_far().len();
    upstream.calls(before + 5).await;
    let took = began.elapsed();
    let calls = upstream.calls_so_far();
    let checks = calls.iter().filter(|call| !["/api/chat", "/api/ps"].contains(&&*call.path));
    let checks: Vec<&Call> = checks.filter(|call| !call.is_load()).collect();
    for check in &checks {
        assert_eq!((check.method.as_str(), check.path.as_str()), ("GET", "/api/tags"));
        assert!(!format!("{} {:?}", check.head, check.body).contains("planted"));
        assert!(!String::from_utf8_lossy(&check.body).contains("sesame"));
        assert_eq!(check.header("authorization"), Some("Bearer own"));
    }
    // Five paces of at least 180 ms, less the first part; four workers would need a quarter of
    // that.
    assert!(took >= Duration::from_millis(500), "{took:?}");
    gateway.end(8).await;
}

#[tokio::test]
async fn only_a_provider_with_an_open_breaker_is_checked_unless_configured() {
    let upstream = Upstream::spawn(|call| match call.number {
        0 => ollama::error(500, "broken"),
        _ => ollama::reply(call),
    });
    let provider = Provider::ollama(&upstream)
        .no_retries()
        .breaker(Breaker::default().failures(1).open("60s").max_open("60s"))
        .health(Health::default().recovery("50ms"));
    let gateway = spawn_gateway(provider).await;
    // Nothing is wrong, so no check is made; the second provider of the other test shows the same
    // in its metrics.
    assert_eq!(upstream.questions_so_far().len(), 0);
    assert_eq!(ask(&gateway, "m").await.status, 502);
    let asked = async || (!upstream.questions_so_far().is_empty()).then_some(());
    eventually(|| "it is asked whether it works".to_owned(), asked).await;
    // A live server says little about a broken model: its breaker stays open, for fifteen seconds
    // at most.
    shows(&gateway, "ollama", "health", "passing").await;
    let left = snapshot(&gateway, "ollama").await["models"][0]["breaker"]["left_ms"].clone();
    assert!((1..=15_000).contains(&left.as_u64().unwrap()), "{left}");
    gateway.end(1).await;
}

#[tokio::test]
async fn a_server_that_cannot_list_its_models_is_alive_all_the_same() {
    for status in [401, 403, 404, 405, 429] {
        let upstream = Upstream::spawn_whole(move |call| match call.path.as_str() {
            "/api/chat" => ollama::reply(call),
            _ => Script::status(status),
        });
        let gateway = spawn_gateway(
            Provider::ollama(&upstream).health(Health::default().interval("50ms").failures(1)),
        )
        .await;
        shows(&gateway, "ollama", "health", "passing").await;
        assert_eq!(ask(&gateway, "m").await.status, 200);
        gateway.end(1).await;
    }
}

#[tokio::test]
async fn of_several_machines_only_those_that_have_the_model_are_asked_from_the_first_request_on() {
    let machines = [having(&["small"]), having(&["small", "big"]), having(&["other"])];
    let named =
        |(number, one): (usize, &Upstream)| Provider::ollama(one).name(format!("gpu-{number}"));
    let config = Config::new()
        .providers(machines.iter().enumerate().map(named))
        .default_providers(["gpu-0"]);
    let gateway = spawn_gateway(config).await;
    for _ in 0..6 {
        let answer = ask(&gateway, "big").await;
        assert_eq!((answer.status, answer.header("x-gateway-provider")), (200, Some("gpu-1")));
    }
    assert_eq!([chats(&machines[0]), chats(&machines[1]), chats(&machines[2])], [0, 6, 0]);
    assert_eq!(ask(&gateway, "other").await.header("x-gateway-provider"), Some("gpu-2"));
    // No provider is known to have it: the lists may be old, so one is asked.
    assert_eq!(ask(&gateway, "unheard-of").await.status, 200);
    gateway.end(8).await;
}

#[tokio::test]
async fn the_machine_with_the_shortest_wait_is_chosen_and_one_that_fails_fast_is_not() {
    let gate = crate::upstream::Gate::closed();
    let held = gate.clone();
    let busy = Upstream::spawn_whole(move |call| match call.path.as_str() {
        "/api/tags" => tags(&["m"]),
        _ => ollama::reply(call).head_hold(&held),
    });
    let broken = Upstream::spawn_whole(|call| match call.path.as_str() {
        "/api/tags" => tags(&["m"]),
        _ => ollama::error(500, "broken"),
    });
    let idle = having(&["m"]);
    let section = |name: &str, one: &Upstream| {
        Provider::ollama(one)
            .name(name)
            .slots(1)
            .no_retries()
            .breaker(Breaker::default().failures(3).open("60s"))
    };
    let sections = [section("busy", &busy), section("broken", &broken), section("idle", &idle)];
    let config = Config::new().providers(sections).default_providers(["busy"]);
    let gateway = spawn_gateway(config).await;
    let first = crate::crowd::send(&gateway, &[], with_model("m"));
    let is_there = async || (chats(&busy) == 1).then_some(());
    eventually(|| "the first of equals is chosen".to_owned(), is_there).await;
    for _ in 0..12 {
        let answer = ask(&gateway, "m").await;
        assert_eq!((answer.status, answer.header("x-gateway-provider")), (200, Some("idle")));
    }
    // Three requests failed there, each answered elsewhere; since then its breaker is open, which
    // counts as a long wait.
    assert_eq!((chats(&busy), chats(&broken), chats(&idle)), (1, 3, 12));
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    gateway.end(13).await;
}

fn with_model(model: &str) -> Value {
    let mut body = chat("sesame");
    body["model"] = model.into();
    body
}

#[tokio::test]
async fn machines_without_a_list_of_models_delay_no_request_for_long() {
    let (dead, mute, alive) = (refusing(), crate::upstream::silent(), having(&["m"]));
    let section = |name: &str, url: &str| {
        Provider::new(name, "ollama", url)
            .no_retries()
            .timeouts(Timeouts::default().connect("500ms").first_event("500ms"))
    };
    let sections = [
        section("alive", &alive.url()),
        section("dead", &dead.url()),
        section("mute", &mute.url()),
    ];
    let config = Config::new().providers(sections).default_providers(["alive"]);
    let gateway = spawn_gateway(config).await;
    let answer = ask(&gateway, "m").await;
    assert_eq!((answer.status, answer.header("x-gateway-provider")), (200, Some("alive")));
    assert!(answer.took < Duration::from_secs(20), "{:?}", answer.took);
    gateway.end(1).await;
}

#[tokio::test]
async fn a_primary_that_flaps_is_served_by_the_fallback_and_used_again_soon_after_it_recovers() {
    let broken = Arc::new(AtomicBool::new(false));
    let (is_broken, failures) = (Arc::clone(&broken), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&failures);
    let first = Upstream::spawn_whole(move |call| match is_broken.load(Ordering::SeqCst) {
        true => {
            counted.fetch_add(usize::from(call.path == "/api/chat"), Ordering::SeqCst);
            Script::hang_up()
        }
        false if call.path == "/api/tags" => tags(&["m"]),
        false => ollama::reply(call),
    });
    let second = Upstream::ollama();
    // A minute in two seconds: every time is a thirtieth of its default.
    let provider = Provider::ollama(&first)
        .no_retries()
        .breaker(Breaker::default().failures(5).open("167ms").max_open("4s"))
        .health(Health::default().recovery("333ms").timeout("1s"));
    let gateway = spawn_gateway(chain(provider, &second)).await;
    let (mut sent, mut phases) = (0, 0);
    for phase in 0..8 {
        broken.store(phase % 2 == 0, Ordering::SeqCst);
        phases += usize::from(phase % 2 == 0);
        let until = Instant::now() + Duration::from_millis(250);
        while Instant::now() < until {
            let answer = ask(&gateway, "chat").await;
            assert_eq!(answer.status, 200, "somebody always answers: {answer:?}");
            sent += 1;
        }
    }
    let failed = failures.load(Ordering::SeqCst);
    assert!((5..=5 * phases + 24).contains(&failed), "{failed} of {sent} went to a broken primary");
    // It has recovered, and is used again: the answers come from it, one after the other.
    let recovered = Instant::now();
    let mut used = 0;
    while used < 10 {
        let answer = ask(&gateway, "chat").await;
        assert_eq!(answer.status, 200);
        sent += 1;
        used = if answer.header("x-gateway-provider") == Some("first") { used + 1 } else { 0 };
        assert!(recovered.elapsed() < Duration::from_secs(30), "it was not used again");
    }
    gateway.end(sent).await;
}
