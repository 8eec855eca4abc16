//! The sections `[[routes]]`, `[hints]` and `[default]`: which providers a name stands for.
//!
//! Owns the fields and their defaults; that every provider named here exists is checked when the
//! configuration is loaded. Refuses unknown fields.
//!
//! The trap: hints in a file are added to the built-in ones and do not replace them; only a hint
//! with a built-in name replaces that one.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::policy::OnCut;

/// The providers each hint stands for.
pub type Hints = BTreeMap<String, Vec<String>>;

/// The hints that always exist and their providers unless the file says otherwise, without
/// providers that are not configured.
pub const BUILT_IN_HINTS: [(&str, &str); 6] = [
    ("local", "ollama"),
    ("ollama", "ollama"),
    ("secure", "ollama"),
    ("online", "gemini"),
    ("fast", "gemini"),
    ("gemini", "gemini"),
];

/// The hints that promise never to leave local providers, whatever fails.
pub const LOCAL_HINTS: [&str; 2] = ["local", "secure"];

/// One of `[[routes]]`; the first whose `model` matches is taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteSettings {
    /// A glob (`*`, `?`) over the name the client asked for; never empty.
    pub model: String,
    /// Where it may go, chosen by weight; at least one.
    pub targets: Vec<TargetSettings>,
    /// Where it goes when no target can take it, in order. Default: nowhere.
    pub fallback: Vec<TargetSettings>,
    /// What happens to a stream that breaks off midway. Default `resume`.
    pub on_cut: OnCut,
}

/// A provider, and the model to ask it for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetSettings {
    /// The name of a configured provider.
    pub provider: String,
    /// The model's name there. Default: the name the client asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The size of the model's context in tokens, prompt and answer together, at least 1. A prompt
    /// that is too long for one target is passed only to a later one that is declared larger.
    /// Default: unknown, and then it is not passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<u64>,
    /// Share among a route's targets, 1 to 1000; without effect in `fallback`. Default 1.
    pub weight: u32,
}

/// `[default]`: where requests go that no other rule matched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DefaultSettings {
    /// Providers, in order. Default `["ollama"]`, or none when no such provider is configured.
    pub providers: Vec<String>,
}

impl Default for TargetSettings {
    fn default() -> Self {
        Self { provider: String::new(), model: None, context: None, weight: 1 }
    }
}

impl Default for DefaultSettings {
    fn default() -> Self {
        Self { providers: vec!["ollama".to_owned()] }
    }
}
