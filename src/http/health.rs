//! Liveness and readiness. They need no key, ask no provider and log nothing.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::{Map, json};

use super::{Front, not_get};
use crate::telemetry::journal::JOURNAL;

/// The paths, readiness first.
pub(super) const PATHS: [&str; 4] = ["/readyz", "/api/v1/health", "/livez", "/healthz"];

/// `GET` and `HEAD` of the health paths.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let [ready_path, alive_paths @ ..] = PATHS;
    for path in alive_paths {
        let resource = web::resource(path).route(web::get().to(alive)).route(web::head().to(alive));
        config.service(resource.default_service(web::to(not_get)));
    }
    let resource =
        web::resource(ready_path).route(web::get().to(ready)).route(web::head().to(ready));
    config.service(resource.default_service(web::to(not_get)));
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

async fn ready(front: Data<Front>) -> HttpResponse {
    if front.is_draining() {
        return HttpResponse::ServiceUnavailable()
            .insert_header(("retry-after", "5"))
            .json(json!({"status": "draining"}));
    }
    if front.is_starting() {
        return HttpResponse::ServiceUnavailable()
            .insert_header(("retry-after", "1"))
            .json(json!({"status": "starting"}));
    }
    // These are details, not reasons to be unready: a gateway without its Redis still works, and so
    // does one whose file has become invalid.
    let mut said = Map::from_iter([("status".to_owned(), json!("ok"))]);
    if let Some(redis) = front.redis() {
        said.insert("redis".to_owned(), json!(redis));
    }
    if JOURNAL.configuration().is_refused() {
        said.insert("configuration".to_owned(), json!("refused"));
    }
    HttpResponse::Ok().json(said)
}
