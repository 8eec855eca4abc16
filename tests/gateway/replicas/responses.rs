//! Stored responses of two gateways that share a real Redis: a caller continues and reads at one
//! what it was answered at the other, no other caller does, and what must stay local never leaves
//! its gateway.

use llm_gateway::policy::Trust;
use serde_json::{Value, json};

use super::crew::ready;
use crate::client::{Answer, ask, get, post_json_with};
use crate::harness::{Config, Gateway, Key, Provider, spawn_gateway};
use crate::patience::eventually;
use crate::redis::{Keys, Redis};
use crate::upstream::{Upstream, openai};

const ANN: (&str, &str) = ("authorization", "Bearer sk-ann-0123456789");
const BOB: (&str, &str) = ("authorization", "Bearer sk-bob-0123456789");

/// A gateway that stores its responses in the Redis, once it has found it.
async fn sharing(upstream: &Upstream, redis: &Redis) -> Gateway {
    let config = Config::new()
        .key(Key::new("ann").key("sk-ann-0123456789"))
        .key(Key::new("bob").key("sk-bob-0123456789"))
        .provider(Provider::new("home", "openai", upstream.url()).trust(Trust::Local))
        // Far above what an answer takes, so that a loaded machine does not look like a slow Redis.
        .redis(redis.section("5s"));
    let gateway = spawn_gateway(config).await;
    ready(&gateway).await;
    says(&gateway, "ok").await;
    gateway
}

/// Awaits the moment when the gateway reports this of its Redis.
async fn says(gateway: &Gateway, state: &str) {
    let url = gateway.url("/readyz");
    let is_so = async || (get(&url).await.json()["redis"] == state).then_some(());
    eventually(|| format!("the gateway's redis is {state}"), is_so).await;
}

/// Awaits the moment when so many responses are in the Redis.
async fn stored(redis: &Redis, count: usize) {
    let are_there = async || {
        let keys = redis.ask("KEYS llm-gateway:response:*").await;
        (keys.matches("llm-gateway:response:").count() == count).then_some(())
    };
    eventually(|| format!("{count} responses are in the Redis"), are_there).await;
}

async fn turn(gateway: &Gateway, headers: &[(&str, &str)], said: &str, previous: &Value) -> Answer {
    let body = json!({ "model": "m", "input": said, "previous_response_id": previous });
    post_json_with(&gateway.url("/v1/responses"), headers, &body).await
}

#[tokio::test]
async fn a_caller_continues_and_reads_at_one_gateway_what_another_answered() {
    let upstream = Upstream::spawn(|call| openai::answer(&[&format!("Answer {}.", call.number)]));
    let redis = Redis::start().await;
    let (one, other) = (sharing(&upstream, &redis).await, sharing(&upstream, &redis).await);
    let first = turn(&one, &[ANN], "One?", &Value::Null).await.json();
    stored(&redis, 1).await;
    let second = turn(&other, &[ANN], "Two?", &first["id"]).await;
    assert_eq!(second.status, 200, "{}", second.text());
    let second = second.json();
    stored(&redis, 2).await;
    // The second gateway's turn continues at the first, with everything before it.
    assert_eq!(turn(&one, &[ANN], "Three?", &second["id"]).await.status, 200);
    let asked = upstream.calls(3).await[2].json();
    let said: Vec<&Value> =
        asked["messages"].as_array().unwrap().iter().map(|message| &message["content"]).collect();
    assert_eq!(said, ["One?", "Answer 0.", "Two?", "Answer 1.", "Three?"]);
    let path = |response: &Value| format!("/v1/responses/{}", response["id"].as_str().unwrap());
    let read = ask("GET", &other.url(&path(&first)), &[ANN]).await;
    assert_eq!((read.status, read.json()), (200, first.clone()));
    let input = ask("GET", &one.url(&format!("{}/input_items", path(&second))), &[ANN]).await;
    assert_eq!(input.json()["data"][0]["content"], "Two?", "{}", input.text());
    one.end(3).await;
    other.end(2).await;
}

#[tokio::test]
async fn no_gateway_gives_a_response_to_another_caller_and_one_that_is_deleted_is_gone_at_all() {
    let upstream = Upstream::spawn(|_| openai::answer(&["Yes."]));
    let redis = Redis::start().await;
    let (one, other) = (sharing(&upstream, &redis).await, sharing(&upstream, &redis).await);
    let first = turn(&one, &[ANN], "One?", &Value::Null).await.json();
    stored(&redis, 1).await;
    let path = format!("/v1/responses/{}", first["id"].as_str().unwrap());
    for gateway in [&one, &other] {
        assert_eq!(turn(gateway, &[BOB], "Two?", &first["id"]).await.status, 404);
        assert_eq!(ask("GET", &gateway.url(&path), &[BOB]).await.status, 404);
        assert_eq!(ask("DELETE", &gateway.url(&path), &[BOB]).await.status, 404);
    }
    assert_eq!(upstream.calls_so_far().len(), 1);
    let key = redis.ask("KEYS llm-gateway:response:*").await;
    assert!(!key.contains("ann") && !key.contains(first["id"].as_str().unwrap()), "{key}");
    assert_eq!(ask("DELETE", &other.url(&path), &[ANN]).await.json()["deleted"], true);
    stored(&redis, 0).await;
    assert_eq!(ask("GET", &other.url(&path), &[ANN]).await.status, 404);
    assert_eq!(turn(&other, &[ANN], "Two?", &first["id"]).await.status, 404);
    one.end(4).await;
    other.end(6).await;
}

#[tokio::test]
async fn a_response_that_must_stay_local_is_at_its_own_gateway_alone() {
    let upstream = Upstream::spawn(|_| openai::answer(&["Yes."]));
    let redis = Redis::start().await;
    let (one, other) = (sharing(&upstream, &redis).await, sharing(&upstream, &redis).await);
    let local = [ANN, ("x-gateway-data-policy", "local")];
    let secret = turn(&one, &local, "Planted?", &Value::Null).await.json();
    // A turn after it is local as well, however it is asked.
    let next = turn(&one, &[ANN], "Two?", &secret["id"]).await;
    assert_eq!(next.status, 200, "{}", next.text());
    let open = turn(&one, &[ANN], "Three?", &Value::Null).await.json();
    // The last write is there, so an earlier one would be.
    stored(&redis, 1).await;
    assert_eq!(turn(&other, &[ANN], "Four?", &secret["id"]).await.status, 404);
    assert_eq!(turn(&other, &[ANN], "Four?", &next.json()["id"]).await.status, 404);
    assert_eq!(turn(&other, &[ANN], "Four?", &open["id"]).await.status, 200);
    one.end(3).await;
    other.end(3).await;
}

#[tokio::test]
async fn without_the_redis_each_gateway_remembers_its_own() {
    let upstream = Upstream::spawn(|_| openai::answer(&["Yes."]));
    let mut redis = Redis::start().await;
    let (one, other) = (sharing(&upstream, &redis).await, sharing(&upstream, &redis).await);
    let first = turn(&one, &[ANN], "One?", &Value::Null).await.json();
    stored(&redis, 1).await;
    redis.stop(Keys::Lost).await;
    let own = turn(&one, &[ANN], "Two?", &first["id"]).await;
    assert_eq!(own.status, 200, "{}", own.text());
    let lost = turn(&other, &[ANN], "Two?", &first["id"]).await;
    assert_eq!(lost.status, 404, "{}", lost.text());
    one.end(2).await;
    other.end(1).await;
}
