//! Authentication: callers by the digests of their keys.
//!
//! It owns the table of callers. It refuses with the same error whatever is wrong with a key.
//!
//! The one thing to know: keys are looked up by their SHA-256, so that the time of a look-up says
//! nothing about the keys, and the found digest is compared in constant time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Front;
use super::address::{self, Network};
use super::settings::{AuthSettings, KeySettings};
use crate::chat::{EdgeReason, ErrorKind, GatewayError, Origin};
use crate::job::{Caller, Globs};
use crate::limit::settings::RateSettings;
use crate::limit::{Account, Limits, Terms};
use crate::policy::Priority;
use crate::telemetry::{LimitDecision, Limited};

/// The callers of one configuration.
#[derive(Debug)]
pub struct Callers {
    by_digest: HashMap<[u8; 32], Entry>,
    /// The anonymous caller, if there are no keys.
    anonymous: Option<Known>,
    trusted: Vec<Network>,
}

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Known {
    /// The caller.
    pub caller: Arc<Caller>,
    /// Its limits and their use.
    pub account: Arc<Account>,
    /// Whether cached answers count against its limits.
    pub counts_hits: bool,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    expires: Option<SystemTime>,
}

impl Callers {
    /// The callers of these keys. Without keys all clients are one anonymous caller.
    #[must_use]
    pub fn new(auth: &AuthSettings, keys: &[KeySettings], limits: &Limits) -> Self {
        let callers: Vec<Arc<Caller>> = match keys {
            [] => vec![Arc::new(anonymous())],
            keys => keys.iter().map(|key| Arc::new(caller(key))).collect(),
        };
        let terms =
            |index: usize| keys.get(index).map_or(general_terms(auth), |key| terms(auth, key));
        let named: Vec<(Arc<str>, Terms)> = callers
            .iter()
            .enumerate()
            .map(|(index, caller)| (Arc::clone(&caller.name), terms(index)))
            .collect();
        let accounts = limits.replace(&named);
        let mut known: Vec<Known> = callers
            .into_iter()
            .zip(accounts)
            .map(|(caller, account)| Known { caller, account, counts_hits: auth.count_cache_hits })
            .collect();
        let anonymous = if keys.is_empty() { known.pop() } else { None };
        let entry = |(key, known): (&KeySettings, Known)| {
            Some((key.digest()?, Entry { known, expires: key.expires }))
        };
        let by_digest = keys.iter().zip(known).filter_map(entry).collect();
        Self { by_digest, anonymous, trusted: auth.trusted_proxies.clone() }
    }

    /// The caller whose key came with a request: `Authorization: Bearer KEY`, `X-API-Key: KEY`, or
    /// one of `more`.
    ///
    /// # Errors
    ///
    /// `InvalidApiKey`, the same for a missing, an unknown, an expired and a malformed key.
    pub fn identify(
        &self,
        headers: &HeaderMap,
        more: &[Vec<u8>],
        now: SystemTime,
    ) -> Result<Known, GatewayError> {
        if let Some(anonymous) = &self.anonymous {
            return Ok(anonymous.clone());
        }
        let mut keys = keys(headers).chain(more.iter().map(Vec::as_slice));
        keys.find_map(|key| self.lookup(key, now)).ok_or_else(|| {
            GatewayError::new(ErrorKind::InvalidApiKey, "Invalid or missing API Key")
                .from(Origin::Client)
                .turned_away(EdgeReason::InvalidApiKey)
        })
    }

    /// The caller of a request, if its key is valid. Nothing is counted.
    #[must_use]
    pub fn known(&self, request: &HttpRequest) -> Option<Known> {
        self.identify(request.headers(), &google_keys(request), SystemTime::now()).ok()
    }

    /// Whether some key may manage models.
    #[must_use]
    pub fn has_manager(&self) -> bool {
        self.by_digest.values().any(|entry| entry.known.caller.manages_models)
    }

