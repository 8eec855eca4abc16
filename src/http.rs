//! The main listener: paths, keys, bounds, the chat handler, bodies, errors.
//!
//! It owns the main listener's behaviour and a [`Front`], which all workers share. It refuses
//! requests that are malformed, too large or too slow before any other module sees them.
//!
//! The one thing to know: everything about a request ends in its `Exchange`, which counts the
//! outcome once and is dropped when the client disconnects.

mod address;
pub mod auth;
mod body;
mod body_reader;
mod caching;
mod carry;
mod chat;
mod connection;
pub mod cors;
mod drain;
mod exchange;
mod heads;
mod health;
mod manage;
mod models;
mod openapi;
mod panics;
mod quota;
mod raw;
mod request_options;
mod responses;
mod rest;
pub mod served;
pub mod settings;
mod shard;
mod submit;
mod transport;
mod upgrade;

use std::future::ready;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::Addr;
use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_service::{ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::{AppConfig, Server};
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data, Payload};
use actix_web::{App, HttpRequest, HttpResponse, middleware};
use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::admission::leases::Leases;
use crate::cache::Cache;
use crate::cache::responses::Responses;
use crate::cache::settings::{CacheSettings, ResponsesSettings};
use crate::chat::{ErrorKind, GatewayError, Method, Origin};
use crate::dialect::DIALECTS;
use crate::limit::{Failures, Limits};
use crate::redis::Link;
use crate::router::{Reconfigure, RouterActor, Routing};
use auth::Callers;
use body_reader::Budget;
use connection::{Connection, HEAD_TIME, KEEP_ALIVE};
use cors::Cors;
use drain::Drain;
use exchange::Exchange;
use settings::{AuthSettings, KeySettings, ServerSettings};

/// How long the rest of a request's body is discarded after an early answer, so that the client
/// reads that answer instead of a reset.
const LINGER: Duration = Duration::from_secs(1);
/// How many seconds clients have to read the last bytes of their answers when the gateway stops.
/// Idle connections are closed at once.
const LAST_BYTES: u64 = 3;

/// The state of the main listener that all workers share.
#[derive(Debug)]
pub struct Front {
    number: usize,
    settings: ArcSwap<ServerSettings>,
    callers: ArcSwap<Callers>,
    limits: Limits,
    failures: Failures,
    /// Whether only this machine can reach the listener, which no reload changes.
    is_on_loopback: bool,
    cors: ArcSwap<Cors>,
    routing: ArcSwap<Routing>,
    routers: Mutex<Vec<Addr<RouterActor>>>,
    cache: Cache,
    responses: Responses,
    budget: Arc<Budget>,
    drain: Arc<Drain>,
    link: Option<Link>,
    leases: Option<Arc<Leases>>,
}

