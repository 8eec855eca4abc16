//! What HTTP asks of every request and answer, whichever handler gives it.
//!
//! It owns the order in which that happens. It knows nothing of dialects or providers.

use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, StatusCode, Version};
use actix_web::middleware::Next;
use actix_web::web::Data;

use super::connection::{Served, Turn};
use super::rest::Rest;
use super::{Front, upgrade};

/// Passes a request on to its handler, or answers it where no handler is asked.
pub(super) async fn carry(
    front: Data<Front>,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<Served<BoxBody>>, Error> {
    let turn = Turn::of(&request);
    let version = request.version();
    let mut rest = Rest::lend(&mut request);
    let mut response = if is_websocket(&request) {
        let answer = upgrade::answer(request.request(), &front);
        request.into_response(answer)
    } else {
        next.call(request).await?
    };
    // Who was too slow already is not waited for again.
    if let Some(rest) = &mut rest
        && response.status() != StatusCode::REQUEST_TIMEOUT
    {
        rest.take_in().await;
    }
    if version < Version::HTTP_11 && response.response().body().size() == BodySize::Stream {
        delimit_by_closing(&mut response);
    }
    Ok(response.map_body(|_, body| Served::new(body, turn, rest)))
}

/// A client of HTTP/1.0 knows no chunks: the end of an answer whose length is unknown is that of its connection
/// (RFC 9112 6.3).
fn delimit_by_closing(response: &mut ServiceResponse<BoxBody>) {
    let head = response.response_mut().head_mut();
    head.no_chunking(true);
    head.set_connection_type(ConnectionType::Close);
}

fn is_websocket(request: &ServiceRequest) -> bool {
    upgrade::is_websocket(request.method(), request.version(), request.headers())
}
