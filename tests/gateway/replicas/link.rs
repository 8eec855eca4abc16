//! The link to a Redis by itself: what it answers, what it does without an answer, and how it
//! recovers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use llm_gateway::redis::settings::{RedisSettings, RedisUrl};
use llm_gateway::redis::{Link, Script, Unavailable, Value};

use super::crew::ready;
use crate::client::get;
use crate::harness::{Config, Provider, RedisSection, spawn_gateway};
use crate::patience::eventually;
use crate::redis::{Keys, Redis};
use crate::upstream::Upstream;

static TWICE: Script = Script::new("return {KEYS[1], ARGV[1] * 2, false, {ARGV[2]}}");
static WRONG: Script = Script::new("return redis.call('HGET', KEYS[1])");

/// Far above what an operation takes on a busy machine.
const GENEROUS: Duration = Duration::from_secs(5);

async fn linked(redis: &Redis, timeout: Duration) -> Link {
    let url = RedisUrl::new(redis.url());
    let settings = RedisSettings { url, timeout, ..RedisSettings::default() };
    let link = Link::start(&settings).unwrap();
    found(&link).await;
    link
}

async fn found(link: &Link) {
    eventually(|| "the redis is found".to_owned(), async || (!link.is_degraded()).then_some(()))
        .await;
}