impl Front {
    /// A front that accepts work.
    #[must_use]
    pub fn new(
        settings: &ServerSettings,
        auth: &AuthSettings,
        keys: &[KeySettings],
        (cache, responses): (&CacheSettings, &ResponsesSettings),
        routing: Arc<Routing>,
        link: Option<Link>,
        leases: Option<Arc<Leases>>,
    ) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let limits = Limits::new(link.clone());
        let is_on_loopback = settings.listen.ip().to_canonical().is_loopback();
        Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            settings: ArcSwap::from_pointee(settings.clone()),
            callers: ArcSwap::from_pointee(Callers::new(auth, keys, &limits)),
            limits,
            failures: Failures::new(auth.failures.rate()),
            is_on_loopback,
            cors: ArcSwap::from_pointee(Cors::new(&settings.cors.origins, is_on_loopback)),
            routing: ArcSwap::new(routing),
            routers: Mutex::new(Vec::new()),
            cache: Cache::new(cache, link.clone()),
            responses: Responses::new(responses, link.clone()),
            budget: Budget::new(settings.max_buffered),
            drain: Drain::new(),
            link,
            leases,
        }
    }

    /// Takes another configuration. Running requests finish under the old one.
    pub fn change(
        &self,
        settings: &ServerSettings,
        auth: &AuthSettings,
        keys: &[KeySettings],
        (cache, responses): (&CacheSettings, &ResponsesSettings),
        routing: Arc<Routing>,
    ) {
        self.settings.store(Arc::new(settings.clone()));
        self.callers.store(Arc::new(Callers::new(auth, keys, &self.limits)));
        self.failures.change(auth.failures.rate());
        self.cors.store(Arc::new(Cors::new(&settings.cors.origins, self.is_on_loopback)));
        self.budget.change(settings.max_buffered);
        self.cache.change(cache);
        self.responses.change(responses);
        let mut routers = self.routers.lock();
        self.routing.store(Arc::clone(&routing));
        routers.retain(Addr::connected);
        for router in &*routers {
            // One message per change and worker.
            router.do_send(Reconfigure(Arc::clone(&routing)));
        }
    }

    /// The providers and rules now in force.
    #[must_use]
    pub fn routing(&self) -> Arc<Routing> {
        self.routing.load_full()
    }

    /// The callers' limits and their use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers cached and in flight.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The bytes of request bodies held now.
    #[must_use]
    pub fn buffered(&self) -> u64 {
        self.budget.held()
    }

    /// How many requests are not over.
    #[must_use]
    pub fn active(&self) -> usize {
        self.drain.active()
    }

    /// Whether new requests are refused because the gateway is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// The state of the shared Redis: `ok` or `degraded`; `None` when there is none.
    #[must_use]
    pub fn redis(&self) -> Option<&'static str> {
        let link = self.link.as_ref()?;
        Some(if link.is_degraded() { "degraded" } else { "ok" })
    }

    /// Whether it has just started and does not know its leases yet.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.leases.as_ref().is_some_and(|leases| leases.is_starting())
    }

    /// Refuses new requests, gives running ones time to finish, and ends the rest. Returns when
    /// nothing runs.
    pub async fn drain(&self) {
        let time = self.settings.load().drain;
        self.drain.run(time).await;
    }

    /// Whether any program on this machine may call without a key.
    fn is_open_to_this_machine(&self) -> bool {
        self.is_on_loopback && self.callers.load().are_anonymous()
    }

    /// Starts this thread's router.
    fn start_router(&self) -> Addr<RouterActor> {
        // Under the lock, so that no change falls between reading the rules and registering the
        // router.
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
    let server = Server::build();
    // Tells idle connections that the server stops.
    let stopping = server.graceful_shutdown_signal();
    let service = move || {
        let app = App::new()
            .app_data(front.clone())
            .wrap(middleware::from_fn(panics::catch))
            .wrap(middleware::from_fn(transport::carry))
            .configure(routes)
            .default_service(web::to(elsewhere));
        // The host and address are for links that an application generates; this one generates
        // none.
        let stopping = stopping.clone();
        let app = map_config(app, |()| AppConfig::default());
        let requests = HttpService::build()
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIME)
            .client_disconnect_timeout(LINGER)
            // A half-closed connection counts as closed: otherwise a disconnect is noticed only at
            // the next write.
            .h1_allow_half_closed(false)
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .on_connect_ext(Connection::introduce)
            .h1(app);
        let connect = fn_service(move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            ready(Ok::<_, DispatchError>((Connection::new(stream, stall), peer)))
        });
        connect.and_then(requests)
    };
    Ok(server
        .workers(workers)
        .disable_signals()
        .shutdown_timeout(LAST_BYTES)
        .listen("gateway", listener, service)?
        .run())
}

fn routes(config: &mut web::ServiceConfig) {
    for dialect in DIALECTS {
        for path in dialect.paths() {
            let handler = move |request: HttpRequest, payload: Payload, front: Data<Front>| {
                chat::chat(*dialect, request, payload, front)
            };
            let resource = web::resource(*path).route(web::post().to(handler));
            config.service(resource.default_service(web::to(not_post)));
        }
    }
    responses::routes(config);
    models::routes(config);
    manage::routes(config);
    health::routes(config);
    openapi::routes(config);
}

/// What no path of the gateway's own takes: passed on if a provider lists the path.
async fn elsewhere(request: HttpRequest, payload: Payload, front: Data<Front>) -> HttpResponse {
    let Some(path) = raw::listed(&request, &front) else { return nowhere(request, front).await };
    match Method::of(request.method().as_str()) {
        Some(method @ (Method::Get | Method::Post)) => {
            raw::pass_on((method, path), request, payload, front).await
        }
        Some(Method::Head | Method::Delete) | None => wrong_method(&request, &front, "GET, POST"),
    }
}

async fn nowhere(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    let error =
        GatewayError::new(ErrorKind::NotFound, "there is no such path").from(Origin::Client);
    refuse(&request, &front, &error)
}

async fn not_post(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    wrong_method(&request, &front, "POST")
}

async fn not_get(request: HttpRequest, front: Data<Front>) -> HttpResponse {
    wrong_method(&request, &front, "GET, HEAD")
}

fn wrong_method(request: &HttpRequest, front: &Front, allow: &'static str) -> HttpResponse {
    let message = format!("this path takes {allow} only");
    let error = GatewayError::new(ErrorKind::MethodNotAllowed, message);
    let mut response = refuse(request, front, &error.from(Origin::Client));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// Answers a request that is refused by its path and method alone, and counts it like any other.
fn refuse(request: &HttpRequest, front: &Front, error: &GatewayError) -> HttpResponse {
    Exchange::stray(request, front.drain.enter()).fail(error)
}
