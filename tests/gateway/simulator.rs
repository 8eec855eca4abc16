//! The simulated Ollama behind a gateway, with what it counts and what it has loaded.

use std::thread::JoinHandle;
use std::time::Duration;

use llm_gateway::sim::{self, SimSettings, SimSnapshot};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::client::get;

/// The simulator on a thread of its own, with the system it needs.
pub struct Simulator {
    /// Its address.
    pub url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<SimSnapshot>>,
}

impl Simulator {
    /// Starts it.
    pub fn start(settings: SimSettings) -> Self {
        let (started, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            actix::System::new().block_on(async move {
                let sim = sim::start(settings).unwrap();
                started.send(sim.addr()).unwrap();
                // A test that fails drops the sender, which is an end as well.
                stopped.await.ok();
                let seen = sim.snapshot();
                sim.stop().await;
                seen
            })
        });
        let url = format!("http://{}", address.recv().unwrap());
        Self { url, stop: Some(stop), thread: Some(thread) }
    }

    /// Stops it and returns what it saw.
    pub fn stop(mut self) -> SimSnapshot {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap()
    }

    /// Its counters.
    pub async fn counted<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        let counters = get(&format!("{}/sim", self.url)).await.json();
        names.map(|name| counters[name].as_u64().unwrap())
    }

    /// The models in its memory, with their context lengths.
    pub async fn loaded(&self) -> Vec<(String, u64)> {
        let list = get(&format!("{}/api/ps", self.url)).await.json();
        let models = list["models"].as_array().unwrap();
        let of = |model: &Value| {
            let name = model["name"].as_str().unwrap().to_owned();
            (name, model["context_length"].as_u64().unwrap())
        };
        models.iter().map(of).collect()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))) || std::thread::panicking());
    }
}

/// Loads and answers that take next to no time.
pub fn quick() -> SimSettings {
    SimSettings {
        slots: 2,
        load: Duration::from_millis(60),
        unload: Duration::from_millis(20),
        first_token: Duration::from_millis(5),
        tokens_per_second: 0.0,
        ..SimSettings::default()
    }
}
