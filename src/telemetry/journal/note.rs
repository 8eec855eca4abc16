//! What operators and reloads did, for operators.
//!
//! The one thing to know: it says what was done, not by whom; the log has the address.

use std::sync::Arc;

use serde::Serialize;

use super::{clipped, kept};

/// The most notes kept.
pub const NOTES: usize = 50;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NoteKind {
    /// The gateway started.
    Start,
    /// The configuration was read again and is in force.
    Reload,
    /// The configuration was read again and refused.
    Refused,
    /// A provider's limits were changed.
    Limits,
    /// A provider takes no new work.
    Drain,
    /// A provider takes work again.
    Resume,
    /// A model was loaded.
    Load,
    /// A model was unloaded.
    Unload,
}

/// Something that was done.
#[derive(Debug, Clone, Serialize)]
pub struct Note {
    /// Grows with every note.
    pub number: u64,
    /// The journal's version at that time.
    #[serde(skip)]
    pub(super) version: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// What.
    pub kind: NoteKind,
    /// The provider, if it concerns one.
    pub provider: Option<Arc<str>>,
    /// The details.
    pub text: Box<str>,
}

impl Note {
    pub(super) fn new(
        version: u64,
        at: u64,
        kind: NoteKind,
        provider: Option<&Arc<str>>,
        text: &str,
    ) -> Self {
        let (provider, text) = (provider.map(kept), Box::from(clipped(text)));
        Self { number: version, version, at, kind, provider, text }
    }
}
