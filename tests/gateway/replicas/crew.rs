//! Gateways that share one Redis in front of one provider, and clients that keep them busy.
//!
//! It owns only their setup, and requests to all of them at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::client::{chat, get, post_json};
use crate::crowd::snapshot;
use crate::harness::{Config, Gateway, Provider, spawn_gateway};
use crate::patience::eventually;
use crate::redis::Redis;
use crate::upstream::Upstream;

/// The limit that they keep together.
pub const LIMIT: usize = 8;

/// Starts so many, one after the other, and awaits that each is ready.
pub async fn crew(redis: &Redis, upstream: &Upstream, count: usize, timeout: &str) -> Vec<Gateway> {
    let mut crew = Vec::new();
    for _ in 0..count {
        crew.push(hire(redis, upstream, timeout).await);
    }
    for gateway in &crew {
        ready(gateway).await;
    }
    crew
}

/// Starts one more.
pub async fn hire(redis: &Redis, upstream: &Upstream, timeout: &str) -> Gateway {
    let provider = Provider::ollama(upstream).slots(LIMIT).max_queue(100);
    spawn_gateway(Config::new().redis(redis.section(timeout)).provider(provider)).await
}

/// Awaits that it reports ready.
pub async fn ready(gateway: &Gateway) {
    let url = gateway.url("/readyz");
    eventually(
        || "the gateway is ready".to_owned(),
        async || (get(&url).await.status == 200).then_some(()),
    )
    .await;
}

/// Ends every gateway, each of which must have counted as many requests as were sent to it.
pub async fn end_all(crew: Vec<Gateway>, sent: impl IntoIterator<Item = usize>) {
    for (gateway, sent) in crew.into_iter().zip(sent) {
        gateway.end(sent).await;
    }
}

/// Awaits that every gateway's part of the limit satisfies `wanted`, given as `lease`, `replicas`
/// and `degraded`.
pub async fn parts(crew: &[Gateway], what: &str, wanted: impl Fn(&[(u64, u64, bool)]) -> bool) {
    let last = std::cell::RefCell::new(Vec::new());
    eventually(
        || format!("{what}: {:?}", last.borrow()),
        async || {
            let mut parts = Vec::new();
            for gateway in crew {
                let shared = snapshot(gateway, "ollama").await["shared"].clone();
                let number = |value: &Value| value.as_u64().unwrap();
                let degraded = shared["degraded"].as_bool().unwrap();
                parts.push((number(&shared["lease"]), number(&shared["replicas"]), degraded));
            }
            let is_so = wanted(&parts);
            *last.borrow_mut() = parts;
            is_so.then_some(())
        },
    )
    .await;
}

/// Clients of one gateway, each of which asks again as soon as it is answered.
pub struct Clients {
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Stops the clients of every gateway and returns how many answers each gateway gave.
pub async fn stop_all(clients: Vec<Clients>) -> Vec<usize> {
    let mut answers = Vec::new();
    for clients in clients {
        answers.push(clients.stop().await);
    }
    answers
}

impl Clients {
    /// Starts so many. An answer that is not 200 fails the test.
    pub fn start(gateway: &Gateway, count: usize) -> Self {
        let (answered, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let client = |_| {
            let url = gateway.url("/v1/chat");
            let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = post_json(&url, &chat("hi")).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let tasks = (0..count).map(client).collect();
        Self { answered, stop, tasks }
    }

    /// Awaits so many answers more.
    pub async fn served(&self, more: usize) {
        let until = self.answered.load(Ordering::Relaxed) + more;
        let now = || self.answered.load(Ordering::Relaxed);
        eventually(
            || format!("{until} answers, {} so far", now()),
            async || {
                (now() >= until || self.tasks.iter().any(JoinHandle::is_finished)).then_some(())
            },
        )
        .await;
        assert!(now() >= until, "a client failed; what it saw is above");
    }

    /// Stops them and returns how many answers there were.
    pub async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.answered.load(Ordering::Relaxed)
    }
}
