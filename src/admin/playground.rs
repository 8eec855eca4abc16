//! The console's playground: a chat through the gateway's main listener.
//!
//! It sends the request to the main listener, over a connection like any client's, with the key
//! that the operator typed. The request is therefore admitted, limited, counted and logged like any
//! other, and the operator sees what clients get. The answer is passed on as it arrives; a page
//! that disconnects ends it, as any client does.
//!
//! The one thing to know: the address is fixed. No part of the request can change it.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use serde_json::json;

use super::Admin;
use crate::listener::reachable;

/// The path for chats.
const PATH: &str = "/v1/chat";
/// The client's key, which is not the admin token.
const KEY: &str = "x-api-key";
/// The headers of the page's request that are passed on.
const ASKED: [&str; 2] = [KEY, "x-request-timeout-ms"];
/// The headers of the answer that are passed on.
const ANSWERED: [&str; 9] = [
    "content-type",
    "retry-after",
    "x-gateway-attempts",
    "x-gateway-dropped",
    "x-gateway-model",
    "x-gateway-provider",
    "x-gateway-queue-ms",
    "x-request-id",
    "x-should-retry",
];

/// Sends a native chat, and returns its answer.
pub(super) async fn play(admin: Data<Admin>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let client = awc::Client::builder()
        // The gateway has its own deadlines; the page cancels by disconnecting.
        .disable_timeout()
        .disable_redirects()
        .no_default_headers()
        .finish();
    let mut call = client
        .post(format!("http://{}{PATH}", reachable(admin.main)))
        .insert_header((CONTENT_TYPE, "application/json"));
    for name in ASKED {
        if let Some(value) = request.headers().get(name) {
            call = call.insert_header((name, value.clone()));
        }
    }
    let answer = match call.no_decompress().send_body(body).await {
        Ok(answer) => answer,
        Err(error) => {
            log::warn!("the main listener cannot be reached from the playground: {error}");
            let detail = "the main listener does not answer";
            return HttpResponse::BadGateway().json(json!({"detail": detail}));
        }
    };
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponse::build(status);
    for name in ANSWERED {
        if let Some(value) = answer.headers().get(name) {
            response.insert_header((name, value.clone()));
        }
    }
    response.insert_header((CACHE_CONTROL, "no-store")).streaming(answer)
}
