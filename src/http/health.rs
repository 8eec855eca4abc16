//! Whether the process lives, and whether it takes work. No key, no provider asked, nothing logged.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::json;

use super::{Front, not_get};

/// `GET` and `HEAD` of the health paths.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    for path in ["/api/v1/health", "/livez", "/healthz"] {
        let resource = web::resource(path).route(web::get().to(alive)).route(web::head().to(alive));
        config.service(resource.default_service(web::to(not_get)));
    }
    let resource =
        web::resource("/readyz").route(web::get().to(ready)).route(web::head().to(ready));
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
    match front.redis() {
        // A gateway without its Redis works all the same, so this is a detail and no reason to send clients away.
        Some(redis) => HttpResponse::Ok().json(json!({"status": "ok", "redis": redis})),
        None => HttpResponse::Ok().json(json!({"status": "ok"})),
    }
}
