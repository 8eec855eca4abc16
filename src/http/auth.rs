//! Who asks: keys by their digests.
//!
//! It owns the table of callers. It refuses with one and the same error whatever is wrong with a key.
//!
//! The one thing to know: keys are looked up by their SHA-256, so that the time a look-up takes says nothing about
//! the keys themselves, and the digest found is compared in constant time.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::settings::KeySettings;
use crate::chat::{ErrorKind, GatewayError, Origin};
use crate::job::{Caller, Globs};
use crate::policy::Priority;

/// The callers of one configuration.
#[derive(Debug)]
pub struct Callers {
    by_digest: HashMap<[u8; 32], Arc<Caller>>,
    anonymous: Arc<Caller>,
}

impl Callers {
    /// The callers of these keys. Without keys everybody is one anonymous caller.
    #[must_use]
    pub fn new(keys: &[KeySettings]) -> Self {
        let entry = |key: &KeySettings| Some((key.digest()?, Arc::new(caller(key))));
        let by_digest = keys.iter().filter_map(entry).collect();
        Self { by_digest, anonymous: Arc::new(anonymous()) }
    }

    /// The caller whose key came with a request: `Authorization: Bearer KEY` or `X-API-Key: KEY`.
    ///
    /// # Errors
    ///
    /// `InvalidApiKey`, the same for a missing, an unknown and a malformed key.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Arc<Caller>, GatewayError> {
        if self.by_digest.is_empty() {
            return Ok(Arc::clone(&self.anonymous));
        }
        keys(headers).find_map(|key| self.lookup(key)).ok_or_else(|| {
            GatewayError::new(ErrorKind::InvalidApiKey, "Invalid or missing API Key")
                .from(Origin::Client)
        })
    }

    fn lookup(&self, key: &[u8]) -> Option<Arc<Caller>> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let (known, caller) = self.by_digest.get_key_value(&digest)?;
        bool::from(known.ct_eq(&digest)).then(|| Arc::clone(caller))
    }
}

/// Who asks with this key.
#[must_use]
pub fn caller(key: &KeySettings) -> Caller {
    Caller {
        name: Arc::from(key.name.as_str()),
        weight: key.weight,
        priority: key.priority,
        policy: key.data_policy,
        models: Globs::new(&key.models),
        providers: Globs::new(&key.providers),
    }
}

/// Everybody, where there are no keys.
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
    }
}

/// The keys that a request carries; several SDKs send their own beside the user's.
fn keys(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get_all(AUTHORIZATION).filter_map(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
    });
    bearer.chain(headers.get_all("x-api-key").map(|value| value.as_bytes().trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn callers() -> Callers {
        let key = |name: &str, key: &str| KeySettings {
            name: name.into(),
            key: Some(Secret::new(key)),
            ..KeySettings::default()
        };
        Callers::new(&[key("a", "sk-a"), key("b", "sk-b")])
    }

    fn identify(
        callers: &Callers,
        headers: &[(&'static str, &'static str)],
    ) -> Result<String, ErrorKind> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        callers.identify(&map).map(|caller| caller.name.to_string()).map_err(|error| error.kind)
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
    fn whatever_is_wrong_with_a_key_the_error_is_the_same() {
        let callers = callers();
        for headers in [
            &[][..],
            &[("authorization", "Bearer")],
            &[("authorization", "Basic sk-a")],
            &[("authorization", "Bearer sk-a sk-b")],
            &[("x-api-key", "sk-A")],
            &[("x-api-key", "")],
        ] {
            assert_eq!(identify(&callers, headers), Err(ErrorKind::InvalidApiKey), "{headers:?}");
        }
    }

    #[test]
    fn without_keys_everybody_is_anonymous() {
        let callers = Callers::new(&[]);
        assert_eq!(identify(&callers, &[]), Ok("anonymous".to_owned()));
        assert_eq!(identify(&callers, &[("x-api-key", "anything")]), Ok("anonymous".to_owned()));
    }
}
