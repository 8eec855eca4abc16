//! Which words are changed, and what actix-http reads afterwards.

use actix_codec::Decoder;
use actix_http::h1::{Codec, Message, MessageType};
use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

/// These bytes after they passed in these pieces.
fn passed(bytes: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut heads = Heads::new();
    let mut rest = bytes.as_mut_slice();
    for cut in cuts {
        let (piece, behind) = rest.split_at_mut((*cut).min(rest.len()));
        heads.pass(piece);
        rest = behind;
    }
    heads.pass(rest);
    bytes
}

/// These headers after they passed, as text.
fn headers(headers: &str) -> String {
    let head = format!("POST / HTTP/1.1\r\n{headers}\r\n");
    let passed = String::from_utf8(passed(head.as_bytes(), &[])).unwrap();
    passed.trim_start_matches("POST / HTTP/1.1\r\n").trim_end().to_owned()
}

#[test]
fn the_words_that_ask_for_another_protocol_are_changed_and_nothing_else() {
    for (before, after) in [
        ("Connection: Upgrade, HTTP2-Settings\r\n", "Connection: Xpgrade, HTTP2-Settings"),
        ("connection:upgrade\r\n", "connection:xpgrade"),
        ("CONNECTION: \t keep-alive ,\tUPGRADE\r\n", "CONNECTION: \t keep-alive ,\tXPGRADE"),
        ("Connection: close\r\nConnection: upgrade\n", "Connection: close\r\nConnection: xpgrade"),
        ("Upgrade: websocket\r\n", "Upgrade: xebsocket"),
        ("upgrade: h2c, WebSocket\r\n", "upgrade: h2c, XebSocket"),
        ("Upgrade-Insecure-Requests: w\r\n", "Upgrade-Insecure-Requests: w"),
        ("X-Connection: upgrade\r\n", "X-Connection: upgrade"),
        ("Connection : upgrade\r\n", "Connection : upgrade"),
        ("Connection-: upgrade\r\n", "Connection-: upgrade"),
        ("x: y\r\nreferer: connection: upgrade\r\n", "x: y\r\nreferer: connection: upgrade"),
    ] {
        assert_eq!(headers(before), after);
    }
}

#[test]
fn no_body_is_changed_and_the_head_after_it_is_found() {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let changed = "Connection: Xpgrade\r\nUpgrade: xebsocket\r\n";
    let inner = format!("\r\n\r\nGET / HTTP/1.1\r\n{upgrade}\r\n");
    let length = inner.len();
    let chunks = format!("{length:x};x=\"\"\r\n{inner}\r\n0{length:X} \r\n{inner}\r\n00\r\n");
    for (framing, body) in [
        (format!("content-length: {length}\r\n"), inner.clone()),
        ("Transfer-Encoding: Chunked\r\n".to_owned(), format!("{chunks}\r\n")),
        ("transfer-encoding:chunked\r\n".to_owned(), format!("{chunks}{upgrade}x: y\r\n\r\n")),
        ("content-length: 0\r\n".to_owned(), "\r\n".to_owned()),
        (String::new(), String::new()),
    ] {
        let before = format!("POST / HTTP/1.1\r\n{upgrade}{framing}\r\n{body}");
        let after = format!("POST / HTTP/1.1\r\n{changed}{framing}\r\n{body}");
        let (before, after) = (before.repeat(3), after.repeat(3));
        for cut in 0..before.len() {
            let passed = passed(before.as_bytes(), &[cut]);
            assert_eq!(String::from_utf8(passed).unwrap(), after, "cut at {cut}");
        }
        assert_eq!(passed(before.as_bytes(), &vec![1; before.len()]), after.as_bytes());
    }
}

#[test]
fn malformed_bytes_end_nothing() {
    for bytes in [
        "POST / HTTP/1.1\r\ncontent-length: 99999999999999999999999999\r\n\r\nx\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffffffff\r\nx",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
        "\0\r\n:\r\n::\n\n\n: x\r\n\r\n",
    ] {
        assert_eq!(passed(bytes.as_bytes(), &[3, 20]), bytes.as_bytes());
    }
}

/// A request as clients write it: head, framing and body.
fn request() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let connection = prop::sample::select(vec![
        "",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
        "connection: keep-alive,Upgrade\r\nupgrade: websocket\r\n",
        "CONNECTION: upgrade\r\nCONNECTION: te\r\n",
        "Connection: keep-alive\r\nConnection:  UPGRADE\r\nUpgrade: TLS/1.0, WebSocket\r\n",
        "Upgrade: websocket\r\n",
    ]);
    let body = "[ -~\r\n]{0,40}|(\r\nConnection: upgrade\r\n\r\n){1,3}";
    let end = prop::sample::select(vec!["\r\n", "\n"]);
    (connection, body, 0..3, 1..9usize, end).prop_map(|(connection, body, framing, size, end)| {
        let body = body.into_bytes();
        let (framing, written) = match framing {
            0 => (String::new(), Vec::new()),
            1 => (format!("content-length: {}\r\n", body.len()), body.clone()),
            _ => ("transfer-encoding: chunked\r\n".to_owned(), chunked(&body, size)),
        };
        let head = format!("POST /x HTTP/1.1\r\nhost: g\r\n{connection}{framing}\r\n");
        let body = if written.is_empty() { Vec::new() } else { body };
        ([head.replace("\r\n", end).as_bytes(), &written].concat(), body)
    })
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let chunk =
        |chunk: &[u8]| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    let mut chunks: Vec<u8> = body.chunks(size).flat_map(chunk).collect();
    chunks.extend_from_slice(b"0\r\nConnection: upgrade\r\n\r\n");
    chunks
}

/// The bodies that actix-http reads in these bytes. Fails when it would close the connection.
fn bodies(read: &mut BytesMut) -> Vec<Vec<u8>> {
    let mut codec = Codec::default();
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    while let Some(message) = codec.decode(read).unwrap() {
        match message {
            Message::Item(request) => {
                let headers = &request.head().headers;
                assert!(!codec.upgrade(), "{headers:?}");
                assert_ne!(codec.message_type(), MessageType::Stream, "{headers:?}");
                bodies.push(Vec::new());
            }
            Message::Chunk(chunk) => bodies.last_mut().unwrap().extend(chunk.unwrap_or_default()),
        }
    }
    bodies
}

proptest! {
    /// actix-http itself reads the passed bytes: each request with its body as it was sent, and it
    /// keeps the connection after each.
    #[test]
    fn every_connection_is_kept_and_every_body_arrives_as_it_was_sent(
        requests in prop::collection::vec(request(), 1..5),
        cuts in prop::collection::vec(1..60usize, 0..12),
    ) {
        let bytes: Vec<u8> = requests.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let mut read = BytesMut::from(passed(&bytes, &cuts).as_slice());
        let seen = actix_rt::Runtime::new().unwrap().block_on(async { bodies(&mut read) });
        prop_assert_eq!(seen, requests.into_iter().map(|(_, body)| body).collect::<Vec<_>>());
    }
}
