//! The admin listener: metrics, snapshots, the knobs that an operator turns while the gateway runs,
//! and the console.
//!
//! It owns its routes, the access to them, and the console's events. It refuses requests that a
//! foreign web page could make a browser send: those with a foreign `Origin`, and, if no token is
//! required, those with a `Host` that is a name instead of an address.
//!
//! The one thing to know: a change by a knob lasts until the next reload that changes the same
//! setting.

pub mod settings;

mod access;
mod console;
mod feed;
mod frames;
mod history;
mod knobs;
mod models;
mod openapi;
mod operator;
mod playground;
mod verdict;

use std::any::Any;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, Server};
use actix_web::http::header::{ACCEPT, CACHE_CONTROL};
use actix_web::middleware;
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::{Value, json};
use socket2::SockRef;

use crate::admission::breaker::BreakerState;
use crate::admission::gate::health_checks::Health;
use crate::admission::gate::snapshot::Snapshot;
use crate::http::Front;
use crate::listener::end_after_upgrade;
use crate::secret::Secret;
use crate::telemetry::journal::JOURNAL;
use crate::telemetry::{KeysState, ProviderState, WaitPredicted, metrics};
use operator::Operator;

pub use feed::Feed;

/// How long a console may receive nothing before its connection is closed.
const STALL: Duration = Duration::from_secs(30);

/// What the admin listener needs from the application.
pub struct Admin {
    /// The gateway's front.
    pub front: Data<Front>,
    /// The bound address of the main listener.
    pub main: SocketAddr,
    /// The events for consoles.
    pub feed: Arc<Feed>,
    /// The bearer token; empty if none is required.
    pub token: Secret,
    /// Reads the configuration again; returns the problems if it is refused.
    pub reload: Box<dyn Fn() -> Result<Reloaded, Vec<String>> + Send + Sync>,
    /// Returns the configuration in force, with secrets masked.
    pub effective: Box<dyn Fn() -> Effective + Send + Sync>,
}

/// The configuration in force, and where its values are from.
#[derive(Debug)]
pub struct Effective {
    /// As TOML with comments.
    pub text: String,
    /// As a list of values.
    pub json: Value,
}

/// The result of a reload, for the operator who asked for it.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// Settings that work but should be changed.
    pub warnings: Vec<String>,
    /// What differs from the configuration before.
    pub changed: Vec<Value>,
    /// Limits that were changed at run time and stay so.
    pub patched: Vec<Value>,
    /// Keys that have changed in the file while a variable overrides them, with that variable.
    pub overridden: Vec<(String, String)>,
    /// Keys that take effect only with the next start.
    pub next_start: Vec<&'static str>,
}

/// Serves the admin listener until it is stopped.
///
/// # Errors
///
/// If the listener cannot be used.
pub fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<Server> {
    let admin = Data::from(Arc::new(admin));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(admin.clone())
            .wrap(middleware::from_fn(access::check))
            .wrap(middleware::from_fn(end_after_upgrade))
            .route("/metrics", web::get().to(scrape))
            .route("/openapi.json", web::get().to(openapi::document))
            .route("/admin/providers", web::get().to(providers))
            .route("/admin/keys", web::get().to(keys))
            .route("/admin/config", web::get().to(config))
            .route("/admin/reload", web::post().to(reload))
            .route("/admin/cache/clear", web::post().to(clear_cache))
            .route("/admin/events", web::get().to(events))
            .route("/admin/playground", web::post().to(playground::play))
            .configure(knobs::routes)
            .configure(models::routes)
            .configure(console::routes)
    })
    .on_connect(bound_writing)
    .workers(1)
    .h1_allow_half_closed(false)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?;
    Ok(server.run())
}

/// Lets the kernel close connections that do not progress: a console whose machine sleeps does not
/// close its own, and would keep its seat.
fn bound_writing(connection: &dyn Any, _extensions: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
    let socket = SockRef::from(stream);
    let set = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_user_timeout(Some(STALL)));
    if let Err(error) = set {
        log::debug!("the options of a console's socket cannot be set: {error}");
    }
}

