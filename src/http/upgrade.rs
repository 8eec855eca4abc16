//! Clients that want another protocol.
//!
//! It owns the answer to a WebSocket request: 426 at once, before any key is checked, because
//! clients that can do without one (OpenAI's agents) wait for it before they continue over HTTP.
//! Every other upgrade is ignored, as RFC 9110 7.8 allows, and so is that of a request that could
//! not become a WebSocket (RFC 6455 4.1).
//!
//! The one thing to know: [`super::heads`] has already changed the words of such a request.

use actix_web::http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use actix_web::http::{Method, Version};
use actix_web::{HttpRequest, HttpResponse};

use super::{Front, heads, refuse};
use crate::chat::{ErrorKind, GatewayError, Origin};

/// Whether a request wants its connection to become a WebSocket.
pub(super) fn is_websocket(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    *method == Method::GET
        && version == Version::HTTP_11
        && lists(headers, &CONNECTION, heads::UPGRADE)
        && lists(headers, &UPGRADE, heads::WEBSOCKET)
}

/// Answers a request for a WebSocket.
pub(super) fn answer(request: &HttpRequest, front: &Front) -> HttpResponse {
    let message = "there are no WebSockets here, ask over HTTP/1.1";
    let error = GatewayError::new(ErrorKind::UpgradeRequired, message).from(Origin::Client);
    let mut response = refuse(request, front, &error);
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("HTTP/1.1"));
    response
}

/// Whether the list in a header has this word.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).map(HeaderValue::as_bytes);
    let mut words = values.flat_map(|value| value.split(|byte| *byte == b','));
    words.any(|one| one.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(method: &Method, version: Version, lines: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        is_websocket(method, version, &headers)
    }

    #[test]
    fn only_a_valid_websocket_request_counts_as_one() {
        let both = [("connection", "keep-alive, Xpgrade"), ("upgrade", "XebSocket")];
        let other = [("connection", "xpgrade"), ("upgrade", "h2c")];
        let listed =
            [("connection", "te"), ("connection", "xpgrade"), ("upgrade", "h2c, xebsocket")];
        assert!(asks(&Method::GET, Version::HTTP_11, &both));
        assert!(asks(&Method::GET, Version::HTTP_11, &listed));
        assert!(!asks(&Method::GET, Version::HTTP_11, &other));
        assert!(!asks(&Method::GET, Version::HTTP_11, &both[..1]));
        assert!(!asks(&Method::GET, Version::HTTP_11, &both[1..]));
        assert!(!asks(&Method::GET, Version::HTTP_10, &both));
        assert!(!asks(&Method::POST, Version::HTTP_11, &both));
    }
}
