//! The patterns in which an operator writes the allowed origins.
//!
//! It owns the words and their meaning. It refuses patterns that could never match an origin (RFC
//! 6454 7: a scheme and a host, perhaps a port, and no path).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wildmatch::WildMatch;

/// Means the origins that Ollama allows by default if the listener is on loopback, and none
/// otherwise.
const DEFAULT: &str = "default";
/// Pages of this machine.
const LOCAL_HOSTS: [&str; 4] = ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"];
/// Origins of pages in applications: Obsidian and other Electron ones, Tauri's, and views of VS
/// Code.
const APPLICATIONS: [&str; 5] =
    ["app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*"];

/// Origins whose pages may call: an origin, perhaps with `*` in it, `*` for all, or `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern(String);

impl OriginPattern {
    /// The pattern for Ollama's own list.
    #[must_use]
    pub fn default_origins() -> Self {
        Self(DEFAULT.to_owned())
    }

    /// The patterns that it means.
    pub(super) fn patterns(&self, is_on_loopback: bool) -> Vec<WildMatch> {
        match self.0.as_str() {
            DEFAULT if is_on_loopback => {
                let local = |host: &str| {
                    ["http", "https"].map(|scheme| {
                        let origin = format!("{scheme}://{host}");
                        [WildMatch::new(&format!("{origin}:*")), WildMatch::new(&origin)]
                    })
                };
                let local = LOCAL_HOSTS.into_iter().flat_map(local).flatten();
                local.chain(APPLICATIONS.into_iter().map(WildMatch::new)).collect()
            }
            DEFAULT => Vec::new(),
            written => vec![WildMatch::new(written)],
        }
    }
}

impl FromStr for OriginPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        let is_scheme = |scheme: &str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.*".contains(&byte);
            !scheme.is_empty() && scheme.bytes().all(is_part)
        };
        let is_host = |host: &str| {
            let is_part = |byte: u8| byte.is_ascii_graphic() && !b"/?#@,\\\"'`".contains(&byte);
            !host.is_empty() && host.bytes().all(is_part)
        };
        let is_origin =
            text.split_once("://").is_some_and(|(scheme, host)| is_scheme(scheme) && is_host(host));
        if is_origin || [DEFAULT, "*", "null"].contains(&text.as_str()) {
            Ok(Self(text))
        } else {
            Err(r#"write origins without a path, as in "https://chat.example" or "http://localhost:*", or "default""#
                .to_owned())
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for OriginPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OriginPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
