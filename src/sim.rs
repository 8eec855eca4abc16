//! The simulated Ollama behind `llm-gateway sim` and `llm-gateway demo`: real HTTP, Ollama's wire
//! formats and Ollama's way of scheduling, without a model.
//!
//! It lets an operator try limits before buying hardware, so what it owns is the behaviour under
//! load: slots per loaded model, unbounded lines behind them, one load at a time through a
//! bounded queue, models swapped out to make room, a client's leaving that frees its slot and
//! aborts its load, and not a byte before the first token. Shapes and texts follow Ollama 0.33.
//! It refuses to say anything meaningful: answers are readable sentences that depend only on the
//! seed, the model and the question.
//!
//! It knows nothing of the gateway and shares only `listener` with it.
//!
//! | file | what |
//! | --- | --- |
//! | `settings`, `options` | what is simulated |
//! | `routes`, `generation` | the endpoints |
//! | `engine` | the scheduler with its lock, wakers and timer |
//! | `scheduler`, `runner_options` | who runs and who waits, and what makes a model load again, pure |
//! | `field`, `ask`, `embedding` | what clients ask, pure |
//! | `answer`, `text`, `schema`, `clue` | what is said, pure |
//! | `wire`, `openai`, `refusal` | how it is written |
//! | `name`, `catalog` | model names and what each model can do, pure |

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
pub use self::scheduler::SimSnapshot;
pub use self::settings::SimSettings;

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
mod name;
mod openai;
mod options;
mod refusal;
mod routes;
mod runner_options;
mod scheduler;
mod schema;
mod settings;
mod text;
mod wire;

#[cfg(test)]
mod tests;

/// A running simulator.
///
/// # Cancellation
/// Dropping it stops it too, without waiting for the end.
#[derive(Debug)]
pub struct Sim {
    engine: Arc<Engine>,
    addr: SocketAddr,
    server: ServerHandle,
    loads: JoinHandle<()>,
}

/// Binds the address and starts serving, on one thread of its own. Signals are left alone. Must
/// be called within a running actix system, which must keep running.
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
    // Otherwise a client's leaving goes unnoticed until the answer is ready.
    .h1_allow_half_closed(false)
    // Tokens are small and must not wait for one another.
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
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The numbers now.
    pub fn snapshot(&self) -> SimSnapshot {
        self.engine.snapshot()
    }

    /// The numbers as they change; a slow reader sees only the newest.
    pub fn watch(&self) -> watch::Receiver<SimSnapshot> {
        self.engine.watch()
    }

    /// Stops at once, cutting off answers in progress, and waits until nothing listens.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.loads.abort();
        // The order goes out with the call; the future only waits for the end. Twice is fine.
        drop(self.server.stop(false));
    }
}
