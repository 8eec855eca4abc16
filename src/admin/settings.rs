//! The section `[admin]`: the listener for operators.
//!
//! Owns two fields and their defaults. Refuses unknown fields; the check that a listener beyond
//! loopback has a token runs when the configuration is loaded.

use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// `[admin]`: metrics, snapshots, the console. Never on the main port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSettings {
    /// The address to which operators connect. Default `127.0.0.1:9901`, Envoy's admin port; port 0
    /// takes a free one.
    pub listen: SocketAddr,
    /// The bearer token, required if `listen` is not on loopback. Default empty: no token.
    pub token: Secret,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9901)), token: Secret::default() }
    }
}
