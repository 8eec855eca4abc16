//! A scripted provider on a real loopback socket.
//!
//! It owns a thread with its own runtime, so that it answers on time however busy the test is. It
//! reads HTTP/1.1 by hand, so that it can break every rule of it: for each call a closure looks at
//! the [`Call`] and returns the [`Script`] to play. It refuses nothing and validates nothing.
//!
//! What a reader would get wrong: only *model calls* are scripted, numbered and counted. Questions
//! about the provider itself (any `GET` or `HEAD`, `/api/show`, and the gateway's own loads) are
//! answered as a healthy Ollama would and kept apart, because a gateway asks them whenever it
//! likes. [`Upstream::spawn_whole`] scripts those too.

pub mod anthropic;
mod connection;
mod dead_end;
pub mod fixture;
pub mod gemini;
mod inbox;
mod ledger;
pub mod ollama;
pub mod openai;
mod play;
mod script;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::patience::until;
use connection::Stage;
pub use dead_end::{black_hole, refusing, silent};
use ledger::Ledger;
pub use ledger::{Call, Left};
pub use script::{Gate, Leaving, Script};

/// A provider under the test's control. Dropping it closes its listener and all its connections.
pub struct Upstream {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts a provider that answers every model call with what `script` returns for it.
    pub fn spawn(script: impl Fn(&Call) -> Script + Send + Sync + 'static) -> Self {
        Self::start(Box::new(script), false)
    }

    /// Like [`Upstream::spawn`], but questions about the provider itself are scripted, numbered and
    /// counted like calls.
    pub fn spawn_whole(script: impl Fn(&Call) -> Script + Send + Sync + 'static) -> Self {
        Self::start(Box::new(script), true)
    }

    /// Starts a well-behaved Ollama that answers every chat with a few tokens.
    pub fn ollama() -> Self {
        Self::spawn(ollama::reply)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL without a trailing slash, as the configuration wants it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Awaits the `count`-th model call and returns all that have arrived, in order of arrival.
    pub async fn calls(&self, count: usize) -> Vec<Call> {
        self.until(&format!("{count} calls at the upstream"), |ledger| {
            (ledger.call_count() >= count).then(|| ledger.all_calls())
        })
        .await
    }

    /// The model calls that have arrived so far, without waiting.
    pub fn calls_so_far(&self) -> Vec<Call> {
        self.ledger.all_calls()
    }

    /// The questions about the provider itself that have arrived so far.
    pub fn questions_so_far(&self) -> Vec<Call> {
        self.ledger.all_questions()
    }

    /// Awaits the moment the peer's closing of the connection of call `number` was seen.
    ///
    /// With the instant at which a test's client left, `left.at - instant` is how long the gateway
    /// went on. A connection that the upstream itself closed first never counts.
    pub async fn left(&self, number: usize) -> Left {
        self.until(&format!("the peer of call {number} leaves"), |ledger| ledger.left(number)).await
    }

    /// Awaits the moment the last byte of the answer to call `number` had been written.
    pub async fn answered(&self, number: usize) -> Instant {
        self.until(&format!("call {number} is answered"), |ledger| ledger.answered(number)).await
    }

    /// Awaits the moment when no call is being answered.
    pub async fn at_rest(&self) {
        self.until("no call is under way", |ledger| (ledger.under_way() == 0).then_some(())).await;
    }

    /// Awaits the moment when `count` calls are being answered at once.
    pub async fn busy(&self, count: usize) {
        let what = format!("{count} calls are under way at once");
        self.until(&what, |ledger| (ledger.under_way() >= count).then_some(())).await;
    }

    /// How many calls are being answered now.
    pub fn under_way(&self) -> usize {
        self.ledger.under_way()
    }

    /// The most calls that were ever being answered at once.
    pub fn peak(&self) -> usize {
        self.ledger.peak()
    }

    /// How many connections were ever accepted.
    pub fn connections(&self) -> usize {
        self.ledger.connections()
    }

    async fn until<T>(&self, what: &str, mut probe: impl FnMut(&Ledger) -> Option<T>) -> T {
        until(what, self.ledger.changes(), || probe(&self.ledger)).await
    }

    fn start(script: Box<dyn Fn(&Call) -> Script + Send + Sync>, scripts_questions: bool) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Arc::new(Ledger::default());
        let stage = Arc::new(Stage { script, scripts_questions, ledger: ledger.clone() });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                tokio::select! {
                    () = accept(listener, stage) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, ledger, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) && !std::thread::panicking() {
            panic!("the upstream's thread panicked; its message is above");
        }
    }
}

async fn accept(listener: std::net::TcpListener, stage: Arc<Stage>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let connection = stage.ledger.connected();
        tokio::spawn(connection::serve(stream, connection, stage.clone()));
    }
}
