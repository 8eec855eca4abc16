//! Answers that are compressed although the call did not ask for it.

use std::io::{self, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use parking_lot::Mutex;
use serde_json::json;

use super::peer::{Act, Peer};
use super::{answered, ask, body, gateway, is_answered, write};
use crate::client::{stream_with, streamed_chat};
use crate::upstream::Gate;

/// What a coding is called, and what makes it.
const CODINGS: [(&str, &str); 6] = [
    ("gzip", "gzip"),
    ("x-gzip", "gzip"),
    ("deflate", "zlib"),
    ("Deflate", "bare"),
    ("br", "br"),
    ("zstd", "zstd"),
];

/// Where an encoder writes to.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An encoder that ends its stream when it is dropped, and where it writes to.
struct Encoder {
    encoder: Option<Box<dyn Write>>,
    sink: Sink,
}

impl Encoder {
    fn new(kind: &str) -> Self {
        let (sink, level) = (Sink::default(), Compression::fast());
        let out = sink.clone();
        let encoder: Box<dyn Write> = match kind {
            "gzip" => Box::new(GzEncoder::new(out, level)),
            "zlib" => Box::new(ZlibEncoder::new(out, level)),
            "bare" => Box::new(DeflateEncoder::new(out, level)),
            "br" => Box::new(brotli::CompressorWriter::new(out, 4096, 3, 20)),
            _ => Box::new(zstd::Encoder::new(out, 1).unwrap().auto_finish()),
        };
        Self { encoder: Some(encoder), sink }
    }

    /// The bytes of some text, flushed.
    fn piece(&mut self, text: &[u8]) -> Vec<u8> {
        let encoder = self.encoder.as_mut().unwrap();
        encoder.write_all(text).unwrap();
        encoder.flush().unwrap();
        std::mem::take(&mut *self.sink.0.lock())
    }

    fn end(&mut self) -> Vec<u8> {
        drop(self.encoder.take());
        std::mem::take(&mut *self.sink.0.lock())
    }
}

fn coded(kind: &str, text: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(kind);
    let mut bytes = encoder.piece(text);
    bytes.extend(encoder.end());
    bytes
}

/// An answer in this coding.
fn answer(status: &str, coding: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let fields = format!("content-encoding: {coding}\r\ncontent-length: {length}\r\n");
    [format!("HTTP/1.1 {status}\r\n{fields}\r\n").as_bytes(), body].concat()
}

#[tokio::test]
async fn calls_ask_for_uncompressed_answers_and_compressed_ones_are_read() {
    let peer = Peer::spawn(|asked| {
        let (name, kind) = CODINGS.into_iter().find(|(name, _)| *name == asked.marker).unwrap();
        answered(answer("200 OK", name, &coded(kind, body(name).as_bytes())))
    });
    let gateway = gateway(&peer.url()).await;
    for (name, _) in CODINGS {
        is_answered(&gateway, name).await;
    }
    for asked in peer.asked() {
        assert!(asked.head.contains("\r\naccept-encoding: identity\r\n"), "{}", asked.head);
    }
    // Such a connection is as good as any other.
    assert_eq!(peer.asked().last().unwrap().nth, CODINGS.len() - 1);
    gateway.end(CODINGS.len()).await;
}

#[tokio::test]
async fn a_compressed_stream_is_read_event_by_event() {
    let gate = Gate::closed();
    let held = gate.clone();
    let peer = Peer::spawn(move |asked| {
        let (_, kind) = CODINGS.into_iter().find(|(name, _)| *name == asked.marker).unwrap();
        let mut encoder = Encoder::new(kind);
        let mut line = |text: &str, done: bool| {
            let line = json!({ "model": "m", "done": done,
                "message": { "role": "assistant", "content": text } });
            encoder.piece(format!("{line}\n").as_bytes())
        };
        let (first, second) = (line("first", false), line("second", true));
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {}\r\n\r\n", asked.marker);
        let (held, end) = (Act::Hold(held.clone()), encoder.end());
        vec![Act::ReadBody, write(head), write(first), held, write(second), write(end), Act::Close]
    });
    let gateway = gateway(&peer.url()).await;
    for (name, _) in CODINGS {
        let (url, headers) = (gateway.url("/v1/chat"), [("x-request-id", name)]);
        let mut streamed = stream_with(&url, &headers, &streamed_chat("hi")).await;
        streamed.until("first").await;
        gate.let_through(1);
        let rest = streamed.rest().await.text();
        assert!(rest.contains("second") && rest.contains("[DONE]"), "{name}: {rest}");
    }
    gateway.end(CODINGS.len()).await;
}

#[tokio::test]
async fn a_compressed_refusal_says_what_it_says() {
    let peer = Peer::spawn(|asked| {
        let (name, kind) = CODINGS.into_iter().find(|(name, _)| *name == asked.marker).unwrap();
        let words = br#"{"error":"the option `x` is not known"}"#;
        answered(answer("400 Bad Request", name, &coded(kind, words)))
    });
    let gateway = gateway(&peer.url()).await;
    for (name, _) in CODINGS {
        let refused = ask(&gateway, name).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.text().contains("the option `x` is not known"), "{}", refused.text());
    }
    gateway.end(CODINGS.len()).await;
}

