//! The section `[log]`.
//!
//! Owns two fields and their defaults; `RUST_LOG` sets how much is logged. Rejects unknown fields.

use serde::{Deserialize, Serialize};

/// `[log]`: how events are written to standard error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// One line of text or one JSON object per event. Default `text`.
    pub format: LogFormat,
    /// Whether prompts and answers may appear in the log. Default false.
    pub prompts: bool,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For collectors.
    Json,
}
