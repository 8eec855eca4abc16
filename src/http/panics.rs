//! Answers for a handler that panics, where actix would drop the connection without an answer.
//!
//! The one thing to know: no clone of the request may exist beside its handler, because actix needs
//! sole ownership while it matches the path. The answer is therefore passed as an error.

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

/// Turns a panic of the inner service into a 500 in the envelope of the path's dialect.
pub async fn catch(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let dialect = dialect_of(request.path());
    // The handler's half-finished values are dropped with it and never used again.
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
