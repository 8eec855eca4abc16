//! One answer for a handler that panics, where actix would drop the connection without one.

use std::panic::AssertUnwindSafe;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse};
use futures_util::FutureExt;

use super::exchange::error_response;
use super::dialect_of;
use crate::chat::GatewayError;

/// Turns a panic below it into a 500 in the envelope of the path's dialect.
pub async fn catch(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let inner = request.request().clone();
    // Nothing that the handler left half-done is used again: its values are dropped with it.
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(response) => Ok(response?.map_into_boxed_body()),
        Err(_) => {
            log::error!("a handler panicked; the request is answered with 500");
            let error = GatewayError::internal("a handler panicked");
            let response: HttpResponse = error_response(dialect_of(inner.path()), &error, "-", None);
            Ok(ServiceResponse::new(inner, response))
        }
    }
}
