//! Models that compete for two servers: the router sends them where they are loaded.

use std::time::Duration;

use llm_gateway::sim::SimSettings;

use super::{KEYS, ask};
use crate::harness::{Config, Gateway, Key, Provider, spawn_gateway};
use crate::simulator::Simulator;

/// A server with four models, of which so many fit.
fn host(room: u32) -> Simulator {
    let models = ["m0", "m1", "m2", "m3"].map(str::to_owned).to_vec();
    Simulator::start(SimSettings {
        slots: 2,
        max_loaded_models: room,
        load: Duration::from_millis(200),
        unload: Duration::from_millis(20),
        first_token: Duration::from_millis(20),
        tokens_per_second: 0.0,
        models,
        ..SimSettings::default()
    })
}

async fn before(hosts: &[Simulator]) -> Gateway {
    let named = |(index, host): (usize, &Simulator)| {
        Provider::new(&format!("host-{index}"), "ollama", &host.url).slots(2)
    };
    let config = Config::new().providers(hosts.iter().enumerate().map(named));
    spawn_gateway(KEYS.iter().fold(config, |config, key| config.key(Key::new(key)))).await
}

/// Every key in turn asks for one model, and for another one every so often.
async fn agents(gateway: &Gateway, models: usize, rounds: usize) {
    let agent = async |number: usize| {
        for round in 0..rounds {
            let other = usize::from(round % 8 == 7);
            let model = format!("m{}", (number + other) % models);
            let answer = ask(gateway, KEYS[number], &model).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    };
    futures_util::future::join_all((0..KEYS.len()).map(agent)).await;
}

async fn loads(hosts: &[Simulator]) -> [u64; 2] {
    let mut loads = [0; 2];
    for (host, loads) in hosts.iter().zip(&mut loads) {
        [*loads] = host.counted(["loads"]).await;
    }
    loads
}

#[tokio::test]
async fn models_settle_on_servers_by_themselves() {
    for (room, models) in [(1, 2), (2, 4), (3, 4)] {
        let hosts = [host(room), host(room)];
        let gateway = before(&hosts).await;
        agents(&gateway, models, 24).await;
        let loads = loads(&hosts).await;
        let both: u64 = loads.iter().sum();
        assert!(both >= models as u64 && both <= 24, "{loads:?} for 144 answers, room for {room}");
        assert!(loads.iter().all(|loads| *loads > 0), "one server has nothing to do: {loads:?}");
        gateway.end(144).await;
    }
}

#[tokio::test]
async fn a_request_goes_to_the_server_that_has_its_model_loaded() {
    let hosts = [host(1), host(1)];
    let gateway = before(&hosts).await;
    for model in ["m0", "m1"] {
        assert_eq!(ask(&gateway, "a", model).await.status, 200);
    }
    assert_eq!(loads(&hosts).await, [1, 1], "neither had to go for the other");
    for round in 0..12 {
        let model = ["m0", "m1"][round % 2];
        assert_eq!(ask(&gateway, KEYS[round % KEYS.len()], model).await.status, 200);
    }
    assert_eq!(loads(&hosts).await, [1, 1]);
    gateway.end(14).await;
}
