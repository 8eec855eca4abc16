//! The rules for `[otel]`.

use std::time::Duration;

use super::Review;
use super::providers::check_base_url;
use crate::config::key_path::KeyPath;

impl Review<'_> {
    pub(super) fn otel(&mut self) {
        let otel = &self.config.otel;
        let path = KeyPath::of("otel");
        if !otel.endpoint.is_empty() && check_base_url(&otel.endpoint).is_err() {
            let message = "write http://HOST:4318 or https://HOST:4318, the collector's address for OTLP over HTTP";
            self.problem(&path.key("endpoint"), message);
        }
        let pairs = otel.headers.expose().split(',').filter(|pair| !pair.trim().is_empty());
        let is_pair = |pair: &str| {
            pair.split_once('=').is_some_and(|(name, value)| {
                !name.trim().is_empty() && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            })
        };
        if !pairs.into_iter().all(is_pair) {
            self.problem(&path.key("headers"), "write name=value,name=value");
        }
        if !(0.0..=1.0).contains(&otel.sample_ratio) {
            self.problem(&path.key("sample_ratio"), "write a number from 0 to 1");
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&otel.metrics_interval) {
            self.problem(&path.key("metrics_interval"), r#"write "1s" to "1h""#);
        }
    }
}
