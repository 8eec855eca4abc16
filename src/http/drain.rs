//! Orderly shutdown: no new requests, time for running ones, then the end of the rest.
//!
//! It owns the count of exchanges that are not over. It knows nothing of signals or listeners.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::chat::{EdgeReason, ErrorKind, GatewayError};

/// Whether the gateway is stopping, and how many exchanges still run.
#[derive(Debug)]
pub struct Drain {
    begun: AtomicBool,
    active: AtomicUsize,
    at_rest: Notify,
    stopped: watch::Sender<bool>,
}

/// An exchange that is not over.
#[derive(Debug)]
pub struct Active(Arc<Drain>);

impl Drain {
    /// Nothing runs, and the gateway is not stopping.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let (stopped, _) = watch::channel(false);
        let (begun, active) = (AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(Self { begun, active, at_rest: Notify::new(), stopped })
    }

    /// Counts an exchange until it is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::AcqRel);
        Active(Arc::clone(self))
    }

    /// How many exchanges are not over.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// Whether new requests are refused.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Refuses new requests, gives running ones `time` to finish, and then ends them. Returns when
    /// nothing runs.
    pub async fn run(&self, time: Duration) {
        self.begun.store(true, Ordering::Release);
        if tokio::time::timeout(time, self.rest()).await.is_err() {
            log::warn!("{} requests are ended unfinished", self.active.load(Ordering::Acquire));
            self.stopped.send_replace(true);
            // The remaining exchanges only have to write one more piece each.
            drop(tokio::time::timeout(LAST_WORDS, self.rest()).await);
        }
    }

    async fn rest(&self) {
        loop {
            let notified = self.at_rest.notified();
            if self.active.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// How long ended exchanges may take to write their last piece.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Active {
    /// Waits until the exchange has to end.
    pub fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let mut stopped = self.0.stopped.subscribe();
        async move {
            // The sender lives as long as this exchange; if it is gone, there is nothing to wait
            // for.
            drop(stopped.wait_for(|stopped| *stopped).await);
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.at_rest.notify_waiters();
        }
    }
}

/// The error for requests that arrive or are ended while the gateway stops.
#[must_use]
pub fn draining() -> GatewayError {
    GatewayError::new(ErrorKind::Draining, "the gateway is stopping")
        .turned_away(EdgeReason::Stopping)
        .retry_after(Duration::from_millis(fastrand::u64(1000..5000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn running_exchanges_get_their_time_and_are_then_ended() {
        let drain = Drain::new();
        let quick = drain.enter();
        let slow = drain.enter();
        let ended = tokio::spawn(async move {
            slow.stopped().await;
            drop(slow);
        });
        drop(quick);
        assert!(!drain.has_begun());
        let began = tokio::time::Instant::now();
        drain.run(Duration::from_secs(30)).await;
        assert!(drain.has_begun());
        assert_eq!(began.elapsed(), Duration::from_secs(30));
        ended.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn without_running_exchanges_a_drain_returns_at_once() {
        let drain = Drain::new();
        drop(drain.enter());
        let began = tokio::time::Instant::now();
        drain.run(Duration::from_secs(30)).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
