//! The rules for `[providers.NAME]`.
//!
//! Owns the rules for names, addresses and ranges, and which duration may not exceed which.
//!
//! What a reader would get wrong: a total timeout from the environment silently shortens the steps
//! that a file sets; within one source a step that is longer than the total is a contradiction.

use super::Review;
use crate::config::key_path::KeyPath;
use crate::provider::settings::{
    AutoConcurrency, BackendName, KeepAlive, MaxConcurrency, ProviderSettings, Scheduling, Timeouts,
};
use crate::units::format_duration;
use actix_web::http::Uri;
use std::time::Duration;

/// No wait is bounded by more times what it would be, and nothing is kept for longer.
const MOST_TIMES: f64 = 100.0;
/// Nobody waits longer for what is remembered.
const MOST_AFFINITY_WAIT: Duration = Duration::from_secs(600);

impl Review<'_> {
    pub(super) fn providers(&mut self) {
        let path = KeyPath::of("providers");
        if self.config.providers.is_empty() && self.named_providers.is_empty() {
            self.problem(&path, "write at least one section, as in [providers.ollama]");
        }
        for (name, provider) in &self.config.providers {
            let path = path.key(name);
            self.provider_name(&path, name);
            if let Err(message) = check_base_url(provider.base_url()) {
                self.problem(&path.key("base_url"), message);
            } else if let Some(meant) = meant_base_url(provider) {
                let message = format!("the API of this backend is not there, write {meant}");
                self.warn(&path.key("base_url"), message);
            }
            self.provider_secret(&path, provider);
            self.globs(&path.key("models"), provider.models.globs());
            self.models(&path.key("models"), provider);
            self.preload(&path.key("preload"), provider);
            self.scheduling(&path.key("scheduling"), provider);
            for (name, info) in &provider.models_info {
                if let Some(context) = info.context {
                    let path = path.key("models_info").key(name).key("context");
                    self.in_range(&path, context, 1..=u64::from(u32::MAX));
                }
            }
            if let MaxConcurrency::Fixed(limit) = provider.max_concurrency {
                self.in_range(&path.key("max_concurrency"), limit, 1..=100_000);
            }
            self.auto_concurrency(&path.key("auto_concurrency"), &provider.auto_concurrency);
            self.positive(&path.key("max_queue_wait"), provider.max_queue_wait);
            self.remembering(&path, provider);
            self.timeouts(&path.key("timeouts"), &provider.timeouts);
            self.retry_and_breaker(&path, provider);
            self.in_range(&path.key("health").key("failures"), provider.health.failures, 1..=1000);
            self.positive(&path.key("health").key("timeout"), provider.health.timeout);
            self.calls(&path, provider);
        }
    }

    fn remembering(&mut self, path: &KeyPath, provider: &ProviderSettings) {
        let times =
            [("remember_wait", provider.remember_wait, 1.0), ("linger", provider.linger, 0.0)];
        for (key, value, least) in times {
            if !(least..=MOST_TIMES).contains(&value) {
                let message = format!("write a number from {least} to {MOST_TIMES}, not {value}");
                self.problem(&path.key(key), message);
            }
        }
        if provider.affinity_wait > MOST_AFFINITY_WAIT {
            let message = r#"write at most "10m", or "0s" for none"#;
            self.problem(&path.key("affinity_wait"), message);
        }
    }

    fn preload(&mut self, path: &KeyPath, provider: &ProviderSettings) {
        for (index, name) in provider.preload.iter().enumerate() {
            if name.is_empty() || name.contains(['*', '?']) {
                self.problem(&path.index(index), "write a model's name, as in \"llama3.1\"");
            }
        }
        if !provider.preload.is_empty() && provider.scheduling() != Scheduling::Warm {
            let message = "has no effect: only with scheduling = \"warm\" the gateway loads models";
            self.warn(path, message);
        }
    }

    fn scheduling(&mut self, path: &KeyPath, provider: &ProviderSettings) {
        let loads_none = match provider.backend {
            BackendName::Anthropic | BackendName::Gemini => true,
            BackendName::Ollama | BackendName::Openai => false,
        };
        if loads_none && provider.scheduling() == Scheduling::Warm {
            let message = "has no effect: \"warm\" is for servers that load the models that they are \
                           asked for";
            self.warn(path, message);
        }
    }

    fn models(&mut self, path: &KeyPath, provider: &ProviderSettings) {
        for (name, settings) in provider.models.settings() {
            let path = path.key(name);
            if name.is_empty() {
                self.problem(&path, "write a model's name or a pattern, as in \"qwen3*\"");
            }
            if let Some(limit) = settings.max_concurrency {
                self.in_range(&path.key("max_concurrency"), limit, 1..=100_000);
            }
            // Fewer are made four by Ollama.
            for (key, context) in
                [("num_ctx", settings.num_ctx), ("max_num_ctx", settings.max_num_ctx)]
            {
                if let Some(context) = context {
                    self.in_range(&path.key(key), context, 4..=u32::MAX);
                }
            }
            if let Some(message) = settings.keep_alive.as_ref().and_then(KeepAlive::problem) {
                self.problem(&path.key("keep_alive"), message);
            }
            for (key, is_written) in [
                ("num_ctx", settings.num_ctx.is_some()),
                ("max_num_ctx", settings.max_num_ctx.is_some()),
                ("keep_alive", settings.keep_alive.is_some()),
                ("pin", settings.pin.is_some()),
            ] {
                if is_written && provider.backend != BackendName::Ollama {
                    let backend = BackendName::Ollama;
                    let message =
                        format!("only backend = \"{backend}\" has such a thing: leave it out");
                    self.problem(&path.key(key), message);
                }
            }
        }
    }

    fn provider_name(&mut self, path: &KeyPath, name: &str) {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if name.is_empty() || !name.chars().all(allowed) {
            let message = "a provider's name has letters, digits, `.`, `_` and `-` only, because \
                           clients write `provider/model`";
            self.problem(path, message);
        }
    }

    fn provider_secret(&mut self, path: &KeyPath, provider: &ProviderSettings) {
        let inline = path.key("api_key");
        let is_inline = match self.tree.get(&inline) {
            Some(written) => written.as_str() != Some(""),
            None => false,
        };
        let variable = path.key("api_key_env");
        let wins = self.is_from_environment(&inline) && !self.is_from_environment(&variable);
        self.sendable(if is_inline { &inline } else { &variable }, &provider.api_key);
        if is_inline && provider.api_key_env.is_some() && !wins {
            let message = "write either api_key or api_key_env, not both";
            self.problem(&inline, message);
        } else if is_inline && self.is_from_file(&inline) {
            let message = "a key in a file is easily leaked: write api_key_env = \"NAME\"";
            self.warn(&inline, message);
        }
    }

    fn auto_concurrency(&mut self, path: &KeyPath, bounds: &AutoConcurrency) {
        self.in_range(&path.key("min"), bounds.min, 1..=100_000);
        self.in_range(&path.key("max"), bounds.max, 1..=100_000);
        if bounds.min > bounds.max {
            let [min, max] = [bounds.min, bounds.max].map(|bound| bound.to_string());
            self.contradiction(path, ("min", &min), ("max", &max));
        }
    }

    fn timeouts(&mut self, path: &KeyPath, timeouts: &Timeouts) {
        let total = path.key("total");
        self.positive(&total, timeouts.total);
        let steps = [
            ("connect", Some(timeouts.connect)),
            ("first_event", timeouts.first_event),
            ("whole", timeouts.whole),
            ("idle", timeouts.idle),
        ];
        for (name, duration) in steps {
            let step = path.key(name);
            let (Some(duration), Some(_)) = (duration, self.tree.get(&step)) else { continue };
            self.positive(&step, duration);
            let gives_way = self.is_from_environment(&total) && !self.is_from_environment(&step);
            if !gives_way {
                self.not_above(path, (name, duration), ("total", timeouts.total));
            }
        }
    }

    fn retry_and_breaker(&mut self, path: &KeyPath, provider: &ProviderSettings) {
        let (retry, path_of_retry) = (&provider.retry, path.key("retry"));
        self.in_range(&path_of_retry.key("max_retries"), retry.max_retries, 0..=10);
        self.positive(&path_of_retry.key("backoff"), retry.backoff);
        let limit = ("max_backoff", retry.max_backoff);
        self.not_above(&path_of_retry, ("backoff", retry.backoff), limit);
        let (breaker, path_of_breaker) = (&provider.breaker, path.key("breaker"));
        self.in_range(&path_of_breaker.key("failures"), breaker.failures, 1..=1000);
        self.positive(&path_of_breaker.key("open"), breaker.open);
        let limit = ("max_open", breaker.max_open);
        self.not_above(&path_of_breaker, ("open", breaker.open), limit);
    }

    fn not_above(
        &mut self,
        table: &KeyPath,
        (key, value): (&str, Duration),
        (limit_key, limit): (&str, Duration),
    ) {
        if value > limit {
            let (value, limit) = (format_duration(value), format_duration(limit));
            self.contradiction(table, (key, &value), (limit_key, &limit));
        }
    }
}

