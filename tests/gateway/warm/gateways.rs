//! Several gateways before one server, with and without a Redis: they take turns in loading models.

use std::cell::Cell;
use std::time::Duration;

use llm_gateway::sim::SimSettings;
use tokio::sync::Notify;

use super::{KEYS, ask, body, loading};
use crate::crowd::{press, send};
use crate::harness::{Config, Gateway, Key, Provider, Signal, spawn_gateway};
use crate::redis::{Keys, Redis};
use crate::simulator::Simulator;

/// So many gateways before one server.
async fn gateways(simulator: &Simulator, redis: Option<&Redis>, count: usize) -> Vec<Gateway> {
    let mut gateways = Vec::new();
    for _ in 0..count {
        gateways.push(spawn_gateway(config(simulator, redis)).await);
    }
    gateways
}

fn config(simulator: &Simulator, redis: Option<&Redis>) -> Config {
    let ollama = Provider::new("ollama", "ollama", &simulator.url).slots(4);
    let config = Config::new().provider(ollama);
    let config = match redis {
        Some(redis) => config.redis(redis.section("5s")),
        None => config,
    };
    KEYS.iter().fold(config, |config, key| config.key(Key::new(key)))
}

/// A server with three models and room for one.
fn server(load: u64) -> Simulator {
    let models = ["m0", "m1", "m2"].map(str::to_owned).to_vec();
    Simulator::start(SimSettings {
        slots: 1,
        max_loaded_models: 1,
        load: Duration::from_millis(load),
        unload: Duration::from_millis(20),
        first_token: Duration::from_millis(30),
        tokens_per_second: 0.0,
        models,
        ..SimSettings::default()
    })
}

/// Two keys to a model, each asking again as soon as it is answered; each gateway has requests for
/// every model. `midway` begins when half of the answers are there and all go on until it ends, for
/// what it waits for may need a load. Says how many answers each gateway gave.
async fn closed_loop(
    gateways: &[Gateway],
    rounds: usize,
    midway: impl AsyncFnOnce(),
) -> Vec<usize> {
    let (answered, is_half, is_over) = (Cell::new(0), Notify::new(), Cell::new(false));
    let client = async |number: usize| {
        let gateway = &gateways[number / 3 % gateways.len()];
        let mut own = 0;
        while own < rounds || !is_over.get() {
            let answer = ask(gateway, KEYS[number], &format!("m{}", number % 3)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            own += 1;
            if answered.replace(answered.get() + 1) == KEYS.len() * rounds / 2 {
                is_half.notify_one();
            }
        }
        own
    };
    let midway = async {
        is_half.notified().await;
        midway().await;
        is_over.set(true);
    };
    let clients = futures_util::future::join_all((0..KEYS.len()).map(client));
    let (answers, ()) = futures_util::future::join(clients, midway).await;
    let mut by_gateway = vec![0; gateways.len()];
    for (number, own) in answers.into_iter().enumerate() {
        by_gateway[number / 3 % gateways.len()] += own;
    }
    by_gateway
}

async fn end(gateways: Vec<Gateway>, answers: &[usize]) {
    for (gateway, answers) in gateways.into_iter().zip(answers) {
        gateway.end(*answers).await;
    }
}

#[tokio::test]
async fn two_gateways_load_hardly_more_often_than_one() {
    let (redis, simulator) = (Redis::start().await, server(150));
    let gateways = gateways(&simulator, Some(&redis), 2).await;
    let answers = closed_loop(&gateways, 24, async || {}).await;
    let [loads, aborted] = simulator.counted(["loads", "aborted_loads"]).await;
    // One gateway has about ten, in the order of the line there are about a hundred.
    assert!((3..=24).contains(&loads) && aborted == 0, "{loads} loads, {aborted} aborted");
    end(gateways, &answers).await;
}

#[tokio::test]
async fn without_the_redis_each_goes_on_alone_and_says_so() {
    let (mut redis, simulator) = (Redis::start().await, server(150));
    let gateways = gateways(&simulator, Some(&redis), 2).await;
    let midway = async || {
        redis.stop(Keys::Lost).await;
        for gateway in &gateways {
            gateway.logged("decides alone about its loads").await;
        }
        redis.start_again().await;
        for gateway in &gateways {
            gateway.logged("with the other gateways again").await;
        }
    };
    let mut answers = closed_loop(&gateways, 24, midway).await;
    redis.stop(Keys::Lost).await;
    for model in ["m0", "m1", "m2", "m0"] {
        for (gateway, answers) in gateways.iter().zip(&mut answers) {
            assert_eq!(ask(gateway, "a", model).await.status, 200);
            *answers += 1;
        }
    }
    end(gateways, &answers).await;
}

#[tokio::test]
async fn a_gateway_that_dies_in_its_turn_does_not_keep_it() {
    let (redis, simulator) = (Redis::start().await, server(1000));
    let mut gateways = gateways(&simulator, Some(&redis), 2).await;
    let mut dying = gateways.remove(0);
    let leaver = send(&dying, &[("x-api-key", "sk-a")], body("m1"));
    loading(&dying, "m1").await;
    leaver.abort();
    dying.signal(Signal::Kill);
    dying.exited().await;
    assert_eq!(ask(&gateways[0], "a", "m2").await.status, 200);
    end(gateways, &[1]).await;
}

#[tokio::test]
async fn without_a_redis_a_gateway_that_schedules_loads_says_that_it_should_be_the_only_one() {
    let (redis, simulator) = (Redis::start().await, server(50));
    let text = "one gateway per server";
    let said =
        |gateway: &Gateway| gateway.log_lines().iter().filter(|it| it.contains(text)).count();
    for (redis, expected) in [(None, 1), (Some(&redis), 0)] {
        let gateways = gateways(&simulator, redis, 1).await;
        // Only the gateway that listens has said all that it says at its start.
        assert_eq!(said(&gateways[0]), expected);
        gateways[0].write_config(config(&simulator, redis));
        assert_eq!(press(&gateways[0], "reload").await.status, 200);
        assert_eq!(said(&gateways[0]), expected, "once is enough");
        end(gateways, &[0]).await;
    }
}