async fn lost(link: &Link) {
    eventually(|| "the redis is lost".to_owned(), async || link.is_degraded().then_some(())).await;
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn without_an_address_there_is_no_link() {
    assert!(Link::start(&RedisSettings::default()).is_none());
}

#[tokio::test]
async fn scripts_run_in_one_step_and_keys_hold_for_their_time() {
    let redis = Redis::start().await;
    let link = linked(&redis, GENEROUS).await;
    let key = link.key("test", "a");
    assert_eq!(key, "llm-gateway:test:a");
    // The second run is by hash alone, and so is the third, whose text the Redis has forgotten.
    for forget in [false, true, false] {
        if forget {
            redis.ask("SCRIPT FLUSH").await;
        }
        let ran = link.run(&TWICE, vec![key.clone()], vec![text("21"), text("x\0y")]).await;
        let inner = Value::List(vec![Value::Bytes(text("x\0y"))]);
        let expected =
            vec![Value::Bytes(key.clone().into()), Value::Integer(42), Value::Nil, inner];
        assert_eq!(ran, Ok(Value::List(expected)));
    }
    assert_eq!(link.get(key.clone()).await, None);
    link.set(key.clone(), text("\0\r\n"), Duration::from_secs(60)).await.unwrap();
    assert_eq!(link.get(key.clone()).await, Some(text("\0\r\n")));
    let left = redis.ask(&format!("PTTL {key}")).await;
    let left: u64 = left.lines().next().unwrap().trim_start_matches(':').parse().unwrap();
    assert!((30_000..=60_000).contains(&left), "it holds for a minute, not {left} ms");
    link.set(key.clone(), text("short"), Duration::from_millis(1)).await.unwrap();
    let gone = async || link.get(key.clone()).await.is_none().then_some(());
    eventually(|| "the key goes".to_owned(), gone).await;
}

#[tokio::test]
async fn an_error_of_a_script_is_no_answer_and_three_in_a_row_are_an_outage() {
    let redis = Redis::start().await;
    let link = linked(&redis, GENEROUS).await;
    for _ in 0..2 {
        assert_eq!(link.run(&WRONG, vec!["a".to_owned()], vec![]).await, Err(Unavailable::Failed));
    }
    assert!(!link.is_degraded());
    link.set("a".to_owned(), text("1"), GENEROUS).await.unwrap();
    while !link.is_degraded() {
        assert!(link.run(&WRONG, vec!["a".to_owned()], vec![]).await.is_err());
    }
    found(&link).await;
    assert_eq!(link.get("a".to_owned()).await, Some(text("1")));
}

#[tokio::test]
async fn a_redis_that_is_stopped_is_skipped_and_found_again() {
    let mut redis = Redis::start().await;
    let link = linked(&redis, GENEROUS).await;
    for keys in [Keys::Kept, Keys::Lost] {
        link.set("a".to_owned(), text("1"), Duration::from_secs(600)).await.unwrap();
        redis.stop(keys).await;
        lost(&link).await;
        let ran = link.run(&TWICE, vec![], vec![]).await;
        assert_eq!(ran, Err(Unavailable::Away));
        redis.start_again().await;
        found(&link).await;
        let kept = (keys == Keys::Kept).then(|| text("1"));
        assert_eq!(link.get("a".to_owned()).await, kept, "{keys:?}");
    }
}

#[tokio::test]
async fn a_frozen_redis_delays_a_few_requests_and_then_none() {
    let redis = Redis::start().await;
    let timeout = Duration::from_millis(200);
    let link = linked(&redis, timeout).await;
    redis.freeze();
    let began = Instant::now();
    let mut late = 0;
    let mut asked = 0;
    while !link.is_degraded() {
        let asking = Instant::now();
        let outcome = link.set("a".to_owned(), text("late"), GENEROUS).await;
        assert!(matches!(outcome, Err(Unavailable::Late | Unavailable::Away)), "{outcome:?}");
        assert!(asking.elapsed() >= timeout || outcome == Err(Unavailable::Away));
        late += usize::from(outcome == Err(Unavailable::Late));
        asked += 1;
        assert!(asked < 100 && began.elapsed() < Duration::from_secs(15), "it is never noticed");
    }
    // Three are an outage, and one more may ask before that is known.
    assert!(late <= 5, "{late} waited");
    // None of these can have waited: a thousand times the timeout is more than three minutes.
    let began = Instant::now();
    for _ in 0..1000 {
        assert_eq!(link.get("a".to_owned()).await, None);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    redis.thaw();
    found(&link).await;
}

#[tokio::test]
async fn more_operations_than_there_are_places_are_refused_at_once() {
    let redis = Redis::start().await;
    let link = linked(&redis, GENEROUS).await;
    redis.freeze();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..1100 {
        let link = link.clone();
        waiting.spawn(async move { link.run(&TWICE, vec!["a".to_owned()], vec![text("1")]).await });
    }
    let mut refused = 0;
    while refused < 76 {
        assert_eq!(waiting.join_next().await.unwrap().unwrap(), Err(Unavailable::Full));
        refused += 1;
    }
    redis.thaw();
    let rest = waiting.join_all().await;
    assert_eq!(rest.len(), 1024);
    assert!(rest.iter().all(Result::is_ok), "{:?}", rest.iter().find(|ran| ran.is_err()));
}

#[tokio::test]
async fn replicas_are_counted_while_they_live() {
    let redis = Redis::start().await;
    let one = linked(&redis, GENEROUS).await;
    assert_eq!(one.replicas(), 1);
    let other = linked(&redis, GENEROUS).await;
    assert_ne!(one.replica(), other.replica());
    assert_eq!(other.replicas(), 2);
    let counts = |count| {
        let one = &one;
        eventually(
            move || format!("{count} replicas, {} so far", one.replicas()),
            async move || (one.replicas() == count).then_some(()),
        )
    };
    counts(2).await;
    other.leave().await.unwrap();
    drop(other);
    counts(1).await;
}

#[tokio::test]
async fn a_password_is_needed_and_shown_nowhere() {
    let redis = Redis::start().await;
    redis.ask("CONFIG SET requirepass sk-planted-redis").await;
    let upstream = Upstream::ollama();
    let config = |password: &str| {
        let url = redis.url().replace("redis://", &format!("redis://:{password}@"));
        Config::new().redis(RedisSection::default().url(url)).provider(Provider::ollama(&upstream))
    };
    let right = spawn_gateway(config("sk-planted-redis")).await;
    right.logged("the redis answers").await;
    let wrong = spawn_gateway(config("sk-planted-wrong")).await;
    let line = wrong.logged("the redis is not available").await;
    assert!(line.contains("redis://:***@127.0.0.1"), "{line}");
    for (gateway, state) in [(&right, "ok"), (&wrong, "degraded")] {
        ready(gateway).await;
        let ready = get(&gateway.url("/readyz")).await;
        assert_eq!((ready.status, ready.json()["redis"].as_str()), (200, Some(state)));
        assert_eq!(gateway.providers().await["redis"], state);
        let up = gateway.metrics().await.sum("llm_gateway_redis_up", &[]);
        assert_eq!(up, if state == "ok" { 1.0 } else { 0.0 });
        let shown = get(&gateway.admin_url("/admin/config")).await.text();
        let said = format!("{shown}{:?}{}", gateway.log_lines(), ready.text());
        assert!(!said.contains("planted"), "{said}");
    }
    right.end(0).await;
    wrong.end(0).await;
}

#[tokio::test]
async fn without_a_redis_nothing_speaks_of_one() {
    let upstream = Upstream::ollama();
    let gateway = spawn_gateway(Provider::ollama(&upstream)).await;
    assert_eq!(get(&gateway.url("/readyz")).await.text(), r#"{"status":"ok"}"#);
    assert!(!gateway.metrics().await.has("llm_gateway_redis_up", &[]));
    gateway.end(0).await;
}
