//! Paths, methods and the health of the process.

use super::{PATHS, gateway_for, gateway_with};
use crate::client::get;
use crate::client::raw::Raw;
use crate::harness::{Config, Gateway, Key};
use crate::upstream::Upstream;

/// The whole answer to a request without a body.
async fn ask(gateway: &Gateway, method: &str, path: &str) -> String {
    let mut client = Raw::connect(gateway.address()).await;
    let request = format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n");
    client.send(request.as_bytes()).await;
    client.read_to_end().await.0
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_404_in_the_same_envelope() {
    let upstream = Upstream::ollama();
    let gateway = gateway_for(&upstream).await;
    for path in ["/nowhere", "/admin/providers", "/metrics"] {
        let answer = get(&gateway.url(path)).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["code"]), (404, &"not_found".into()), "{path}: {body}");
        assert!(body["detail"].is_string());
        assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"));
    }
    // Counted like any other, under a label that no caller can choose.
    let labels = [("dialect", "none"), ("provider", "none"), ("outcome", "client_error")];
    assert_eq!(gateway.metrics().await.sum("llm_gateway_requests_total", &labels), 3.0);
    assert!(gateway.logged("code=not_found").await.contains("dialect=none"));
    gateway.end(3).await;
}

#[tokio::test]
async fn another_method_is_405_and_says_which_is_allowed() {
    let upstream = Upstream::ollama();
    let gateway = gateway_for(&upstream).await;
    for path in PATHS {
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let answer = ask(&gateway, method, path).await.to_ascii_lowercase();
            assert!(answer.starts_with("http/1.1 405 "), "{method}: {answer}");
            assert!(answer.contains("\r\nallow: post\r\n"), "{method}: {answer}");
            assert!(answer.contains("\"method_not_allowed\""), "{method}: {answer}");
        }
    }
    assert!(gateway.logged("code=method_not_allowed").await.contains("dialect=native"));
    gateway.end(4 * PATHS.len()).await;
}

#[tokio::test]
async fn health_needs_no_key_and_asks_no_provider() {
    let upstream = Upstream::ollama();
    let gateway = gateway_with(&upstream, Config::new().key(Key::new("a"))).await;
    for path in ["/api/v1/health", "/livez", "/healthz", "/readyz"] {
        let answer = get(&gateway.url(path)).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "{\"status\":\"ok\"}"), "{path}");
        let answer = ask(&gateway, "HEAD", path).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    assert_eq!(upstream.calls_so_far().len(), 0);
    gateway.end(0).await;
}
