//! The simulated Ollama behind `llm-gateway sim` and `llm-gateway demo`: real HTTP, Ollama's wire
//! formats and Ollama's way of scheduling, without a model.
//!
//! It lets an operator try limits before buying hardware, so it owns Ollama's behaviour under load:
//! slots per loaded model, unbounded lines behind them, one load at a time through a bounded queue,
//! and evictions of models to free memory. A client that disconnects frees its slot and cancels its
//! load, and no byte is sent before the first token. Shapes and texts follow Ollama 0.33. It
//! refuses to say anything meaningful: answers are readable sentences that depend only on the seed,
//! the model and the question.
//!
//! It knows nothing of the gateway and shares only `listener` with it.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `settings`, `options` | the simulator's settings and command-line options |
//! | `routes`, `generation` | the endpoints |
//! | `engine` | the scheduler with its lock, wakers and timer |
//! | `scheduler`, `runner_options` | which calls run or wait, and what reloads a model, pure |
//! | `prompt`, `prompt_cache` | what a model reads for a call, and what it remembers of it, pure |
//! | `field`, `ask`, `embedding` | the reading of requests, pure |
//! | `answer`, `text`, `schema`, `clue` | the content of answers, pure |
//! | `wire`, `openai`, `told`, `refusal` | the encoding of answers, counts and errors |
//! | `name`, `catalog` | model names and each model's capabilities, pure |

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use actix_web::dev::ServerHandle;
use actix_web::middleware;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use tokio::sync::watch;

pub use self::options::SimOptions;
pub(crate) use self::options::{model_size, token_count};
pub use self::scheduler::SimSnapshot;
pub use self::settings::SimSettings;
pub use self::told::Counts;

use self::engine::Engine;
use crate::listener::end_after_upgrade;

mod answer;
mod ask;
mod catalog;
mod clue;
mod document;
mod embedding;
mod engine;
mod field;
mod generation;
pub(crate) mod name;
mod openai;
mod options;
mod prompt;
pub(crate) mod prompt_cache;
mod refusal;
mod routes;
pub(crate) mod runner_options;
pub(crate) mod scheduler;
mod schema;
mod settings;
mod text;
mod told;
mod wire;

#[cfg(test)]
mod tests;

/// A running simulator.
///
/// # Cancellation
/// Dropping it also stops it, without waiting for the end.
#[derive(Debug)]
pub struct Sim {
    engine: Arc<Engine>,
    addr: SocketAddr,
    server: ServerHandle,
    loads: JoinHandle<()>,
}

/// Binds the address and starts serving, on its own single thread. It handles no signals. Must be
/// called within a running actix system, which must keep running.
///
/// # Errors
/// When the address cannot be bound, or the thread cannot be started.
pub fn start(settings: SimSettings) -> io::Result<Sim> {
    let listen = settings.listen;
    let engine = Engine::new(settings);
    let shared = Data::from(Arc::clone(&engine));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            // Ollama would keep the connection.
            .wrap(middleware::from_fn(end_after_upgrade))
            .configure(routes::routes)
    })
    .workers(1)
    .disable_signals()
    // Otherwise the server notices a disconnected client only when the answer is ready.
    .h1_allow_half_closed(false)
    // Tokens are small and must not be delayed to be sent together.
    .tcp_nodelay(true)
    // Longer than any client's pool keeps an idle connection, so that clients close first.
    .keep_alive(Duration::from_secs(300))
    .shutdown_timeout(1)
    .bind(listen)?;
    let addr = server.addrs().first().copied().unwrap_or(listen);
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            log::error!("the simulated Ollama ended: {error}");
        }
    });
    let loads = actix_rt::spawn(Arc::clone(&engine).run_clock());
    Ok(Sim { engine, addr, server: handle, loads })
}

impl Sim {
    /// The address on which it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The scheduler's present counters.
    pub fn snapshot(&self) -> SimSnapshot {
        self.engine.snapshot()
    }

    /// The counters as they change; a slow reader sees only the newest.
    pub fn watch(&self) -> watch::Receiver<SimSnapshot> {
        self.engine.watch()
    }

    /// Stops at once, cuts off answers in progress, and waits until the listener is closed.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.loads.abort();
        // The call itself stops the server; the future only waits for the end. Stopping twice is
        // harmless.
        drop(self.server.stop(false));
    }
}