#[tokio::test]
async fn a_compressed_answer_that_grows_too_large_is_cut_off() {
    const LARGE: usize = 80 << 20;
    let line = format!("{{\"message\":{{\"content\":\"{}", "a".repeat(LARGE));
    let bombs: Vec<_> = CODINGS.map(|(name, kind)| (name, coded(kind, line.as_bytes()))).into();
    let peer = Peer::spawn(move |asked| {
        let (status, name) = asked.marker.split_once('-').unwrap();
        let bomb = bombs.iter().find(|(coding, _)| *coding == name).unwrap();
        answered(answer(status, name, &bomb.1))
    });
    let gateway = gateway(&peer.url()).await;
    for (name, _) in CODINGS {
        let cut = ask(&gateway, &format!("200-{name}")).await;
        assert_eq!(cut.status, 502, "{name}");
        assert!(cut.text().contains("more at once than can be held"), "{name}: {}", cut.text());
        assert_eq!(ask(&gateway, &format!("400-{name}")).await.status, 400, "{name}");
        let resident = gateway.resident_bytes() >> 20;
        assert!(resident < 300, "{name}: {resident} MiB held");
    }
    let sent = gateway.access_lines().len();
    gateway.end(sent).await;
}

#[tokio::test]
async fn an_unknown_coding_is_named_and_a_false_one_is_an_error() {
    let peer = Peer::spawn(|asked| {
        let plain = body(&asked.marker);
        match asked.marker.as_str() {
            "compress" => answered(answer("200 OK", "compress", plain.as_bytes())),
            "stacked" => {
                let bytes = coded("br", &coded("gzip", plain.as_bytes()));
                answered(answer("200 OK", "gzip, br", &bytes))
            }
            "listed" => answered(answer("200 OK\r\ncontent-encoding: gzip", "x-snappy", b"x")),
            "many" => answered(answer("200 OK", "br, br, br, br, br", plain.as_bytes())),
            "refusal" => answered(answer("400 Bad Request", "compress", b"nothing to read")),
            "identity" => answered(answer("200 OK", "identity", plain.as_bytes())),
            _ => answered(answer("200 OK", "gzip", plain.as_bytes())),
        }
    });
    let gateway = gateway(&peer.url()).await;
    for (marker, why) in
        [("compress", "`compress`"), ("listed", "`x-snappy`"), ("many", "too many times")]
    {
        let refused = ask(&gateway, marker).await;
        assert_eq!(refused.status, 502, "{marker}: {}", refused.text());
        assert!(refused.text().contains(why), "{marker}: {}", refused.text());
    }
    is_answered(&gateway, "stacked").await;
    assert_eq!(ask(&gateway, "lies").await.status, 502);
    assert_eq!(ask(&gateway, "refusal").await.status, 400);
    is_answered(&gateway, "identity").await;
    gateway.end(7).await;
}
