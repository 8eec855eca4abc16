//! Decides who may use the admin listener.
//!
//! The one thing to know: the console's own files need no token, because a browser cannot send one
//! when it opens a page. They contain nothing about this gateway; every other path does, and
//! requires the token.

use std::net::IpAddr;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpResponse, HttpResponseBuilder};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::operator::Operator;
use super::{Admin, console};
use crate::telemetry::OperatorRefused;

/// Passes a request on, or refuses it with the reason.
pub(super) async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let token = request.app_data::<Data<Admin>>().map_or("", |admin| admin.token.expose());
    match refusal(request.headers(), token, console::is_public(request.path())) {
        None => Ok(next.call(request).await?.map_into_boxed_body()),
        Some(refused) => {
            let who = Operator::of(request.peer_addr().map(|peer| peer.ip()), request.headers());
            let (mut response, detail) = refused.answer();
            OperatorRefused {
                by: who.address,
                program: who.program.as_deref(),
                path: request.path(),
                why: refused.why(request.headers()),
            }
            .emit();
            Ok(request.into_response(response.json(json!({"detail": detail}))))
        }
    }
}

impl Refused {
    fn answer(&self) -> (HttpResponseBuilder, &'static str) {
        match self {
            Self::Token => (HttpResponse::Unauthorized(), "a valid admin token is needed"),
            Self::Origin => (HttpResponse::Forbidden(), "pages elsewhere may not use this"),
            Self::Host => {
                (HttpResponse::Forbidden(), "use an IP address or localhost, or set admin.token")
            }
        }
    }

    fn why(&self, headers: &HeaderMap) -> &'static str {
        match self {
            Self::Token if headers.contains_key(header::AUTHORIZATION) => "wrong token",
            Self::Token => "no token",
            Self::Origin => "a page elsewhere",
            Self::Host => "a name as host",
        }
    }
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Token,
    Origin,
    Host,
}

fn refusal(headers: &HeaderMap, token: &str, is_public: bool) -> Option<Refused> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let foreign = headers.get(header::ORIGIN).is_some()
        && text(header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, from)| from)
            != Some(host);
    if foreign {
        return Some(Refused::Origin);
    }
    if token.is_empty() {
        // The owner of a name could make it point here (DNS rebinding).
        return (!is_address(host)).then_some(Refused::Host);
    }
    if is_public {
        return None;
    }
    let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let valid = given.is_some_and(|given| bool::from(given.as_bytes().ct_eq(token.as_bytes())));
    (!valid).then_some(Refused::Token)
}

fn is_address(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.is_empty() || name == "localhost" || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn check(token: &str, headers: &[(&'static str, &'static str)]) -> Option<Refused> {
        check_path("/admin/providers", token, headers)
    }

    fn check_path(
        path: &str,
        token: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Option<Refused> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        refusal(&map, token, console::is_public(path))
    }

    #[test]
    fn without_a_token_only_addresses_are_served() {
        for host in ["127.0.0.1:9901", "localhost:9901", "localhost", "[::1]:9901", "10.0.0.1"] {
            assert_eq!(check("", &[("host", host)]), None, "{host}");
        }
        assert_eq!(check("", &[("host", "evil.example:9901")]), Some(Refused::Host));
        assert_eq!(check("", &[("host", "evil.example")]), Some(Refused::Host));
    }

    #[test]
    fn only_the_whole_token_is_accepted() {
        let host = ("host", "gateway.internal:9901");
        assert_eq!(check("t0ken", &[host, ("authorization", "Bearer t0ken")]), None);
        for wrong in ["Bearer t0ke", "Bearer t0ken2", "t0ken", "Basic t0ken", "Bearer "] {
            assert_eq!(check("t0ken", &[host, ("authorization", wrong)]), Some(Refused::Token));
        }
        assert_eq!(check("t0ken", &[host]), Some(Refused::Token));
    }

    #[test]
    fn a_foreign_page_is_refused() {
        let host = ("host", "127.0.0.1:9901");
        assert_eq!(check("", &[host, ("origin", "http://127.0.0.1:9901")]), None);
        assert_eq!(check("", &[host, ("origin", "http://127.0.0.1:3000")]), Some(Refused::Origin));
        assert_eq!(check("", &[host, ("origin", "null")]), Some(Refused::Origin));
    }

    #[test]
    fn only_the_files_of_the_console_need_no_token() {
        let host = ("host", "gateway.internal:9901");
        for path in ["/", "/console/main.js"] {
            assert_eq!(check_path(path, "t0ken", &[host]), None, "{path}");
            let foreign = check_path(path, "t0ken", &[host, ("origin", "http://evil.example")]);
            assert_eq!(foreign, Some(Refused::Origin), "{path}");
            let named = check_path(path, "", &[("host", "evil.example")]);
            assert_eq!(named, Some(Refused::Host), "{path}");
        }
        for path in ["/console/", "/console/../admin/config", "//", "/admin/events", "/metrics"] {
            assert_eq!(check_path(path, "t0ken", &[host]), Some(Refused::Token), "{path}");
        }
    }
}
