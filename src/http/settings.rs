//! The sections `[server]`, `[auth]` and `[[keys]]`: who may connect, from where, and how much is
//! read.
//!
//! Owns the fields, their units and their defaults; their combination is checked when the
//! configuration is loaded. Refuses unknown fields.
//!
//! The trap: after loading, a key written as `env = "NAME"` also has its `key` filled in from the
//! environment, so [`KeySettings::digest`] works for all three forms.

use super::address::Network;
use super::cors::OriginPattern;
use crate::chat::ReasoningField;
use crate::limit::settings::RateSettings;
use crate::policy::{DataPolicy, Priority};
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

/// `[server]`: the main listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// The address that clients connect to. Default `127.0.0.1:8000`, the original service's port;
    /// port 0 takes a free one. Beyond loopback it needs `[[keys]]` or `auth.anonymous = true`.
    pub listen: SocketAddr,
    /// Worker threads, at most 1024. Default 0: one per core.
    pub workers: usize,
    /// The largest request body, in bytes, more than 0. Default 16 MiB: room for a few images.
    #[serde(with = "crate::units::size")]
    pub max_body: u64,
    /// How long running answers may continue after a stop signal. Default 30 s, as in Kubernetes;
    /// Docker's default is 10 s.
    #[serde(with = "crate::units::duration")]
    pub drain: Duration,
    /// Request bodies held at one time, for all providers together, in bytes. Default 256 MiB; at
    /// least `max_body`.
    #[serde(with = "crate::units::size")]
    pub max_buffered: u64,
    /// How long a client may take to send its body. Default 30 s.
    #[serde(with = "crate::units::duration")]
    pub body_timeout: Duration,
    /// How long a client may read no bytes of its answer before it is disconnected. Default 30 s.
    #[serde(with = "crate::units::duration")]
    pub write_stall: Duration,
    /// How long a streamed request waits before headers and a comment are sent to keep proxies from
    /// closing the connection. Default 15 s, the interval the HTML standard advises for comments.
    #[serde(with = "crate::units::duration")]
    pub heartbeat_after: Duration,
    /// The names of the field with a model's reasoning in OpenAI's chat API. Default `both`.
    pub reasoning_field: ReasoningField,
    /// Browser pages of other origins.
    pub cors: CorsSettings,
}

/// `[server.cors]`: browser pages that call from another origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorsSettings {
    /// The origins whose pages may call. Default `default`: on loopback those that Ollama allows,
    /// otherwise none. `OLLAMA_ORIGINS` adds to them.
    pub origins: Vec<OriginPattern>,
}

/// `[auth]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// Allows callers without a key although the listener is not on loopback. Default false.
    pub anonymous: bool,
    /// The rate of every key that has none of its own, and of the anonymous caller. Default: no
    /// limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateSettings>,
    /// Invalid keys that may come from one address before it is told to wait. Valid keys are not
    /// affected. Default 60, and one more each second.
    pub failures: RateSettings,
    /// Proxies whose `X-Forwarded-For` is trusted. Default none: the connection's address counts.
    pub trusted_proxies: Vec<Network>,
    /// Whether a cached answer costs as much as a provider's. Default false: it costs nothing.
    pub count_cache_hits: bool,
}

/// One of `[[keys]]`: a client, what it may use, and how it ranks.
///
/// Exactly one of `sha256`, `key` and `env` is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeySettings {
    /// The client's name in logs, queues and snapshots; unique, never empty.
    pub name: String,
    /// The SHA-256 of the key as 64 hexadecimal digits: the recommended form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The key itself. In a file it causes a warning; after loading it also holds the value of
    /// `env`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// The environment variable that holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Share of a contended provider, 1 to 1000. Default 1.
    pub weight: u32,
    /// Whether a user waits for the answers. Default `interactive`.
    pub priority: Priority,
    /// Globs of the model names it may use, as asked for and as run. Default `["*"]`.
    pub models: Vec<String>,
    /// Globs of the providers it may use. Default `["*"]`.
    pub providers: Vec<String>,
    /// Whether it may install and remove the models that it may use, at those of its providers that
    /// can: Ollamas. Default false.
    pub manage_models: bool,
    /// `local` keeps everything this key sends on local providers. Default: no policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_policy: Option<DataPolicy>,
    /// When it stops being valid. Default: never.
    #[serde(with = "crate::units::moment", skip_serializing_if = "Option::is_none")]
    pub expires: Option<SystemTime>,
    /// The rate of requests; a capacity of 0 is no limit. Default: `auth.rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateSettings>,
    /// Tokens of prompts and answers in a minute, at most 10^12. Default 0: no limit.
    pub tokens_per_minute: u64,
    /// The same in a day. Default 0: no limit.
    pub tokens_per_day: u64,
    /// Requests that run at one time, at most 100,000. Default 0: no limit.
    pub max_concurrency: u32,
}

impl KeySettings {
    /// The SHA-256 that a presented key is compared with; `None` when no usable form is set, which
    /// a loaded configuration never has.
    pub fn digest(&self) -> Option<[u8; 32]> {
        match (&self.sha256, &self.key) {
            (Some(digits), _) => parse_sha256(digits),
            (None, Some(key)) if !key.is_empty() => {
                Some(Sha256::digest(key.expose().as_bytes()).into())
            }
            (None, _) => None,
        }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            workers: 0,
            max_body: 16 << 20,
            drain: Duration::from_secs(30),
            max_buffered: 256 << 20,
            body_timeout: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            heartbeat_after: Duration::from_secs(5),
            reasoning_field: ReasoningField::default(),
            cors: CorsSettings::default(),
        }
    }
}

impl Default for CorsSettings {
    fn default() -> Self {
        Self { origins: vec![OriginPattern::default_origins()] }
    }
}

impl Default for KeySettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            sha256: None,
            key: None,
            env: None,
            weight: 1,
            priority: Priority::default(),
            models: vec!["*".to_owned()],
            providers: vec!["*".to_owned()],
            manage_models: false,
            data_policy: None,
            expires: None,
            rate: None,
            tokens_per_minute: 0,
            tokens_per_day: 0,
            max_concurrency: 0,
        }
    }
}

/// Reads 64 hexadecimal digits of either case.
fn parse_sha256(digits: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let pairs = digits.as_bytes().chunks(2);
    if digits.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16)?;
            *byte = (*byte << 4) | u8::try_from(value).ok()?;
        }
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_hash_have_the_same_digest() {
        let hashed = KeySettings {
            sha256: Some("BA7816BF8F01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into()),
            ..KeySettings::default()
        };
        let plain = KeySettings { key: Some(Secret::new("abc")), ..KeySettings::default() };
        assert!(plain.digest().is_some());
        assert_eq!(hashed.digest(), plain.digest());
    }

    #[test]
    fn a_hash_that_is_not_64_hexadecimal_digits_has_no_digest() {
        for digits in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            let key = KeySettings { sha256: Some(digits.to_owned()), ..KeySettings::default() };
            assert_eq!(key.digest(), None, "{digits}");
        }
        let empty = KeySettings { key: Some(Secret::new("")), ..KeySettings::default() };
        assert_eq!(empty.digest(), None);
    }
}
