//! What listeners have in common: how they are reached from this machine, and what the admin
//! listener and the simulator do alike with their connections.
//!
//! The trap: the main listener does not use [`end_after_upgrade`]. It keeps such a connection, which
//! `http/heads.rs` and `http/upgrade.rs` make possible.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

/// The address at which this machine reaches a listener, which may listen on every interface.
#[must_use]
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_interface_is_reached_over_loopback() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:8000"), "127.0.0.1:8000");
        assert_eq!(reached("[::]:8000"), "[::1]:8000");
        assert_eq!(reached("10.0.0.7:80"), "10.0.0.7:80");
    }
}
