//! Asking a running gateway whether it is ready: what a container's health check calls, without curl.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long the whole question may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The readiness address of a gateway that listens here. One that listens everywhere is asked on loopback.
#[must_use]
pub fn default_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}/readyz", SocketAddr::new(ip, listen.port()))
}

/// Whether the address answers 200.
///
/// # Errors
///
/// What is wrong with the address, the connection or the answer.
pub fn is_ready(url: &str) -> io::Result<()> {
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
    write!(connection, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
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
        let url = default_url(listener.local_addr().unwrap());
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
    fn an_address_that_cannot_be_asked_is_an_error() {
        assert!(is_ready("https://127.0.0.1/").is_err());
        assert!(is_ready("http:///").is_err());
    }

    #[test]
    fn a_gateway_that_listens_everywhere_is_asked_on_loopback() {
        assert_eq!(default_url("0.0.0.0:8000".parse().unwrap()), "http://127.0.0.1:8000/readyz");
        assert_eq!(default_url("[::]:80".parse().unwrap()), "http://[::1]:80/readyz");
    }
}
