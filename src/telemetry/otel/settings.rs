//! The section `[otel]`.
//!
//! Owns its fields and their defaults. Rejects unknown fields; the configuration's checks validate
//! the values.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// `[otel]`: spans and metrics by OTLP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtelSettings {
    /// The collector's base address, for example `http://localhost:4318`; OTLP over HTTP. Default:
    /// empty, nothing is sent.
    pub endpoint: String,
    /// Headers for the collector, as `name=value,name=value`. Default: none.
    pub headers: Secret,
    /// The gateway's service name. Default `llm-gateway`.
    pub service_name: String,
    /// The share of traces that is sent, 0 to 1. Default 1.
    pub sample_ratio: f64,
    /// The time between two exports of metrics. Default 60 s.
    #[serde(with = "crate::units::duration")]
    pub metrics_interval: Duration,
}

impl Default for OtelSettings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            headers: Secret::default(),
            service_name: "llm-gateway".to_owned(),
            sample_ratio: 1.0,
            metrics_interval: Duration::from_secs(60),
        }
    }
}

impl OtelSettings {
    /// The headers for the collector. A pair without `=` is dropped; the configuration's checks
    /// reject it.
    #[must_use]
    pub fn headers(&self) -> HashMap<String, String> {
        let pairs = self.headers.expose().split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
    }
}
