//! Keys that are added, expire, are revoked or guessed; and how many requests of one may be under
//! way.

use std::time::{Duration, SystemTime};

use super::{account, account_shows, ask, config, gateway_with, limited};
use toml::value::Datetime;

use crate::client::raw::{Raw, post_bytes};
use crate::client::{Answer, chat, post_json_with, stream_with, streamed_chat};
use crate::crowd::{answers, count, key, press, send};
use crate::harness::{Auth, Gateway, Key, Provider, Rate, spawn_gateway};
use crate::patience::eventually;
use crate::upstream::{Gate, Upstream, ollama};

/// Status, body without its id, and names of headers: all that a refusal reveals.
fn told(answer: &Answer) -> (u16, String, Vec<String>) {
    let mut body = answer.json();
    body["request_id"].take();
    let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    names.sort();
    (answer.status, body.to_string(), names)
}

#[tokio::test]
async fn an_expired_key_is_answered_like_an_unknown_one() {
    let upstream = Upstream::ollama();
    let soon = SystemTime::now() + Duration::from_secs(2);
    let keys = [
        Key::new("past").expires("2020-01-01T00:00:00Z".parse::<Datetime>().unwrap()),
        Key::new("future").expires("2099-12-31T23:59:59+02:00"),
        Key::new("soon").expires(humantime::format_rfc3339_millis(soon).to_string()),
    ];
    let gateway = gateway_with(&upstream, keys).await;
    assert_eq!(ask(&gateway, "sk-future").await.status, 200);
    let unknown = told(&ask(&gateway, "sk-unknown").await);
    assert_eq!(unknown.0, 401);
    assert_eq!(told(&ask(&gateway, "sk-past").await), unknown);
    // A key that was valid stops being so without anybody doing anything.
    let asked = std::cell::Cell::new(0);
    let refused = eventually(
        || "the key expires".to_owned(),
        async || {
            asked.set(asked.get() + 1);
            let answer = ask(&gateway, "sk-soon").await;
            (answer.status != 200).then_some(answer)
        },
    )
    .await;
    assert_eq!(told(&refused), unknown);
    // It is written in whole milliseconds.
    assert!(SystemTime::now() + Duration::from_millis(1) >= soon);
    gateway.end(3 + asked.get()).await;
}

#[tokio::test]
async fn a_key_removed_from_the_file_is_invalid_within_seconds_and_running_requests_finish() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| match call.number {
        0 => ollama::opened(&["begun"]).hold(&held).piece(ollama::done(1)),
        _ => ollama::reply(call),
    });
    let stays = Key::new("stays");
    let gateway = gateway_with(&upstream, [stays.clone(), Key::new("goes")]).await;
    let mut streamed =
        stream_with(&gateway.url("/v1/chat"), &key("sk-goes"), &streamed_chat("hi")).await;
    streamed.until("begun").await;
    gateway.write_config(config(&upstream, [stays]));
    let changed = std::time::Instant::now();
    let asked = std::cell::Cell::new(0);
    eventually(
        || "the key is void".to_owned(),
        async || {
            asked.set(asked.get() + 1);
            (ask(&gateway, "sk-goes").await.status == 401).then_some(())
        },
    )
    .await;
    assert!(changed.elapsed() < Duration::from_secs(5), "{:?}", changed.elapsed());
    assert_eq!(ask(&gateway, "sk-stays").await.status, 200);
    gate.open();
    let rest = streamed.rest().await;
    assert!(rest.ended_properly && rest.text().contains("[DONE]"), "{}", rest.text());
    gateway.end(2 + asked.get()).await;
}

#[tokio::test]
async fn a_key_has_a_limit_of_requests_under_way_and_every_ending_frees_a_place() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| match call.number {
        0..4 => ollama::reply(call).head_hold(&held),
        4 => ollama::error(400, "no"),
        _ => ollama::reply(call),
    });
    let keys = [Key::new("two").max_concurrency(2), Key::new("free")];
    let gateway = gateway_with(&upstream, keys).await;
    let first = send(&gateway, &key("sk-two"), chat("first"));
    let mut leaves = Raw::connect(gateway.address()).await;
    leaves.send(&post_bytes("/v1/chat", &key("sk-two"), &chat("leaves"))).await;
    upstream.calls(2).await;
    let refused = ask(&gateway, "sk-two").await;
    limited(&refused, "may have 2 requests under way");
    assert_eq!(account(&gateway, "two").await["in_flight"], 2);
    let other = send(&gateway, &key("sk-free"), chat("other"));
    upstream.calls(3).await;
    // A client that disconnects frees its place, and the refusal of another took none.
    leaves.rst();
    account_shows(&gateway, "two", "/in_flight", 1).await;
    let second = send(&gateway, &key("sk-two"), chat("second"));
    upstream.calls(4).await;
    limited(&ask(&gateway, "sk-two").await, "under way");
    gate.open();
    assert_eq!(count(&answers(vec![first, other, second]).await, 200), 3);
    // A failure frees it, and a body that is none.
    assert_eq!(ask(&gateway, "sk-two").await.status, 400);
    let broken = post_json_with(&gateway.url("/v1/chat"), &key("sk-two"), &"nonsense".into()).await;
    assert_eq!(broken.status, 400);
    account_shows(&gateway, "two", "/in_flight", 0).await;
    let streamed =
        stream_with(&gateway.url("/v1/chat"), &key("sk-two"), &streamed_chat("hi")).await;
    assert!(streamed.rest().await.ended_properly);
    account_shows(&gateway, "two", "/in_flight", 0).await;
    let metrics = gateway.metrics().await;
    let refusals = metrics.sum("llm_gateway_rate_limit_total", &[("decision", "concurrency")]);
    assert_eq!(refusals, 2.0);
    gateway.end(9).await;
}

