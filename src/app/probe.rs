//! Asks a running gateway whether it is ready: a container's health check, without curl.
//!
//! It owns the search for the gateway. It does not need a valid configuration: a running gateway
//! keeps the one that it started with, and must not count as dead because its file is broken now.
//!
//! The one thing to know: it asks the kernel, if possible, where the gateway is bound; the file
//! only says where the next one will be.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use super::running;
use crate::config;
use crate::listener::reachable;

/// How long the whole check may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Checks whether a gateway is ready: the one at this address, else one that runs with this file,
/// else one at the address that the environment and the file set, whatever else is wrong with them.
///
/// # Errors
///
/// The address that was asked, and the problem with it, the connection or the answer.
pub fn ask(url: Option<&str>, explicit: Option<&Path>) -> Result<(), String> {
    if let Some(url) = url {
        return is_ready(url).map_err(|error| format!("{url}: {error}"));
    }
    let mut found = running::bound(explicit);
    if found.is_empty() {
        found.push(config::listens(explicit));
    }
    let mut wrong = Vec::new();
    for listen in found {
        let url = url_of(listen);
        match is_ready(&url) {
            Ok(()) => return Ok(()),
            Err(error) => wrong.push(format!("{url}: {error}")),
        }
    }
    Err(wrong.join("; "))
}

/// The readiness URL of a gateway with this address. One that listens on every interface is asked
/// on loopback.
fn url_of(listen: SocketAddr) -> String {
    format!("http://{}/readyz", reachable(listen))
}

/// Whether the URL answers 200.
///
/// # Errors
///
/// The problem with the URL, the connection or the answer.
fn is_ready(url: &str) -> io::Result<()> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| invalid("the address must begin with http://"))?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/readyz" } else { path };
    let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut addresses = with_port.to_socket_addrs()?;
    let address = addresses.next().ok_or_else(|| invalid("the address has no host"))?;
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut head = [0u8; 12];
    connection.read_exact(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    match head.split_once(' ') {
        Some(("HTTP/1.1" | "HTTP/1.0", "200")) => Ok(()),
        Some((_, status)) => Err(io::Error::other(format!("not ready: status {status}"))),
        None => Err(io::Error::other("the answer is not HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn ask(answer: &'static str) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = url_of(listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = [0u8; 256];
            let read = connection.read(&mut request).unwrap();
            connection.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let asked = is_ready(&url);
        assert!(serving.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
        asked
    }

    #[test]
    fn only_a_200_is_ready() {
        ask("HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let error = ask("HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err();
        assert_eq!(error.to_string(), "not ready: status 503");
        assert!(ask("SSH-2.0-OpenSSH").is_err());
    }

    #[test]
    fn an_unreachable_address_is_an_error() {
        assert!(is_ready("https://127.0.0.1/").is_err());
        assert!(is_ready("http:///").is_err());
    }

    #[test]
    fn a_gateway_that_listens_on_every_interface_is_asked_on_loopback() {
        assert_eq!(url_of("0.0.0.0:8000".parse().unwrap()), "http://127.0.0.1:8000/readyz");
        assert_eq!(url_of("[::]:80".parse().unwrap()), "http://[::1]:80/readyz");
    }
}
