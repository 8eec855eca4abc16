//! Whether the process lives, and whether it takes work. No key, no provider asked, nothing logged.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::json;

use super::Front;

/// `GET` and `HEAD` of the health paths.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    for path in ["/api/v1/health", "/livez", "/healthz"] {
        config
            .service(web::resource(path).route(web::get().to(alive)).route(web::head().to(alive)));
    }
    config
        .service(web::resource("/readyz").route(web::get().to(ready)).route(web::head().to(ready)));
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
    HttpResponse::Ok().json(json!({"status": "ok"}))
}
