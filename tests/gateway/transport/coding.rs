//! Compressed requests (`Content-Encoding`).

use crate::harness::{Config, Server};
use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use super::{GAP, echo, gateway, gateway_with};
use crate::client::chat;
use crate::client::raw::{Raw, post_bytes};
use crate::hostile::forms;
use crate::upstream::{Upstream, ollama};

const MIB: usize = 1024 * 1024;

type Coded = fn(&[u8]) -> Vec<u8>;

/// What stands in the header, and how it is done.
const CODINGS: &[(&str, Coded)] = &[
    ("gzip", gzip),
    ("GZip", gzip),
    ("x-gzip", gzip),
    ("deflate", zlib),
    ("deflate", bare),
    ("br", brotli),
    ("zstd", zstd),
    ("identity", <[u8]>::to_vec),
    ("", <[u8]>::to_vec),
    ("gzip, br", |bytes| brotli(&gzip(bytes))),
    ("zstd,identity , deflate", |bytes| zlib(&zstd(bytes))),
];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bare(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    brotli::CompressorWriter::new(&mut out, 4096, 5, 20).write_all(bytes).unwrap();
    out
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

/// A request whose body is already coded, in one piece or in chunks.
fn request(path: &str, coding: &str, body: &[u8], is_chunked: bool) -> Vec<u8> {
    let write = if is_chunked { forms::chunked } else { forms::post };
    let mut bytes = write(path, body);
    let line = format!("Content-Encoding: {coding}\r\n");
    let host = b"host: g\r\n";
    let place = bytes.windows(host.len()).position(|part| part == host).unwrap() + host.len();
    bytes.splice(place..place, line.into_bytes());
    bytes
}

/// Bodies of at most this size, and no more than one of them at a time.
fn bounded(size: &str) -> Config {
    Config::new().server(Server::default().max_body(size).max_buffered(size))
}

#[tokio::test]
async fn an_encoded_request_is_treated_like_the_plain_one() {
    let upstream = Upstream::spawn(echo);
    let gateway = gateway(&upstream).await;
    let mut raw = Raw::connect(gateway.address()).await;
    let mut sent = 0;
    for (name, code) in CODINGS {
        for path in ["/v1/chat", "/v1/chat/completions", "/v1/messages", "/api/chat"] {
            let asked = format!("{name} at {path} {}", "and more ".repeat(2000));
            let body = json!({"model": "llama3.1", "max_tokens": 9, "stream": false,
                "messages": [{"role": "user", "content": asked}]});
            let coded = code(body.to_string().as_bytes());
            for is_chunked in [false, true] {
                raw.send(&request(path, name, &coded, is_chunked)).await;
                let answer = raw.read_answer().await;
                assert!(answer.starts_with("HTTP/1.1 200 "), "{name} at {path}: {answer}");
                sent += 1;
                let calls = upstream.calls(sent).await;
                let heard = calls.last().unwrap().json();
                assert_eq!(heard["messages"][0]["content"], asked, "{name} at {path}");
            }
        }
    }
    gateway.end(sent).await;
}

#[tokio::test]
async fn it_makes_no_difference_how_its_bytes_arrive() {
    let upstream = Upstream::spawn(echo);
    let gateway = gateway(&upstream).await;
    for (name, code) in CODINGS {
        let coded = code(chat("in pieces").to_string().as_bytes());
        let mut raw = Raw::connect(gateway.address()).await;
        raw.send_slowly(&request("/v1/chat", name, &coded, true), GAP).await.unwrap();
        let answer = raw.read_answer().await;
        assert!(answer.contains("echo in pieces"), "{name}: {answer}");
    }
    gateway.end(CODINGS.len()).await;
}

#[tokio::test]
async fn an_unknown_coding_is_named_with_the_supported_ones() {
    let upstream = Upstream::ollama();
    let gateway = gateway(&upstream).await;
    let mut raw = Raw::connect(gateway.address()).await;
    let unknown = [("compress", "compress"), ("gzip, lzma", "lzma"), ("snappy", "snappy")];
    for (header, name) in unknown {
        raw.send(&request("/v1/chat", header, chat("hi").to_string().as_bytes(), false)).await;
        let answer = raw.read_answer().await;
        assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
        assert!(answer.contains("\r\naccept-encoding: gzip, deflate, br, zstd\r\n"), "{answer}");
        assert!(answer.contains(&format!("`{name}`")), "{answer}");
    }
    raw.send(&request("/v1/chat", "gzip,gzip,gzip,gzip,gzip", b"x", false)).await;
    assert!(raw.read_answer().await.starts_with("HTTP/1.1 415 "));
    let text = String::from_utf8(post_bytes("/v1/chat", &[], &chat("hi"))).unwrap();
    raw.send(text.replacen("application/json", "text/plain", 1).as_bytes()).await;
    let answer = raw.read_answer().await;
    assert!(answer.starts_with("HTTP/1.1 415 ") && !answer.contains("accept-encoding"), "{answer}");
    assert!(upstream.calls_so_far().is_empty());
    gateway.end(unknown.len() + 2).await;
}

#[tokio::test]
async fn a_body_that_is_not_what_its_coding_says_is_malformed() {
    let upstream = Upstream::ollama();
    let gateway = gateway(&upstream).await;
    let mut raw = Raw::connect(gateway.address()).await;
    let plain = chat("hi").to_string().into_bytes();
    let mut sent = 0;
    let coded = |name: &&(&str, Coded)| !["", "identity"].contains(&name.0);
    for (name, code) in CODINGS.iter().filter(coded) {
        let whole = code(&plain);
        let cut = whole[..whole.len() - 1].to_vec();
        let longer = [&whole[..], b"x"].concat();
        for body in [plain.clone(), cut, longer, Vec::new(), vec![0; 100]] {
            raw.send(&request("/v1/chat", name, &body, false)).await;
            let answer = raw.read_answer().await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["code"], "invalid_request", "{name}");
            sent += 1;
        }
    }
    assert!(upstream.calls_so_far().is_empty());
    gateway.end(sent).await;
}