    /// Whether more than one key is configured.
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.by_digest.len() > 1
    }

    /// Whether clients need no key.
    #[must_use]
    pub fn are_anonymous(&self) -> bool {
        self.anonymous.is_some()
    }

    fn lookup(&self, key: &[u8], now: SystemTime) -> Option<Known> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let (known, entry) = self.by_digest.get_key_value(&digest)?;
        let is_valid =
            bool::from(known.ct_eq(&digest)) && entry.expires.is_none_or(|expires| now < expires);
        is_valid.then(|| entry.known.clone())
    }
}

impl Front {
    /// The caller of a request. A client without a valid key is refused, and told to wait after too
    /// many attempts from its address.
    ///
    /// # Errors
    ///
    /// `InvalidApiKey`, or `RateLimited` after too many requests without a valid key.
    pub(super) fn identify(&self, request: &HttpRequest) -> Result<Known, GatewayError> {
        let callers = self.callers.load();
        let googles = google_keys(request);
        callers.identify(request.headers(), &googles, SystemTime::now()).map_err(|error| {
            let address = address::of(request, &callers.trusted);
            match address.map(|address| self.failures.count(address, Instant::now())) {
                Some(Err(refusal)) => {
                    Limited { decision: LimitDecision::Refused(refusal.reason()) }.emit();
                    refusal.into_error()
                }
                Some(Ok(())) | None => error,
            }
        })
    }
}

/// The caller with this key.
#[must_use]
pub fn caller(key: &KeySettings) -> Caller {
    Caller {
        name: Arc::from(key.name.as_str()),
        weight: key.weight,
        priority: key.priority,
        policy: key.data_policy,
        models: Globs::new(&key.models),
        providers: Globs::new(&key.providers),
        manages_models: key.manage_models,
    }
}

/// The anonymous caller, if there are no keys.
#[must_use]
pub fn anonymous() -> Caller {
    let everything = ["*".to_owned()];
    Caller {
        name: Arc::from("anonymous"),
        weight: 1,
        priority: Priority::default(),
        policy: None,
        models: Globs::new(&everything),
        providers: Globs::new(&everything),
        manages_models: false,
    }
}

/// A key's terms; without its own rate it has the general one.
fn terms(auth: &AuthSettings, key: &KeySettings) -> Terms {
    let general = general_terms(auth);
    let max_concurrency = Some(key.max_concurrency).filter(|most| *most > 0);
    let rate = key.rate.map_or(general.rate, RateSettings::rate);
    Terms { rate, max_concurrency, ..general }
        .with_tokens(key.tokens_per_minute, key.tokens_per_day)
}

fn general_terms(auth: &AuthSettings) -> Terms {
    Terms { rate: auth.rate.and_then(RateSettings::rate), ..Terms::default() }
}

/// The keys in a request; several SDKs send their own beside the user's.
fn keys(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get_all(AUTHORIZATION).filter_map(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
    });
    bearer.chain(headers.get_all("x-api-key").map(|value| value.as_bytes().trim_ascii()))
}

/// The keys of a request at Google's paths, where its clients put them: a header of their own, or
/// the query.
fn google_keys(request: &HttpRequest) -> Vec<Vec<u8>> {
    if !request.path().starts_with("/v1beta/") {
        return Vec::new();
    }
    let headers = request.headers().get_all("x-goog-api-key");
    let headers = headers.map(|value| value.as_bytes().trim_ascii().to_vec());
    let query = request.query_string().split('&').filter_map(|pair| pair.strip_prefix("key="));
    headers.chain(query.map(|key| unescaped(key.as_bytes()))).collect()
}

