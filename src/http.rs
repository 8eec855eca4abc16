//! Bytes from and to clients: paths, keys, bounds, the chat handler, bodies, errors.
//!
//! It owns the main listener's behaviour and a [`Front`], which all workers share. It refuses what is malformed, too
//! large or too slow before anything else hears of it.
//!
//! The one thing to know: everything about a request ends in its `Exchange`, which counts the outcome once and is
//! dropped when the client leaves.

mod auth;
mod body;
mod chat;
mod drain;
mod exchange;
mod health;
mod intake;
mod panics;
pub mod settings;
mod shard;

use std::any::Any;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::Addr;
use actix_web::dev::Server;
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data, Payload};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, middleware};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use socket2::SockRef;

use crate::chat::{ErrorKind, GatewayError, Origin};
use crate::dialect::{DIALECTS, Dialect};
use crate::router::{Reconfigure, RouterActor, Routing};
use auth::Callers;
use drain::Drain;
use exchange::error_response;
use intake::Budget;
use settings::{KeySettings, ServerSettings};

/// How long the head of a connection's first request may take.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection without a request is kept: longer than common load balancers keep theirs (60 s), so that
/// it is they who close.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How much of an answer the kernel may hold for a client that does not read. Doubled by Linux.
const SEND_BUFFER: usize = 64 * 1024;
/// How many seconds clients have to take in the last bytes of their answers when the gateway stops. Idle connections
/// are closed without waiting for it.
const LAST_BYTES: u64 = 3;

/// What all workers share of the main listener.
#[derive(Debug)]
pub struct Front {
    number: usize,
    settings: ArcSwap<ServerSettings>,
    callers: ArcSwap<Callers>,
    routing: ArcSwap<Routing>,
    routers: Mutex<Vec<Addr<RouterActor>>>,
    budget: Arc<Budget>,
    drain: Arc<Drain>,
}

impl Front {
    /// A front that is ready for work.
    #[must_use]
    pub fn new(settings: &ServerSettings, keys: &[KeySettings], routing: Arc<Routing>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            settings: ArcSwap::from_pointee(settings.clone()),
            callers: ArcSwap::from_pointee(Callers::new(keys)),
            routing: ArcSwap::new(routing),
            routers: Mutex::new(Vec::new()),
            budget: Budget::new(settings.max_buffered),
            drain: Drain::new(),
        }
    }

    /// Takes another configuration. What runs is finished under the old one.
    pub fn change(&self, settings: &ServerSettings, keys: &[KeySettings], routing: Arc<Routing>) {
        self.settings.store(Arc::new(settings.clone()));
        self.callers.store(Arc::new(Callers::new(keys)));
        self.budget.change(settings.max_buffered);
        let mut routers = self.routers.lock();
        self.routing.store(Arc::clone(&routing));
        routers.retain(Addr::connected);
        for router in &*routers {
            // One per change and worker.
            router.do_send(Reconfigure(Arc::clone(&routing)));
        }
    }

    /// The providers and rules now in force.
    #[must_use]
    pub fn routing(&self) -> Arc<Routing> {
        self.routing.load_full()
    }

    /// The bytes of request bodies held now.
    #[must_use]
    pub fn buffered(&self) -> u64 {
        self.budget.held()
    }

    /// Whether new work is turned away because the gateway is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// Turns new work away, gives what runs its time, and ends the rest. Returns when nothing runs.
    pub async fn drain(&self) {
        let time = self.settings.load().drain;
        self.drain.run(time).await;
    }

    /// Starts this thread's router.
    fn start_router(&self) -> Addr<RouterActor> {
        // Under the lock, so that no change falls between reading the rules and being known.
        let mut routers = self.routers.lock();
        let router = RouterActor::start_for(self.routing.load_full());
        routers.push(router.clone());
        router
    }
}

/// Serves the main listener until it is stopped.
///
/// # Errors
///
/// When the listener cannot be used.
pub fn serve(listener: TcpListener, front: Data<Front>) -> std::io::Result<Server> {
    let settings = front.settings.load_full();
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let stall = settings.write_stall;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(front.clone())
            .wrap(middleware::from_fn(panics::catch))
            .configure(routes)
            .default_service(web::to(nowhere))
    })
    .workers(workers)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_TIME)
    // Half a connection is no client: without this a client's leaving is noticed only when it is written to.
    .h1_allow_half_closed(false)
    // A body is asked for more only when everything before was taken by the kernel. A body that fails makes actix
    // forget what it has not written, which would be the error event of a client that reads slowly.
    .h1_write_buffer_size(1)
    .on_connect(move |connection, _| prepare(connection, stall))
    .disable_signals()
    .shutdown_timeout(LAST_BYTES)
    .listen(listener)?;
    Ok(server.run())
}

/// Sets the options of a client's socket. A client that acknowledges nothing, or takes nothing in, for `stall` is
/// reset by the kernel (`TCP_USER_TIMEOUT` covers a closed window too), which ends its exchange.
fn prepare(connection: &dyn Any, stall: Duration) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
    let socket = SockRef::from(stream);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_user_timeout(Some(stall)))
        .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER));
    if let Err(error) = set {
        log::debug!("the options of a client's socket cannot be set: {error}");
    }
}

fn routes(config: &mut web::ServiceConfig) {
    for dialect in DIALECTS {
        for path in dialect.paths() {
            let handler = move |request: HttpRequest, payload: Payload, front: Data<Front>| {
                chat::chat(*dialect, request, payload, front)
            };
            let resource = web::resource(*path).route(web::post().to(handler));
            config.service(resource.default_service(web::to(wrong_method)));
        }
    }
    health::routes(config);
}

/// The dialect whose clients use this path; the native one where none does.
fn dialect_of(path: &str) -> &'static dyn Dialect {
    let native: &'static dyn Dialect = &crate::dialect::Native;
    DIALECTS
        .iter()
        .find(|dialect| dialect.paths().contains(&path))
        .map_or(native, |dialect| *dialect)
}

async fn nowhere(request: HttpRequest) -> HttpResponse {
    let error =
        GatewayError::new(ErrorKind::NotFound, "there is no such path").from(Origin::Client);
    refuse(&request, &error)
}

async fn wrong_method(request: HttpRequest) -> HttpResponse {
    let error = GatewayError::new(ErrorKind::MethodNotAllowed, "this path takes POST only");
    let mut response = refuse(&request, &error.from(Origin::Client));
    let allow = actix_web::http::header::HeaderValue::from_static("POST");
    response.headers_mut().insert(actix_web::http::header::ALLOW, allow);
    response
}

/// Answers what never becomes a request.
fn refuse(request: &HttpRequest, error: &GatewayError) -> HttpResponse {
    error_response(dialect_of(request.path()), error, &exchange::request_id(request), None)
}