async fn events(admin: Data<Admin>) -> HttpResponse {
    match admin.feed.open() {
        Some(events) => HttpResponse::Ok()
            .content_type("text/event-stream")
            .insert_header((CACHE_CONTROL, "no-store"))
            // nginx would delay events to fill its buffer.
            .insert_header(("x-accel-buffering", "no"))
            .streaming(events),
        None => HttpResponse::ServiceUnavailable()
            .insert_header(("retry-after", "5"))
            .json(json!({"detail": "too many consoles are open, close one"})),
    }
}

async fn scrape(admin: Data<Admin>) -> HttpResponse {
    let mut queued: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for provider in &admin.front.routing().providers {
        let status = provider.status();
        for (key, count) in &status.gate.queued_by_caller {
            *queued.entry(Arc::clone(key)).or_default() += count;
        }
        let wait = Duration::from_millis(status.gate.predicted_wait_ms);
        WaitPredicted { provider: status.name, wait }.emit();
        ProviderState {
            provider: status.name,
            in_flight: u64::from(status.gate.in_flight),
            queued: status.gate.queued,
            limit: u64::from(status.gate.limit),
            breaker: worst_breaker(&status.gate),
            is_healthy: match status.gate.health {
                Health::Unknown => None,
                Health::Passing => Some(true),
                Health::Failing => Some(false),
            },
            mailbox: u64::try_from(status.mailbox_depth).unwrap_or(u64::MAX),
            quarantined: status.gate.quarantined.len(),
        }
        .emit();
    }
    KeysState { queued }.emit();
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(metrics::render())
}

/// The gauge's value for the worst state among the breakers of the provider and its models.
fn worst_breaker(gate: &Snapshot) -> i64 {
    let number = |state: BreakerState| match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
        BreakerState::AuthFailed => 3,
    };
    let models = gate.models.iter().map(|model| number(model.breaker.state));
    models.fold(number(gate.breaker.state), i64::max)
}

async fn providers(admin: Data<Admin>) -> HttpResponse {
    let routing = admin.front.routing();
    let providers: Vec<_> = routing.providers.iter().map(|provider| provider.status()).collect();
    let is_refused = JOURNAL.configuration().is_refused();
    HttpResponse::Ok().json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "configuration": if is_refused { "refused" } else { "ok" },
        "verdict": admin.feed.verdict(&providers),
        "providers": providers,
        "cache": admin.front.cache().status(),
        "buffered_bytes": admin.front.buffered(),
        "draining": admin.front.is_draining(),
        "redis": admin.front.redis(),
    }))
}

async fn keys(admin: Data<Admin>) -> HttpResponse {
    let limits = admin.front.limits();
    HttpResponse::Ok().json(json!({"keys": limits.statuses(), "replicas": limits.replicas()}))
}

async fn config(admin: Data<Admin>, request: HttpRequest) -> HttpResponse {
    let effective = (admin.effective)();
    let accepted = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accepted.is_some_and(|accept| accept.starts_with("application/json")) {
        return HttpResponse::Ok().json(effective.json);
    }
    HttpResponse::Ok().content_type("application/toml; charset=utf-8").body(effective.text)
}

async fn clear_cache(admin: Data<Admin>, operator: Operator) -> HttpResponse {
    let cache = admin.front.cache();
    match cache.clear().await {
        Ok(()) => {
            operator.did("the cache was cleared");
            HttpResponse::Ok().json(cache.status())
        }
        Err(error) => {
            let detail = format!("cleared in this gateway only: {error}");
            operator.did(&format!("the cache was {detail}"));
            HttpResponse::ServiceUnavailable().json(json!({"detail": detail}))
        }
    }
}

async fn reload(admin: Data<Admin>, operator: Operator) -> HttpResponse {
    operator.did("the configuration is to be read again");
    let read = (admin.reload)();
    let reads = JOURNAL.configuration().reads;
    match read {
        Ok(Reloaded { warnings, changed, patched, overridden, next_start }) => {
            let by = |(key, variable): &(String, String)| json!({"key": key, "variable": variable});
            let overridden: Vec<_> = overridden.iter().map(by).collect();
            HttpResponse::Ok().json(json!({
                "status": "reloaded",
                "reads": reads,
                "changed": changed,
                "patched": patched,
                "overridden": overridden,
                "next_start": next_start,
                "warnings": warnings,
            }))
        }
        Err(problems) => HttpResponse::UnprocessableEntity()
            .json(json!({"detail": "refused", "problems": problems, "reads": reads})),
    }
}
