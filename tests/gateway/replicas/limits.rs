//! One key at three gateways: its rate and its budgets hold for all of them together, and a Redis
//! that is down, frozen or empty changes that as little as possible.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::crew::ready;
use crate::client::{Answer, chat, get, post_json_with};
use crate::crowd::key;
use crate::harness::{Config, Gateway, Key, Provider, Rate, spawn_gateway};
use crate::patience::eventually;
use crate::redis::{Keys, Redis};
use crate::upstream::Upstream;

/// Such a slow refill that nothing comes back while a test runs.
const SLOW: f64 = 0.001;

/// Three gateways that share what the key `sk-a` may.
struct Three {
    gateways: Vec<Gateway>,
    sent: Vec<usize>,
}

impl Three {
    async fn start(redis: &Redis, upstream: &Upstream, key: Key) -> Self {
        let config = Config::new()
            // Generous, so that a busy machine is not taken for a Redis that is away.
            .redis(redis.section("1s"))
            .key(key)
            .provider(Provider::ollama(upstream).slots(200));
        let mut gateways = Vec::new();
        for _ in 0..3 {
            gateways.push(spawn_gateway(&config).await);
        }
        for gateway in &gateways {
            ready(gateway).await;
        }
        let three = Self { gateways, sent: vec![0; 3] };
        three.all_say("ok").await;
        three
    }

    /// Awaits the moment when every gateway reports this of its Redis.
    async fn all_say(&self, state: &str) {
        for gateway in &self.gateways {
            let says = async || {
                let ready = get(&gateway.url("/readyz")).await;
                assert_eq!(ready.status, 200);
                (ready.json()["redis"] == state).then_some(())
            };
            eventually(|| format!("a gateway's redis is {state}"), says).await;
        }
    }

    /// Sends `each` requests to every gateway, all at once.
    async fn burst(&mut self, each: usize, body: &Value) -> Vec<Answer> {
        let mut asked = Vec::new();
        for (gateway, sent) in self.gateways.iter().zip(&mut self.sent) {
            *sent += each;
            for _ in 0..each {
                let (url, body) = (gateway.url("/v1/chat"), body.clone());
                asked.push(tokio::spawn(
                    async move { post_json_with(&url, &key("sk-a"), &body).await },
                ));
            }
        }
        let mut answers = Vec::new();
        for asked in asked {
            let answer = asked.await.unwrap();
            assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
            answers.push(answer);
        }
        answers
    }

    async fn ask(&mut self, index: usize) -> Answer {
        self.sent[index] += 1;
        post_json_with(&self.gateways[index].url("/v1/chat"), &key("sk-a"), &chat("hi")).await
    }

    async fn end(self) {
        for (gateway, sent) in self.gateways.into_iter().zip(self.sent) {
            gateway.end(sent).await;
        }
    }
}

