//! What HTTP asks of every request and answer, whichever handler gives it.
//!
//! It owns the order in which that happens. It knows nothing of dialects or providers.

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;

use super::connection::{Served, Turn};
use super::{Front, upgrade};

/// Passes a request on to its handler, or answers it where no handler is asked.
pub(super) async fn carry(
    front: Data<Front>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<Served<BoxBody>>, Error> {
    let turn = Turn::of(&request);
    let response = if is_websocket(&request) {
        let answer = upgrade::answer(request.request(), &front);
        request.into_response(answer)
    } else {
        next.call(request).await?
    };
    Ok(response.map_body(|_, body| Served::new(body, turn)))
}

fn is_websocket(request: &ServiceRequest) -> bool {
    upgrade::is_websocket(request.method(), request.version(), request.headers())
}
