//! What of a request is kept as it came, beside what the gateway makes of it.
//!
//! It owns the list of headers that mean something to a provider, and what of the query goes along. It refuses to pass
//! on who asks: keys, organizations and projects are the gateway's own.
//!
//! The one thing to know: what cannot be translated is no error yet. Whether it must be is decided when the providers
//! that may answer are known.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;
use bytes::Bytes;

use crate::chat::{Ask, Carry, GatewayError};
use crate::dialect::carried::{form, is_clear, outline};
use crate::dialect::{Dialect, Turns};

/// Headers that go along.
const HEADERS: [&str; 3] = ["anthropic-beta", "anthropic-version", "openai-beta"];

/// What nearly every client of Anthropic's says.
const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// Reads a request, and keeps it as it came where it can be passed on so.
///
/// # Errors
///
/// What the dialect says of a body that cannot be passed on either.
pub(super) fn read(
    dialect: &dyn Dialect,
    request: &HttpRequest,
    body: Bytes,
    turns: &Turns,
) -> Result<(Ask, Option<Arc<Carry>>), GatewayError> {
    let decoded = dialect.decode_after(&body, turns);
    // Turns that are remembered here are known to nobody else.
    let endpoint = dialect.endpoint().filter(|_| turns.is_empty());
    let Some(endpoint) = endpoint else { return Ok((decoded?, None)) };
    let (ask, refusal) = match decoded {
        Ok(ask) if is_clear(&body) => (ask, None),
        Ok(ask) => return Ok((ask, None)),
        Err(refusal) => match outline(endpoint, &body) {
            Some(ask) => (ask, Some(refusal)),
            None => return Err(refusal),
        },
    };
    let headers = request.headers();
    let headers = HEADERS.into_iter().filter_map(|name| {
        let values = headers.get_all(name).filter_map(|value: &HeaderValue| value.to_str().ok());
        let said = values.collect::<Vec<_>>().join(",");
        (!said.is_empty()).then_some((name, said))
    });
    let (headers, query) = (headers.collect::<Vec<_>>(), query(request.query_string()));
    let is_usual = |(name, said): &(&str, String)| *name == VERSION.0 && said == VERSION.1;
    let carry = Carry {
        endpoint,
        stream: ask.stream(),
        form: form(endpoint, &body),
        may_be_plain: refusal.is_none() && query.is_empty() && headers.iter().all(is_usual),
        headers,
        query,
        refusal,
        body,
    };
    Ok((ask, Some(Arc::new(carry))))
}

/// The query without what may be a credential.
fn query(whole: &str) -> String {
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
    fn a_query_goes_along_without_credentials() {
        assert_eq!(query("beta=true&key=sk-1&x=%20&api_key=2"), "beta=true&x=%20");
        assert_eq!(query("access_token=1"), "");
        assert_eq!(query(""), "");
    }
}
