//! The section `[redis]`: the Redis that replicas share.
//!
//! Owns the fields, their units and their defaults, and the masking of the address. Refuses unknown
//! fields; [`RedisUrl::problem`] checks the address when the configuration is loaded.
//!
//! What a reader would get wrong: an empty address is not an error. It means that there is only one
//! gateway, which keeps everything in memory.

use std::time::Duration;

use ::redis::IntoConnectionInfo;
use serde::{Deserialize, Serialize};

use crate::secret::MASK;
use crate::secret::url::{SecretUrl, Shown};

/// `[redis]`: the Redis that several gateways share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// `redis://HOST:PORT/NUMBER` or `rediss://…` for TLS, with `USER:PASSWORD@` before the host if
    /// needed. Default empty: no Redis.
    pub url: RedisUrl,
    /// The prefix of every key, so that two groups of gateways can use one Redis. Default
    /// `llm-gateway`.
    pub prefix: String,
    /// How long an operation may take before the gateway continues without it, 1 ms to 10 s.
    /// Default 50 ms.
    #[serde(with = "crate::units::duration")]
    pub timeout: Duration,
    /// How many gateways share this Redis, until Redis itself has reported the number: a gateway
    /// that starts while Redis is away takes one part in this many of every limit. 1 to 1000.
    /// Default 1.
    pub replicas: u32,
}

/// The address of a Redis, empty for none. Its password is never shown.
pub type RedisUrl = SecretUrl<RedisAddress>;

/// How the address of a Redis is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisAddress;

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: RedisUrl::default(),
            prefix: "llm-gateway".to_owned(),
            timeout: Duration::from_millis(50),
            replicas: 1,
        }
    }
}

impl RedisUrl {
    /// The problem with an address that is not empty, and what would be right.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let rest = rest(self.expose())?;
        let host = rest.and_then(|rest| rest.rsplit('@').next()).unwrap_or_default();
        let is_right = !host.is_empty()
            && !host.starts_with(['/', ':', '?', '#'])
            && self.expose().into_connection_info().is_ok();
        (!is_right).then_some("write redis://HOST:PORT, or rediss://HOST:PORT for TLS")
    }
}

impl Shown for RedisAddress {
    fn shown(text: &str) -> String {
        match rest(text) {
            None => String::new(),
            Some(None) => MASK.to_owned(),
            Some(Some(rest)) => {
                let scheme = text.strip_suffix(rest).unwrap_or_default();
                let Some((user, host)) = rest.rsplit_once('@') else { return text.to_owned() };
                match user.split_once(':') {
                    Some((user, _)) => format!("{scheme}{user}:{MASK}@{host}"),
                    None => format!("{scheme}{MASK}@{host}"),
                }
            }
        }
    }
}

/// The part after the scheme: `None` without an address, `Some(None)` with another scheme.
fn rest(text: &str) -> Option<Option<&str>> {
    let rest = text.strip_prefix("redis://").or_else(|| text.strip_prefix("rediss://"));
    (!text.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (written, shown) in [
            ("", ""),
            ("redis://localhost:6379", "redis://localhost:6379"),
            ("redis://:sk-planted@cache/1", "redis://:***@cache/1"),
            ("rediss://me:sk-pl@nted@cache:6380/0", "rediss://me:***@cache:6380/0"),
            ("redis://sk-planted@cache", "redis://***@cache"),
            ("http://me:sk-planted@cache", "***"),
            ("sk-planted", "***"),
        ] {
            let url = RedisUrl::new(written);
            let json = serde_json::to_string(&url).unwrap();
            assert_eq!(format!("{url} {url:?} {json}"), format!("{shown} {shown:?} {shown:?}"));
        }
    }

    #[test]
    fn only_addresses_of_a_redis_are_valid() {
        for right in ["", "redis://a", "rediss://a:1/2", "redis://:p@a:6379", "redis://[::1]:6379"]
        {
            assert_eq!(RedisUrl::new(right).problem(), None, "{right}");
        }
        for wrong in [
            "localhost:6379",
            "http://a",
            "redis://",
            "redis:///0",
            "redis://:6379",
            "redis://a:port",
            "redis://a/one",
            "redis://me:p@",
        ] {
            assert!(RedisUrl::new(wrong).problem().is_some(), "{wrong}");
        }
    }
}
