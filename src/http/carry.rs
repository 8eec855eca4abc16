//! Keeps the parts of a request as they came, beside the parsed request.
//!
//! It owns the list of headers and query parameters that are passed on to a provider. It never
//! passes on the caller's identity: keys, organizations and projects are the gateway's own.
//!
//! The one thing to know: a request that cannot be translated is not an error yet. Whether it must
//! be translated is decided when the candidates are known.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;
use bytes::Bytes;

use super::models::unescaped;
use crate::chat::{Ask, Carry, Endpoint, GatewayError};
use crate::dialect::carried::{ask_of, changes_state, form, is_clear};
use crate::dialect::{Address, Dialect, Turns};
use crate::wire::splice::Outline;

/// Headers that are passed on.
const HEADERS: [&str; 3] = ["anthropic-beta", "anthropic-version", "openai-beta"];

/// The version that nearly every Anthropic client sends.
const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// Reads a request, and keeps it as it came if it can be carried. `are_several` says whether
/// several callers share the gateway's account at a provider: then none of them may continue an
/// answer that the gateway does not remember as its own.
///
/// # Errors
///
/// The dialect's error for a body that cannot be carried either.
pub(super) fn read(
    dialect: &dyn Dialect,
    request: &HttpRequest,
    body: Bytes,
    turns: &Turns,
    are_several: bool,
) -> Result<(Ask, Option<Arc<Carry>>), GatewayError> {
    let model = unescaped(request.match_info().get("model").unwrap_or_default());
    let address = Address { model: &model, query: request.query_string() };
    let addressed = |mut ask: Ask| {
        dialect.address(&mut ask, address);
        ask
    };
    let decoded = dialect.decode_after(&body, turns).map(addressed);
    // Turns that are stored here are unknown to providers.
    let endpoint = dialect.endpoint().filter(|_| turns.is_empty());
    let Some(endpoint) = endpoint else { return Ok((decoded?, None)) };
    if are_several && let Some(unknown) = dialect.unknown_reference(&body) {
        return Err(unknown);
    }
    let Some(fields) = Outline::read(&body).filter(is_clear) else { return Ok((decoded?, None)) };
    let (form, changes_state) =
        (form(endpoint, &fields, address), changes_state(endpoint, &fields));
    let (ask, refusal) = match decoded {
        Ok(ask) => (ask, None),
        Err(refusal) => match ask_of(endpoint, &body) {
            Some(ask) => (addressed(ask), Some(refusal)),
            None => return Err(refusal),
        },
    };
    let headers = request.headers();
    let headers = HEADERS.into_iter().filter_map(|name| {
        let values = headers.get_all(name).filter_map(|value: &HeaderValue| value.to_str().ok());
        let said = values.collect::<Vec<_>>().join(",");
        (!said.is_empty()).then_some((name, said))
    });
    let headers = headers.collect::<Vec<_>>();
    let query = query(endpoint, request.query_string());
    let is_usual = |(name, said): &(&str, String)| *name == VERSION.0 && said == VERSION.1;
    let carry = Carry {
        endpoint,
        stream: ask.stream(),
        form,
        changes_state,
        may_be_plain: refusal.is_none() && query.is_empty() && headers.iter().all(is_usual),
        headers,
        query,
        refusal,
        body,
    };
    Ok((ask, Some(Arc::new(carry))))
}

/// What a query of Gemini's may say. More would be the shape of the answer, or an account.
const GEMINIS: [&str; 4] = ["alt=json", "alt=sse", "prettyPrint=false", "prettyPrint=true"];

/// The part of the query that is passed on.
fn query(endpoint: Endpoint, whole: &str) -> String {
    if !endpoint.is_gemini() {
        return without_credentials(whole);
    }
    whole.split('&').filter(|pair| GEMINIS.contains(pair)).collect::<Vec<_>>().join("&")
}

/// The query without parameters that may be credentials.
pub(super) fn without_credentials(whole: &str) -> String {
    let is_harmless = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
        !name.is_empty()
            && !["key", "token", "secret", "auth"].iter().any(|word| name.contains(word))
    };
    whole.split('&').filter(is_harmless).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_passed_on_without_credentials() {
        let query = |whole| query(Endpoint::AnthropicMessages, whole);
        assert_eq!(query("beta=true&key=sk-1&x=%20&api_key=2"), "beta=true&x=%20");
        assert_eq!(query("access_token=1"), "");
        assert_eq!(query(""), "");
        let geminis = super::query(Endpoint::GeminiStream, "key=k&alt=sse&fields=a&$alt=proto");
        assert_eq!(geminis, "alt=sse");
    }
}