#[tokio::test]
async fn a_bomb_is_refused_as_too_large_and_holds_no_memory() {
    let upstream = Upstream::spawn(|call| ollama::reply_with(call, &["fine"]));
    let gateway = gateway_with(&upstream, bounded("1MiB")).await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(&post_bytes("/v1/chat", &[], &chat("before"))).await;
    assert!(raw.read_answer().await.starts_with("HTTP/1.1 200 "));
    let before = gateway.resident_bytes();
    let huge = vec![b' '; 256 * MIB];
    let bombs: [(&str, Vec<u8>); 5] = [
        ("gzip", gzip(&huge)),
        ("deflate", bare(&huge)),
        ("br", brotli(&huge)),
        ("zstd", zstd(&huge)),
        ("gzip, gzip", gzip(&gzip(&huge))),
    ];
    for (name, bomb) in &bombs {
        assert!(bomb.len() < MIB, "{name} must get in");
        for _ in 0..4 {
            let mut raw = Raw::connect(gateway.address()).await;
            raw.send(&request("/v1/chat", name, bomb, false)).await;
            let answer = raw.read_answer().await;
            assert!(answer.starts_with("HTTP/1.1 413 "), "{name}: {answer}");
        }
    }
    let more = gateway.resident_bytes().saturating_sub(before);
    assert!(more < 64 * MIB as u64, "{} MiB were held", more / MIB as u64);
    gateway.end(1 + 4 * bombs.len()).await;
}

#[tokio::test]
async fn decoded_bytes_count_as_held_and_encoded_ones_do_not() {
    let gate = crate::upstream::Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::spawn(move |call| match call.number {
        0 | 1 => ollama::opened(&["x"]).hold(&held).piece(ollama::done(1)),
        _ => ollama::reply(call),
    });
    let gateway = gateway_with(&upstream, bounded("64KiB")).await;
    // Nearly as large coded as not: both at once would be more than there is.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = 7u64;
    let mut noise = String::new();
    while noise.len() < 60_000 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        noise.push(char::from(letters[(state >> 58) as usize]));
    }
    let body = chat(&noise).to_string();
    let mut first = Raw::connect(gateway.address()).await;
    first.send(&request("/v1/chat", "gzip", &gzip(body.as_bytes()), false)).await;
    upstream.calls(1).await;
    let mut second = Raw::connect(gateway.address()).await;
    let small = gzip(chat(&" ".repeat(60_000)).to_string().as_bytes());
    second.send(&request("/v1/chat", "gzip", &small, false)).await;
    let answer = second.read_answer().await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: "), "{answer}");
    gate.open();
    assert!(first.read_answer().await.starts_with("HTTP/1.1 200 "));
    gateway.settled().await;
    second.send(&request("/v1/chat", "gzip", &small, false)).await;
    assert!(second.read_answer().await.starts_with("HTTP/1.1 200 "));
    gateway.end(3).await;
}
