//! Names with several addresses, on the loopback networks.

use std::net::Ipv4Addr;
use std::time::Instant;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::TcpListener;

use super::*;
use crate::backend::Ollama;
use crate::provider::settings::ProviderSettings;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A listener at an address of its own, so that several can have the same port.
async fn listening(last: u8, port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), port)).await.unwrap()
}

/// An address that never answers a connect, and the sockets that keep it so.
fn swallowing(last: u8, port: u16) -> (SocketAddr, Vec<Socket>) {
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from(address)).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut held = vec![socket];
    let patience = Duration::from_millis(200);
    while let Ok(filler) = std::net::TcpStream::connect_timeout(&address, patience) {
        held.push(Socket::from(filler));
    }
    (address, held)
}

/// An address that refuses connections, and the socket that reserves it.
fn refusing() -> (SocketAddr, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap(), socket)
}

async fn connected(addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
    first_to_connect(addresses.to_vec()).await?.peer_addr()
}

#[test]
fn families_alternate_beginning_with_the_first() {
    let (one, two, three) = (address("[::1]:1"), address("[::2]:1"), address("[::3]:1"));
    let (four, five) = (address("127.0.0.1:1"), address("127.0.0.2:1"));
    for (given, expected) in [
        (vec![], vec![]),
        (vec![four, five], vec![four, five]),
        (vec![one, two, three, four, five], vec![one, four, two, five, three]),
        (vec![four, five, one], vec![four, one, five]),
        (vec![one, two, three, four], vec![one, four, two, three]),
    ] {
        assert_eq!(interleaved(given), expected);
    }
}

#[tokio::test]
async fn an_address_that_is_silent_costs_a_quarter_of_a_second_and_not_the_connect_timeout() {
    let there = listening(1, 0).await;
    let port = there.local_addr().unwrap().port();
    let there = there.local_addr().unwrap();
    let (silent, _held) = swallowing(9, port);
    let begun = Instant::now();
    assert_eq!(connected(&[silent, there]).await.unwrap(), there);
    let took = begun.elapsed();
    assert!((NEXT_ADDRESS..NEXT_ADDRESS * 8).contains(&took), "{took:?}");
}

#[tokio::test]
async fn an_address_that_refuses_costs_nothing() {
    let there = listening(1, 0).await;
    let there_at = there.local_addr().unwrap();
    let (refuses, _held) = refusing();
    let begun = Instant::now();
    assert_eq!(connected(&[refuses, refuses, refuses, there_at]).await.unwrap(), there_at);
    assert!(begun.elapsed() < NEXT_ADDRESS, "{:?}", begun.elapsed());
    let begun = Instant::now();
    let refused = connected(&[refuses, refuses]).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert!(begun.elapsed() < NEXT_ADDRESS, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_first_to_connect_wins_and_the_others_are_dropped() {
    let (one, two) = (listening(1, 0).await, listening(1, 0).await);
    let (first, second) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    assert_eq!(connected(&[first, second]).await.unwrap(), first);
    let none = tokio::time::timeout(NEXT_ADDRESS * 2, two.accept()).await;
    none.expect_err("nobody goes to the second address when the first is quick");
}

#[tokio::test]
async fn a_name_without_addresses_is_reported() {
    let error = connected(&[]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn an_unreachable_family_says_less_than_a_refusal() {
    let (refuses, _held) = refusing();
    // This network is for documentation only (RFC 3849); whether it is unreachable or silent
    // depends on the machine.
    let nowhere = SocketAddr::new("2001:db8::1".parse().unwrap(), 1);
    let tried = tokio::time::timeout(Duration::from_secs(2), connected(&[nowhere, refuses])).await;
    if let Ok(error) = tried {
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn the_address_for_awc_is_plain_with_its_port_and_without_a_slash_at_its_end() {
    for (base, host, port, address) in [
        ("http://localhost:11434", "localhost", 11434, "http://localhost:11434"),
        ("http://localhost", "localhost", 80, "http://localhost:80"),
        ("https://api.openai.com/v1/", "api.openai.com", 443, "http://api.openai.com:443/v1"),
        ("https://host:8443/a/b", "host", 8443, "http://host:8443/a/b"),
        ("http://[::1]:11434", "::1", 11434, "http://[::1]:11434"),
    ] {
        let settings = ProviderSettings { base_url: base.to_owned(), ..Default::default() };
        let provider = Provider::new("x", settings.resolved(), &Ollama, None);
        let (origin, for_awc) = Origin::of(&provider);
        assert_eq!((origin.host.as_str(), origin.port), (host, port), "{base}");
        assert_eq!(for_awc, address, "{base}");
        assert_eq!(origin.tls.is_some(), base.starts_with("https"), "{base}");
    }
}