/// The bytes that a text in a query stands for.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        let escaped = match (first, after) {
            (b'%', [high, low, behind @ ..]) => hex(high).zip(hex(low)).map(|pair| (pair, behind)),
            _ => None,
        };
        match escaped {
            Some(((high, low), behind)) => {
                bytes.push(high << 4 | low);
                rest = behind;
            }
            None => bytes.push(*first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use actix_web::http::header::{HeaderName, HeaderValue};
    use std::time::Duration;

    fn callers() -> Callers {
        let key = |name: &str, key: &str| KeySettings {
            name: name.into(),
            key: Some(Secret::new(key)),
            ..KeySettings::default()
        };
        let expired =
            KeySettings { expires: Some(SystemTime::now()), ..key("expired", "sk-expired") };
        let expires = KeySettings {
            expires: Some(SystemTime::now() + Duration::from_secs(3600)),
            ..key("expires", "sk-expires")
        };
        let keys = [key("a", "sk-a"), key("b", "sk-b"), expired, expires];
        Callers::new(&AuthSettings::default(), &keys, &Limits::new(None))
    }

    fn identify(
        callers: &Callers,
        headers: &[(&'static str, &'static str)],
    ) -> Result<String, ErrorKind> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let identified = callers.identify(&map, &[], SystemTime::now());
        identified.map(|known| known.caller.name.to_string()).map_err(|error| error.kind)
    }

    #[test]
    fn a_key_is_taken_from_either_header() {
        let callers = callers();
        for headers in [
            &[("authorization", "Bearer sk-a")][..],
            &[("authorization", "bearer   sk-a ")],
            &[("x-api-key", "sk-a")],
            &[("authorization", "Bearer other"), ("x-api-key", "sk-a")],
        ] {
            assert_eq!(identify(&callers, headers), Ok("a".to_owned()), "{headers:?}");
        }
    }

    #[test]
    fn google_s_ways_to_show_a_key_are_read_at_its_paths_alone() {
        use actix_web::test::TestRequest;
        let keys = |uri: &str| {
            let request = TestRequest::with_uri(uri).insert_header(("x-goog-api-key", " sk-h "));
            let keys = google_keys(&request.to_http_request());
            keys.into_iter().map(|key| String::from_utf8(key).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(keys("/v1beta/models?alt=sse&key=sk-%2Ba%2f"), ["sk-h", "sk-+a/"]);
        assert_eq!(keys("/v1beta/models?key=sk%&key=%zz%4"), ["sk-h", "sk%", "%zz%4"]);
        assert_eq!(keys("/v1beta/models?apikey=sk-a"), ["sk-h"]);
        assert!(keys("/v1/chat/completions?key=sk-a").is_empty());
    }

    #[test]
    fn whatever_is_wrong_with_a_key_the_error_is_the_same() {
        let callers = callers();
        for headers in [
            &[][..],
            &[("authorization", "Bearer")],
            &[("authorization", "Basic sk-a")],
            &[("authorization", "Bearer sk-a sk-b")],
            &[("x-api-key", "sk-A")],
            &[("x-api-key", "")],
            &[("x-api-key", "sk-expired")],
        ] {
            assert_eq!(identify(&callers, headers), Err(ErrorKind::InvalidApiKey), "{headers:?}");
        }
    }

    #[test]
    fn a_key_is_valid_until_it_expires() {
        assert_eq!(identify(&callers(), &[("x-api-key", "sk-expires")]), Ok("expires".to_owned()));
    }

    #[test]
    fn a_key_without_its_own_rate_has_the_general_one() {
        let rate = |capacity| Some(RateSettings { capacity, refill_per_second: 1.0 });
        let auth = AuthSettings { rate: rate(5), ..AuthSettings::default() };
        let key = |rate| KeySettings { rate, ..KeySettings::default() };
        let capacity = |key: &KeySettings| terms(&auth, key).rate.map(|rate| rate.capacity);
        assert_eq!(capacity(&key(None)), Some(5.0));
        assert_eq!(capacity(&key(rate(7))), Some(7.0));
        assert_eq!(capacity(&key(rate(0))), None);
        assert_eq!(general_terms(&auth).rate.map(|rate| rate.capacity), Some(5.0));
        assert!(terms(&AuthSettings::default(), &key(None)).is_free());
    }

    #[test]
    fn without_keys_every_client_is_anonymous() {
        let callers = Callers::new(&AuthSettings::default(), &[], &Limits::new(None));
        assert_eq!(identify(&callers, &[]), Ok("anonymous".to_owned()));
        assert_eq!(identify(&callers, &[("x-api-key", "anything")]), Ok("anonymous".to_owned()));
    }
}
