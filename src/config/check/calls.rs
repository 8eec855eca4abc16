//! The rules for the parts of a provider's calls besides the request: headers, fields, quirks, TLS.
//!
//! Owns the names that an operator may not use, because the gateway itself sets them.
//!
//! What a reader would get wrong: a header that the gateway also writes is allowed, and replaces
//! the gateway's. Only headers that frame the call, or have their own key in the configuration, are
//! refused.

use std::collections::BTreeSet;

use actix_web::http::header::{HeaderName, HeaderValue};

use super::Review;
use crate::chat::ApiWord;
use crate::config::key_path::KeyPath;
use crate::http::served;
use crate::provider::settings::{BackendName, ProviderSettings, TlsSettings, json_of};

/// Headers that belong to the connection or the body, or that determine how the gateway reads the
/// answer.
const FRAMING: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

/// Headers that contain a provider's key.
const CREDENTIALS: [&str; 3] = ["authorization", "x-api-key", "x-goog-api-key"];

/// Fields that contain the client's request, in each API.
const ASKED: [&str; 9] =
    ["contents", "input", "messages", "model", "n", "prompt", "stream", "suffix", "system"];

/// Fields that have their own key in the configuration.
const ELSEWHERE: [(&str, &str); 3] = [
    ("max_tokens", "default_max_tokens"),
    ("max_completion_tokens", "default_max_tokens"),
    ("stream_options", "stream_usage"),
];

impl Review<'_> {
    pub(super) fn calls(&mut self, path: &KeyPath, provider: &ProviderSettings) {
        self.headers(path, provider);
        self.body(&path.key("body"), provider);
        self.quirks(path, provider);
        let has_tls = provider.base_url().starts_with("https://");
        let tls =
            TlsSettings { authorities: provider.tls.authorities.clone(), ..TlsSettings::default() };
        if !has_tls && provider.tls != tls {
            self.warn(&path.key("tls"), "has no effect: base_url begins with http://");
        }
        // A proxy from the environment was checked when it was read.
        let proxy = path.key("proxy");
        if let (Some(message), Some(_)) = (provider.proxy.problem(), self.tree.get(&proxy)) {
            self.problem(&proxy, message);
        }
    }

    fn headers(&mut self, path: &KeyPath, provider: &ProviderSettings) {
        let (written, variables) = (path.key("headers"), path.key("headers_env"));
        let mut seen = BTreeSet::new();
        let from_variables = provider.headers_env.keys().map(|name| (name, &variables));
        let inline = |name: &&String| !provider.headers_env.contains_key(*name);
        let inline = provider.headers.keys().filter(inline).map(|name| (name, &written));
        for (name, table) in inline.chain(from_variables) {
            let path = table.key(name);
            let lower = name.to_ascii_lowercase();
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                self.problem(&path, "a header's name has letters, digits and `-`, without spaces");
            } else if FRAMING.contains(&lower.as_str()) || lower.starts_with("proxy-auth") {
                self.problem(&path, "the gateway itself writes this header: leave it out");
            } else if lower == "anthropic-version" {
                self.problem(&path, "write api_version instead");
            } else if CREDENTIALS.contains(&lower.as_str()) && !provider.api_key.is_empty() {
                self.problem(&path, "write either this header or a key in api_key_env, not both");
            }
            let value = provider.headers.get(name).filter(|value| !value.is_empty());
            if value.is_some_and(|value| HeaderValue::from_str(value.expose()).is_err()) {
                self.problem(&path, "a header's value has letters, digits and signs of ASCII only");
            }
            if self.tree.get(&written.key(name)).is_some() && table == &variables {
                self.problem(&path, "write this header either here or in headers, not both");
            } else if !seen.insert(lower.clone()) {
                self.problem(&path, "the same header is written twice: leave one out");
            }
            if table == &written && self.is_from_file(&path) && sounds_secret(&lower) {
                let message = "a secret in a file is easily leaked: write it in headers_env, as the \
                               name of a variable";
                self.warn(&path, message);
            }
        }
    }

    fn body(&mut self, path: &KeyPath, provider: &ProviderSettings) {
        for (name, value) in &provider.body {
            let path = path.key(name);
            // The value as it was written: the settings cannot hold a date.
            let value = self.tree.get(&path).unwrap_or(value);
            let elsewhere = ELSEWHERE.iter().find(|(field, _)| field == name);
            if ASKED.contains(&name.as_str()) {
                self.problem(&path, "this is the request's own: leave it out");
            } else if let Some((_, key)) = elsewhere {
                self.problem(&path, format!("write {key} instead"));
            } else if let Err(message) = json_of(value) {
                self.problem(&path, message);
            }
        }
    }

    fn quirks(&mut self, path: &KeyPath, provider: &ProviderSettings) {
        for (key, is_written, backend) in [
            ("api_version", provider.api_version.is_some(), BackendName::Anthropic),
            ("stream_usage", provider.stream_usage.is_some(), BackendName::Openai),
            ("reasoning_back", provider.reasoning_back.is_some(), BackendName::Openai),
            ("max_tokens_field", provider.max_tokens_field.is_some(), BackendName::Openai),
            ("system", provider.system.is_some(), BackendName::Openai),
        ] {
            if is_written && provider.backend != backend {
                let message =
                    format!("only backend = \"{backend}\" has such a thing: leave it out");
                self.problem(&path.key(key), message);
            }
        }
        let path_to_apis = path.key("apis");
        for word in
            provider.apis.iter().flatten().filter(|word| !provider.backend.may_speak(**word))
        {
            let backend = provider.backend;
            let usual: Vec<_> =
                ApiWord::ALL.into_iter().filter(|word| backend.may_speak(*word)).collect();
            let usual = usual.into_iter().map(ApiWord::as_str).collect::<Vec<_>>().join(", ");
            let word = word.as_str();
            let message = format!(
                "backend = \"{backend}\" has no `{word}` that requests could be passed on to; it has {usual}"
            );
            self.problem(&path_to_apis, message);
        }
        for pattern in &provider.passthrough {
            if let Some(served) = served::at(pattern) {
                let message = format!(
                    "`{pattern}` covers {served}, which the gateway serves itself: list other paths only"
                );
                self.problem(&path.key("passthrough"), message);
            }
        }
        if provider.default_max_tokens == Some(0) {
            let message = "write how many tokens, as in 8192, or leave it out";
            self.problem(&path.key("default_max_tokens"), message);
        }
    }
}

/// Whether the name of a header suggests that its value is secret.
fn sounds_secret(name: &str) -> bool {
    ["auth", "cookie", "key", "password", "secret", "token"].iter().any(|word| name.contains(word))
}
