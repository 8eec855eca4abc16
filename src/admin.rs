//! The admin listener: metrics, snapshots, and the knobs an operator turns while the gateway runs.
//!
//! It owns its routes and who may use them. It refuses requests that a web page elsewhere could make a browser send:
//! a foreign `Origin`, and, where no token is asked for, a `Host` that is a name instead of an address.
//!
//! The one thing to know: what a knob changes lasts until the next reload that changes the same setting.

pub mod settings;

mod access;
mod knobs;

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer, middleware};
use serde_json::json;

use crate::http::Front;
use crate::provider::breaker::BreakerState;
use crate::provider::gate::checked::Health;
use crate::provider::gate::snapshot::Snapshot;
use crate::secret::Secret;
use crate::telemetry::{ProviderState, metrics};

/// What the admin listener needs from the application.
pub struct Admin {
    /// The gateway's front.
    pub front: Data<Front>,
    /// The bearer token; empty means none is asked for.
    pub token: Secret,
    /// Reads the configuration again. The problems, one per line, when it is refused.
    pub reload: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// The effective configuration, secrets masked.
    pub effective: Box<dyn Fn() -> String + Send + Sync>,
}

/// Serves the admin listener until it is stopped.
///
/// # Errors
///
/// When the listener cannot be used.
pub fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<Server> {
    let admin = Data::from(Arc::new(admin));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(admin.clone())
            .wrap(middleware::from_fn(access::check))
            .route("/metrics", web::get().to(scrape))
            .route("/admin/providers", web::get().to(providers))
            .route("/admin/keys", web::get().to(keys))
            .route("/admin/config", web::get().to(config))
            .route("/admin/reload", web::post().to(reload))
            .configure(knobs::routes)
    })
    .workers(1)
    .h1_allow_half_closed(false)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?;
    Ok(server.run())
}

async fn scrape(admin: Data<Admin>) -> HttpResponse {
    for provider in &admin.front.routing().providers {
        let status = provider.status();
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
        }
        .emit();
    }
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(metrics::render())
}

/// The state of the provider's breaker or of that of its worst model, as the gauge has it.
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
    HttpResponse::Ok().json(json!({
        "providers": providers,
        "buffered_bytes": admin.front.buffered(),
        "draining": admin.front.is_draining(),
        "redis": admin.front.redis(),
    }))
}

async fn keys(admin: Data<Admin>) -> HttpResponse {
    let limits = admin.front.limits();
    HttpResponse::Ok().json(json!({"keys": limits.statuses(), "replicas": limits.replicas()}))
}

async fn config(admin: Data<Admin>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/toml; charset=utf-8").body((admin.effective)())
}

async fn reload(admin: Data<Admin>) -> HttpResponse {
    match (admin.reload)() {
        Ok(()) => HttpResponse::Ok().json(json!({"status": "reloaded"})),
        Err(problems) => {
            let problems: Vec<&str> = problems.lines().collect();
            HttpResponse::UnprocessableEntity()
                .json(json!({"detail": "refused", "problems": problems}))
        }
    }
}
