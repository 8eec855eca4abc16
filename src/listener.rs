//! What the admin listener and the simulator do alike with their connections.
//!
//! The trap: the main listener does not use it. It keeps such a connection, which `http/heads.rs`
//! and `http/upgrade.rs` make possible.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;

/// Adds `Connection: close` to the answer of a request that asks for another protocol.
///
/// actix-http closes the connection after such a request, but does not tell the client, which would
/// then lose its next request.
///
/// # Errors
///
/// Those of the handler.
pub async fn end_after_upgrade<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let asks_for_upgrade = request.head().upgrade();
    let mut response = next.call(request).await?;
    if asks_for_upgrade {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
