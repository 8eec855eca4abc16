//! HTTP/1.0 clients, which do not know chunked encoding.

use serde_json::json;

use super::{echo, gateway};
use crate::client::raw::{End, Raw, post_bytes};
use crate::client::{chat, streamed_chat};
use crate::upstream::{Upstream, ollama};

/// The same request as a client of HTTP/1.0 sends it.
fn old(bytes: Vec<u8>) -> Vec<u8> {
    String::from_utf8(bytes).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1).into_bytes()
}

#[tokio::test]
async fn a_whole_answer_has_its_length_and_keeps_the_connection_only_on_request() {
    let upstream = Upstream::spawn(echo);
    let gateway = gateway(&upstream).await;
    let mut raw = Raw::connect(gateway.address()).await;
    let keep = [("Connection", "keep-alive")];
    for (path, status) in [("/v1/chat", 200), ("/nowhere", 404), ("/v1/chat", 200)] {
        raw.send(&old(post_bytes(path, &keep, &chat("old")))).await;
        let answer = raw.read_answer().await.to_ascii_lowercase();
        assert!(answer.starts_with(&format!("http/1.0 {status} ")), "{answer}");
        assert!(answer.contains("\r\nconnection: keep-alive\r\n"), "{answer}");
        assert!(answer.contains("\r\ncontent-length: "), "{answer}");
        assert!(!answer.contains("transfer-encoding"), "{answer}");
    }
    raw.send(&old(post_bytes("/v1/chat", &[], &chat("the last")))).await;
    let (answer, end) = raw.read_to_end().await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.0 200 ") && !head.contains("keep-alive"), "{answer}");
    assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{answer}");
    assert_eq!(end, End::Fin);
    gateway.end(4).await;
}

#[tokio::test]
async fn a_streamed_answer_comes_without_chunks_and_ends_with_the_connection() {
    let upstream = Upstream::spawn(echo);
    let gateway = gateway(&upstream).await;
    let model = json!({"model": "llama3.1", "max_tokens": 9, "stream": true,
        "messages": [{"role": "user", "content": "old"}]});
    let lines = [
        ("/v1/chat", streamed_chat("old"), "data: [DONE]\n\n"),
        ("/v1/chat/completions", model.clone(), "data: [DONE]\n\n"),
        ("/v1/messages", model.clone(), "data: {\"type\":\"message_stop\"}\n\n"),
        ("/api/chat", model, "}\n"),
    ];
    for (path, body, last) in &lines {
        for headers in [&[][..], &[("Connection", "keep-alive")], &[("Connection", "Upgrade")]] {
            let mut raw = Raw::connect(gateway.address()).await;
            raw.send(&old(post_bytes(path, headers, body))).await;
            let (answer, end) = raw.read_to_end().await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let head = head.to_ascii_lowercase();
            assert!(head.starts_with("http/1.0 200 "), "{answer}");
            for name in ["transfer-encoding", "content-length", "keep-alive", "upgrade"] {
                assert!(!head.contains(name), "{name} at {path}: {answer}");
            }
            let begins = ["data: {", "event: ", "{"].iter().any(|word| body.starts_with(word));
            assert!(begins && body.ends_with(last), "{path}: {body}");
            assert!(!body.contains("\r\n"), "chunks at {path}: {body}");
            assert_eq!(end, End::Fin, "{path}");
        }
    }
    gateway.end(3 * lines.len()).await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_in_its_last_event() {
    let upstream = Upstream::spawn(|_| ollama::opened(&["Hel"]).closing());
    let gateway = gateway(&upstream).await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.send(&old(post_bytes("/v1/chat", &[], &streamed_chat("old")))).await;
    let (answer, _) = raw.read_to_end().await;
    let last = answer.rsplit("\n\n").find(|event| !event.is_empty()).unwrap();
    assert!(last.starts_with("event: error\n") && !answer.contains("[DONE]"), "{answer}");
    gateway.end(1).await;
}
