//! Models that compete for memory and not for a number of places.

use std::cell::Cell;
use std::time::Duration;

use llm_gateway::sim::SimSettings;

use super::{KEYS, ask};
use crate::harness::{Config, Key, Provider, Timeouts, spawn_gateway};
use crate::simulator::Simulator;

/// Two small models that fit together, and a large one that needs the room of both.
fn server() -> Simulator {
    let size = |model: &str, size: u64| (model.to_owned(), size);
    Simulator::start(SimSettings {
        slots: 1,
        memory: Some(100),
        load: Duration::from_millis(100),
        unload: Duration::from_millis(20),
        first_token: Duration::from_millis(20),
        tokens_per_second: 0.0,
        models: vec!["large".to_owned(), "one".to_owned(), "two".to_owned()],
        sizes: vec![size("large", 79), size("one", 30), size("two", 30)],
        ..SimSettings::default()
    })
}

#[tokio::test]
async fn a_busy_model_that_was_to_stay_for_long_goes_when_a_load_needs_its_room_too() {
    let simulator = server();
    let timeouts = Timeouts::default().first_event("60s");
    let body: toml::Table = toml::toml! { keep_alive = "2h" };
    let ollama = Provider::new("ollama", "ollama", &simulator.url).body(body).timeouts(timeouts);
    let config = Config::new().provider(ollama.default_model("one"));
    let gateway = spawn_gateway(KEYS.iter().fold(config, |it, key| it.key(Key::new(key)))).await;
    // How long the large one takes to load is known, and not that it needs the room of two.
    for model in ["large", "one", "two"] {
        assert_eq!(ask(&gateway, "a", model).await.status, 200);
    }
    let (is_over, asked) = (Cell::new(false), Cell::new(0));
    let busy = async |key: &str| {
        while !is_over.get() {
            assert_eq!(ask(&gateway, key, "two").await.status, 200);
            asked.set(asked.get() + 1);
        }
    };
    let large = async {
        assert_eq!(ask(&gateway, "c", "large").await.status, 200);
        is_over.set(true);
    };
    futures_util::future::join3(busy("a"), busy("b"), large).await;
    assert_eq!(simulator.counted(["aborted_loads"]).await, [0]);
    gateway.end(4 + asked.get()).await;
}
