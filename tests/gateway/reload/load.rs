//! Clients with keys and clients without, which send requests all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinHandle;

use crate::client::{chat, get, post_json_with};
use crate::harness::Gateway;
use crate::patience::eventually;

/// A client, and its answer. The last one only requests the list of models.
const CLIENTS: [(&[(&str, &str)], u16); 5] = [
    (&[], 401),
    (&[("x-api-key", "sk-wrong")], 401),
    (&[("x-api-key", "sk-a")], 200),
    (&[("authorization", "Bearer sk-b")], 200),
    (&[("x-api-key", "")], 401),
];

/// The load, until it is ended.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<[AtomicUsize; CLIENTS.len()]>,
    clients: Vec<JoinHandle<usize>>,
}

impl Load {
    /// One client of each kind.
    pub fn on(gateway: &Gateway) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered: Arc<[AtomicUsize; CLIENTS.len()]> = Arc::default();
        let client = |(index, (headers, expected)): (usize, (&'static [_], u16))| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let (url, models) = (gateway.url("/v1/chat"), gateway.url("/v1/models"));
            tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::SeqCst) {
                    let answer = post_json_with(&url, headers, &chat("hi")).await;
                    assert_eq!(answer.status, expected, "{headers:?}: {}", answer.text());
                    sent += 1;
                    if headers.is_empty() {
                        assert_eq!(get(&models).await.status, 401);
                        sent += 1;
                    }
                    answered[index].fetch_add(1, Ordering::SeqCst);
                }
                sent
            })
        };
        let clients = CLIENTS.into_iter().enumerate().map(client).collect();
        Self { stop, answered, clients }
    }

    /// Awaits two more answers for every client: the second belongs to a request that was sent from
    /// now on.
    pub async fn goes_on(&self) {
        let counts = || self.answered.iter().map(|count| count.load(Ordering::SeqCst));
        let before: Vec<usize> = counts().collect();
        let has_all = async || {
            let is_dead = self.clients.iter().any(JoinHandle::is_finished);
            let all = counts().zip(&before).all(|(now, before)| now >= before + 2);
            (is_dead || all).then_some(())
        };
        eventually(|| "every client is answered twice".to_owned(), has_all).await;
    }

    /// Every client got the right answer, all the time; returns the number of requests.
    pub async fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let mut sent = 0;
        for client in self.clients {
            sent += client.await.unwrap();
        }
        sent
    }
}