/// Sends unknown keys until one gets 429; returns how many got 401 before.
async fn guess(gateway: &Gateway, headers: &[(&str, &str)]) -> (usize, Answer) {
    for guessed in 0..100 {
        let guess = format!("sk-guess-{guessed}");
        let mut headers = headers.to_vec();
        headers.push(("x-api-key", &guess));
        let answer = post_json_with(&gateway.url("/v1/chat"), &headers, &chat("hi")).await;
        if answer.status != 401 {
            return (guessed, answer);
        }
    }
    panic!("a hundred keys were guessed");
}

#[tokio::test]
async fn guessing_is_limited_and_never_affects_valid_keys() {
    let upstream = Upstream::ollama();
    let auth = Auth::default().failures(Rate::of(5, 0.01));
    let gateway = spawn_gateway(config(&upstream, [Key::new("good")]).auth(auth)).await;
    let (guessed, refused) = guess(&gateway, &[]).await;
    assert_eq!(guessed, 5);
    limited(&refused, "too many invalid keys came from this address");
    // A claim to have another address is not believed.
    let (guessed, _) = guess(&gateway, &[("x-forwarded-for", "198.51.100.7")]).await;
    assert_eq!(guessed, 0);
    // Nor do lists of models let anybody guess on.
    let models = crate::client::ask("GET", &gateway.url("/v1/models"), &key("sk-x")).await;
    assert_eq!(models.status, 429);
    for _ in 0..20 {
        assert_eq!(ask(&gateway, "sk-good").await.status, 200);
    }
    let metrics = gateway.metrics().await;
    let refusals = metrics.sum("llm_gateway_rate_limit_total", &[("decision", "failures")]);
    assert_eq!(refusals, 3.0);
    gateway.end(6 + 1 + 1 + 20).await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_its_clients_are_distinguished() {
    let upstream = Upstream::ollama();
    let auth = Auth::default().failures(Rate::of(3, 0.01)).trusted_proxies(["127.0.0.0/8"]);
    let gateway = spawn_gateway(config(&upstream, [Key::new("good")]).auth(auth)).await;
    assert_eq!(guess(&gateway, &[("x-forwarded-for", "198.51.100.7")]).await.0, 3);
    assert_eq!(guess(&gateway, &[("x-forwarded-for", "203.0.113.9")]).await.0, 3);
    // What stands left of the proxy's own word is the client's claim.
    let claims = [("x-forwarded-for", "192.0.2.1, 203.0.113.9")];
    assert_eq!(guess(&gateway, &claims).await.0, 0);
    gateway.end(4 + 4 + 1).await;
}

#[tokio::test]
async fn a_key_that_keys_new_prints_is_admitted() {
    let printed = crate::harness::run(&["keys", "new", "--name", "fresh"], &[]).await;
    assert_eq!(printed.status, Some(0), "{}", printed.stderr);
    let mut words = printed.stdout.split_whitespace();
    let secret = words.find(|word| word.starts_with("sk-gateway-")).unwrap().to_owned();
    let start = printed.stdout.find("[[keys]]").unwrap();
    let lines: String =
        printed.stdout[start..].lines().take(3).map(|line| format!("{line}\n")).collect();
    assert!(!lines.contains(&secret) && lines.contains("sha256"), "{lines}");
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(format!("{lines}{}", Provider::ollama(&upstream))).await;
    assert_eq!(ask(&gateway, &secret).await.status, 200);
    assert_eq!(ask(&gateway, &format!("{secret}0")).await.status, 401);
    assert_eq!(press(&gateway, "reload").await.status, 200);
    assert_eq!(ask(&gateway, &secret).await.status, 200);
    gateway.end(3).await;
}