/// The address that is probably meant, if one ends with a path that the gateway itself adds; `None`
/// if it looks right.
fn meant_base_url(provider: &ProviderSettings) -> Option<&str> {
    let added: &[&str] = match provider.backend {
        BackendName::Ollama => &["/v1", "/api"],
        BackendName::Gemini => &["/v1beta", "/v1"],
        BackendName::Anthropic => &["/v1/messages", "/v1"],
        // Any path may precede the API's own paths.
        BackendName::Openai => &["/chat/completions"],
    };
    let url = provider.base_url().trim_end_matches('/');
    added.iter().find_map(|end| url.strip_suffix(end))
}

/// Checks an address, and suggests a valid one.
pub(super) fn check_base_url(url: &str) -> Result<(), String> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(match url.split_once("://") {
            Some((_, rest)) => format!("write http://{rest} or https://{rest}"),
            None => format!("write http://{url}"),
        });
    }
    let example = "write an address, as in http://localhost:11434";
    let uri: Uri = url.parse().or(Err(example))?;
    let authority = uri.authority().ok_or(example)?;
    if authority.as_str().contains('@') {
        return Err("write no name and password here: keys go in api_key_env".to_owned());
    }
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    let is_port_right = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => port.is_empty(),
    };
    if authority.host().is_empty() || !is_port_right {
        return Err(example.to_owned());
    }
    if uri.query().is_some() || url.contains('#') {
        return Err("write the address without `?` and `#`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_addresses_are_accepted() {
        for url in [
            "http://localhost:11434",
            "http://127.0.0.1:1/",
            "https://api.openai.com/v1",
            "http://[::1]:11434",
            "https://host",
        ] {
            assert_eq!(check_base_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn an_invalid_address_is_refused_with_a_valid_one() {
        let example = "write an address, as in http://localhost:11434";
        for (url, message) in [
            ("localhost:11434", "write http://localhost:11434"),
            ("ftp://host/x", "write http://host/x or https://host/x"),
            ("http://", example),
            ("http://:80", example),
            ("http://host:99999", example),
            ("http://host:0", example),
            ("http://ho st", example),
            ("http://me:pw@host", "write no name and password here: keys go in api_key_env"),
            ("http://host/?a=b", "write the address without `?` and `#`"),
            ("http://host/#a", "write the address without `?` and `#`"),
        ] {
            assert_eq!(check_base_url(url), Err(message.to_owned()), "{url}");
        }
    }
}
