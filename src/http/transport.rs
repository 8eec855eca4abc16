//! What HTTP requires of every request and answer, whatever the handler.
//!
//! It owns the order in which that happens. It knows nothing of dialects or providers.

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::{ConnectionType, StatusCode, Version};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpResponse};

use super::connection::{Served, Turn};
use super::cors::Visitor;
use super::rest::Rest;
use super::{Front, cors, refuse, upgrade};

/// Passes a request to its handler, or answers it without one.
pub(super) async fn carry(
    front: Data<Front>,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<Served<BoxBody>>, Error> {
    let turn = Turn::of(&request);
    let version = request.version();
    let visitor = front.cors.load().judge(request.headers());
    let mut rest = Rest::lend(&mut request);
    let mut response = match at_once(&front, &request, &visitor) {
        Some(answer) => request.into_response(answer),
        None => match next.call(request).await {
            Ok(response) => response,
            Err(error) => return Err(marked(&error, &visitor)),
        },
    };
    // A client that was already too slow gets no more time.
    if let Some(rest) = &mut rest
        && response.status() != StatusCode::REQUEST_TIMEOUT
    {
        rest.take_in().await;
    }
    if version < Version::HTTP_11 && response.response().body().size() == BodySize::Stream {
        delimit_by_closing(&mut response);
    }
    visitor.mark(response.headers_mut());
    Ok(response.map_body(|_, body| Served::new(body, turn, rest)))
}

/// Answers requests that need no handler.
fn at_once(front: &Front, request: &ServiceRequest, visitor: &Visitor) -> Option<HttpResponse> {
    if let Some(answer) = visitor.preflight(request.head()) {
        return Some(answer);
    }
    if *visitor == Visitor::Stranger && front.is_open_to_this_machine() {
        return Some(refuse(request.request(), front, &cors::foreign()));
    }
    upgrade::is_websocket(request.method(), request.version(), request.headers())
        .then(|| upgrade::answer(request.request(), front))
}

/// The answer of a failed handler is in its error, and needs the same headers.
fn marked(error: &Error, visitor: &Visitor) -> Error {
    let mut response = error.error_response();
    visitor.mark(response.headers_mut());
    InternalError::from_response("a handler failed", response).into()
}

/// An HTTP/1.0 client knows no chunks: an answer of unknown length ends with its connection (RFC
/// 9112 6.3).
fn delimit_by_closing(response: &mut ServiceResponse<BoxBody>) {
    let head = response.response_mut().head_mut();
    head.no_chunking(true);
    head.set_connection_type(ConnectionType::Close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::HttpResponse;
    use actix_web::http::header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue, VARY,
    };

    #[test]
    fn the_answer_to_a_panic_has_cors_headers() {
        let response = HttpResponse::InternalServerError().body("a defect");
        let error: Error = InternalError::from_response("a handler panicked", response).into();
        let origin = HeaderValue::from_static("app://obsidian.md");
        let marked = marked(&error, &Visitor::Welcome(origin.clone())).error_response();
        assert_eq!(marked.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(marked.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN), Some(&origin));
        assert!(marked.headers().contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
        assert_eq!(marked.headers().get(VARY), Some(&HeaderValue::from_static("Origin")));
        assert_eq!(marked.body().size(), BodySize::Sized(8));
    }
}
