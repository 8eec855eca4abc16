//! Connects through a proxy: a tunnel with TLS, and a request with the whole address without it.
//!
//! It owns the `CONNECT` request for a tunnel (RFC 9110, section 9.3.6). It refuses a proxy that
//! sends anything after its 2xx head: in a tunnel the provider's TLS never speaks first.

use std::fmt;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::provider::settings::Proxy;
use crate::wire::http1::{Answer, FramingError, Piece, Then};

/// Why there is no tunnel.
#[derive(Debug)]
pub(in crate::provider::client) enum ProxyError {
    /// The connection broke.
    Broken(io::Error),
    /// It refused, with this status.
    Refused(u16),
    /// Its answer was malformed.
    Garbled(FramingError),
}

/// Asks the proxy at the other end of `io` for a tunnel to `authority`, a host and a port.
pub(super) async fn tunnel(
    stream: &mut TcpStream,
    proxy: &Proxy,
    authority: &str,
) -> Result<(), ProxyError> {
    let authorization = proxy
        .authorization
        .as_ref()
        .map_or_else(String::new, |value| format!("Proxy-Authorization: {}\r\n", value.expose()));
    let asked = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n");
    stream.write_all(asked.as_bytes()).await.map_err(ProxyError::Broken)?;
    // A 2xx to `CONNECT` has no body, whatever its head says, like an answer to a HEAD.
    let (mut answer, mut held) = (Answer::new(true), Vec::with_capacity(1024));
    loop {
        let read = stream.read_buf(&mut held).await.map_err(ProxyError::Broken)?;
        if read == 0 {
            return Err(ProxyError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        let Piece { kept, then } = answer.take(&mut held);
        held.truncate(kept);
        match (then, answer.status()) {
            (Then::Broken(error), _) => return Err(ProxyError::Garbled(error)),
            (_, Some(200..=299)) if then == (Then::End { surplus: 0 }) => return Ok(()),
            (_, Some(200..=299)) => return Err(ProxyError::Garbled(FramingError::NotHttp)),
            (_, Some(status)) => return Err(ProxyError::Refused(status)),
            (_, None) => {}
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => write!(formatter, "{error}"),
            Self::Refused(status) => write!(formatter, "status {status}"),
            Self::Garbled(error) => write!(formatter, "its answer cannot be read: {error}"),
        }
    }
}

impl std::error::Error for ProxyError {}
