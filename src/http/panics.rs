//! One answer for a handler that panics, where actix would drop the connection without one.
//!
//! The one thing to know: the request must not be kept beside its handler, not even as a clone, because actix takes
//! it for its own while it matches the path. The answer therefore travels as an error.

use std::panic::AssertUnwindSafe;

use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::middleware::Next;
use futures_util::FutureExt;

use super::exchange::error_response;
use crate::chat::GatewayError;
use crate::dialect::dialect_of;

/// Turns a panic below it into a 500 in the envelope of the path's dialect.
pub async fn catch(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let dialect = dialect_of(request.path());
    // Nothing that the handler left half-done is used again: its values are dropped with it.
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(response) => Ok(response?.map_into_boxed_body()),
        Err(_) => {
            log::error!("a handler panicked; the request is answered with 500");
            let error = GatewayError::internal("a handler panicked");
            let response = error_response(dialect, &error, "-", None);
            Err(InternalError::from_response("a handler panicked", response).into())
        }
    }
}
