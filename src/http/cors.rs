//! Browser pages that call from another origin (the Fetch standard's CORS protocol).
//!
//! It owns the allowed origins and the answers for browsers: the preflight's, before any key is
//! checked, and headers on every other answer, errors included. It refuses no client that has a
//! key: a page that is not allowed just gets no headers, and its browser withholds the answer from
//! it.
//!
//! The one thing to know: a browser withholds an answer, not a request. Where no key is required,
//! any page could make this machine work for it; there, requests of pages that are not allowed are
//! refused altogether, as Ollama does.

mod pattern;

use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use wildmatch::WildMatch;

use crate::chat::{EdgeReason, ErrorKind, GatewayError, Origin};

pub use pattern::OriginPattern;

/// The methods for pages. Each path decides which of them it accepts.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// The headers that a page may send if its browser does not name any.
const HEADERS: &str = "authorization, content-type, x-api-key, x-goog-api-key";
/// How many seconds a browser may cache a preflight: short enough for an operator who changes the
/// list.
const MAX_AGE: &str = "600";
/// The headers, besides the origin, that a preflight's answer depends on.
const VARIES: &str = "Access-Control-Request-Method, Access-Control-Request-Headers, \
                      Access-Control-Request-Private-Network";
/// The headers of answers that a page may read.
const EXPOSED: &str = "x-request-id, request-id, x-gateway-provider, x-gateway-model, x-gateway-attempts, \
                       x-gateway-queue-ms, x-gateway-route, x-gateway-cache, x-gateway-dropped, x-gateway-estimate, \
                       x-gateway-remembered, retry-after, retry-after-ms, x-should-retry, x-ratelimit-limit-requests, \
                       x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, \
                       x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens";
/// The prefixes of further headers that a page may read.
const EXPOSED_PREFIXES: [&str; 2] = ["x-gateway-", "x-ratelimit-"];

/// A page of the public web may reach a private network only with permission (Private Network
/// Access).
const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

/// The origins whose pages may call.
#[derive(Debug)]
pub(super) struct Cors {
    patterns: Vec<WildMatch>,
}

/// The origin of a request, according to the browser.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Visitor {
    /// No page of another origin.
    Nobody,
    /// A page that may call, by its origin.
    Welcome(HeaderValue),
    /// A page that may not.
    Stranger,
}

impl Cors {
    /// The origins that these patterns allow; `default` depends on whether the listener is on
    /// loopback.
    pub fn new(origins: &[OriginPattern], is_on_loopback: bool) -> Self {
        let patterns = origins.iter().flat_map(|origin| origin.patterns(is_on_loopback));
        Self { patterns: patterns.collect() }
    }

    /// Judges the origin of a request.
    pub fn judge(&self, headers: &HeaderMap) -> Visitor {
        let mut origins = headers.get_all(ORIGIN);
        match (origins.next(), origins.next()) {
            (None, _) => Visitor::Nobody,
            (Some(origin), None) if self.allows(origin) => Visitor::Welcome(origin.clone()),
            (Some(_), _) => Visitor::Stranger,
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        // A list, or an address with a path, is not an origin, whatever a pattern says.
        let is_origin = origin == "null"
            || origin
                .split_once("://")
                .is_some_and(|(_, host)| !host.contains(['/', ',', ' ', '@']));
        is_origin && self.patterns.iter().any(|pattern| pattern.matches(&origin))
    }
}

impl Visitor {
    /// The answer to a preflight; `None` when the request is not one, or the page may not call.
    pub fn preflight(&self, request: &RequestHead) -> Option<HttpResponse> {
        let is_welcome = matches!(self, Self::Welcome(_));
        if !is_welcome || request.method != Method::OPTIONS {
            return None;
        }
        let mut response = HttpResponse::NoContent();
        response
            .insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS))
            .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, wanted(request.headers())))
            .insert_header((ACCESS_CONTROL_MAX_AGE, MAX_AGE))
            .insert_header((VARY, VARIES));
        if request.headers().get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
            response.insert_header((ALLOW_PRIVATE_NETWORK, "true"));
        }
        Some(response.finish())
    }

    /// Adds the headers that tell the browser who may read an answer, and which of its headers.
    pub fn mark(&self, headers: &mut HeaderMap) {
        match self {
            Self::Nobody => return,
            Self::Stranger => {}
            Self::Welcome(origin) => {
                let exposed = exposed(headers);
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            }
        }
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

/// The error for a page that is refused where no key is required.
pub(super) fn foreign() -> GatewayError {
    let message = "pages of this origin may not call here, where no key is asked for: add it to server.cors.origins \
                   or to OLLAMA_ORIGINS";
    GatewayError::new(ErrorKind::NotAllowed, message)
        .from(Origin::Client)
        .turned_away(EdgeReason::ForeignOrigin)
}

/// The headers that a page wants to send, if they are a list of names.
fn wanted(headers: &HeaderMap) -> HeaderValue {
    let is_list = |value: &HeaderValue| {
        let is_name =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, ".contains(byte);
        !value.is_empty() && value.as_bytes().iter().all(is_name)
    };
    let wanted = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|value| is_list(value));
    wanted.cloned().unwrap_or(HeaderValue::from_static(HEADERS))
}

/// The names of the headers that a page may read.
fn exposed(headers: &HeaderMap) -> HeaderValue {
    let is_new = |name: &&str| {
        let is_ours = EXPOSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        is_ours && !EXPOSED.split(", ").any(|known| known == *name)
    };
    let mut new = headers.keys().map(HeaderName::as_str).filter(is_new).peekable();
    if new.peek().is_none() {
        return HeaderValue::from_static(EXPOSED);
    }
    let names = std::iter::once(EXPOSED).chain(new).collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&names).unwrap_or(HeaderValue::from_static(EXPOSED))
}

#[cfg(test)]
mod tests;