fn granted(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

fn rate(capacity: u32, refill: f64) -> Key {
    Key::new("a").rate(Rate::of(capacity, refill))
}

fn remaining(answer: &Answer) -> u64 {
    answer.header("x-ratelimit-remaining-requests").unwrap().parse().unwrap()
}

#[tokio::test]
async fn three_gateways_grant_together_what_one_would() {
    let (redis, upstream) = (Redis::start().await, Upstream::ollama());
    let mut three = Three::start(&redis, &upstream, rate(100, 20.0)).await;
    let began = Instant::now();
    let mut total = 0;
    while began.elapsed() < Duration::from_secs(3) {
        total += granted(&three.burst(25, &chat("hi")).await);
    }
    // The bucket was still filling during the last burst, but not for longer than it all took.
    let most = 100.0 + 20.0 * began.elapsed().as_secs_f64();
    let least = 100.0 + 20.0 * 2.0;
    assert!(total as f64 <= most * 1.05, "{total} of at most {most}");
    assert!(total as f64 >= least * 0.95, "{total} of at least {least}");
    three.end().await;
}

#[tokio::test]
async fn a_budget_of_tokens_is_one_budget_everywhere() {
    let (redis, upstream) = (Redis::start().await, Upstream::ollama());
    // Estimated are 5 for the prompt and 8 for the answer; the provider counts 10 and 3.
    let mut three = Three::start(&redis, &upstream, Key::new("a").tokens_per_day(1300)).await;
    let mut body = chat("hi");
    body["max_tokens"] = 8.into();
    let total = granted(&three.burst(50, &body).await);
    assert!((95..=100).contains(&total), "{total}");
    // What was set aside and not used is there for the others.
    redis.ask("FLUSHALL").await;
    body["max_tokens"] = 1000.into();
    let mut tokens = 0;
    for index in (0..3).cycle().take(9) {
        three.sent[index] += 1;
        let url = three.gateways[index].url("/v1/chat");
        let granted = eventually(
            || "what the one before did not use is put back".to_owned(),
            async || {
                let answer = post_json_with(&url, &key("sk-a"), &body).await;
                if answer.status == 429 {
                    three.sent[index] += 1;
                    return None;
                }
                Some(answer)
            },
        )
        .await;
        assert_eq!(granted.status, 200, "{}", granted.text());
        tokens += 13;
    }
    assert_eq!(tokens, 117);
    let left = eventually(
        || "all is settled".to_owned(),
        async || {
            let spent = redis.ask("HGET llm-gateway:limit:{a}:day spent").await;
            let spent: f64 = spent.lines().nth(1)?.parse().ok()?;
            (spent < 117_001.0).then_some(spent)
        },
    )
    .await;
    assert!(left > 110_000.0, "{left}");
    three.end().await;
}

#[tokio::test]
async fn without_its_redis_every_gateway_grants_its_share_and_fails_no_request() {
    let (mut redis, upstream) = (Redis::start().await, Upstream::ollama());
    let mut three = Three::start(&redis, &upstream, rate(60, SLOW)).await;
    assert_eq!(remaining(&three.ask(0).await), 59);
    assert_eq!(remaining(&three.ask(1).await), 58);
    assert_eq!(remaining(&three.ask(2).await), 57);
    // Every gateway has to know of the other two.
    for gateway in &three.gateways {
        let counts = async || {
            let keys = get(&gateway.admin_url("/admin/keys")).await.json();
            (keys["replicas"] == 3).then_some(())
        };
        eventually(|| "three replicas are counted".to_owned(), counts).await;
    }
    redis.stop(Keys::Lost).await;
    three.all_say("degraded").await;
    // 57 were left, of which each has a third; none knows what the others grant.
    let total = granted(&three.burst(40, &chat("hi")).await);
    assert_eq!(total, 57);
    redis.start_again().await;
    let began = Instant::now();
    three.all_say("ok").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // This Redis has forgotten everything, so that all is there again, once.
    assert_eq!(granted(&three.burst(40, &chat("hi")).await), 60);
    three.end().await;
}

#[tokio::test]
async fn a_redis_that_freezes_or_stops_under_load_fails_no_request() {
    let (mut redis, upstream) = (Redis::start().await, Upstream::ollama());
    let mut three = Three::start(&redis, &upstream, rate(100_000, 1000.0)).await;
    assert_eq!(granted(&three.burst(20, &chat("hi")).await), 60);
    redis.freeze();
    let began = Instant::now();
    // Until the breaker opens each request waits for the timeout of a second, then none waits.
    assert_eq!(granted(&three.burst(20, &chat("hi")).await), 60);
    three.all_say("degraded").await;
    assert_eq!(granted(&three.burst(20, &chat("hi")).await), 60);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    redis.thaw();
    let began = Instant::now();
    three.all_say("ok").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(granted(&three.burst(20, &chat("hi")).await), 60);
    redis.stop(Keys::Kept).await;
    assert_eq!(granted(&three.burst(20, &chat("hi")).await), 60);
    redis.start_again().await;
    assert_eq!(granted(&three.burst(20, &chat("hi")).await), 60);
    three.all_say("ok").await;
    for gateway in &three.gateways {
        let metrics = gateway.metrics().await;
        let failed = metrics.sum("llm_gateway_requests_total", &[("outcome", "upstream_error")]);
        assert_eq!(failed, 0.0);
    }
    three.end().await;
}

#[tokio::test]
async fn what_reaches_the_redis_too_late_is_not_taken() {
    let (redis, upstream) = (Redis::start().await, Upstream::ollama());
    let mut three = Three::start(&redis, &upstream, rate(60, SLOW)).await;
    assert_eq!(granted(&three.burst(1, &chat("hi")).await), 3);
    redis.freeze();
    // These were sent to the Redis, but the gateway granted them alone when no answer came.
    assert_eq!(granted(&three.burst(2, &chat("hi")).await), 6);
    three.all_say("degraded").await;
    redis.thaw();
    three.all_say("ok").await;
    let spent = redis.ask("HGET llm-gateway:limit:{a}:requests spent").await;
    let spent: f64 = spent.lines().nth(1).unwrap().parse().unwrap();
    assert!((2_900.0..=3_000.0).contains(&spent), "{spent}");
    three.end().await;
}
