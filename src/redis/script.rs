//! Lua scripts: operations that the Redis must do in one step.
//!
//! Owns a script's text and its hash. What a reader would get wrong: a script is called by its
//! hash, and its text is sent only if the Redis does not know it (any more), so a long script costs
//! nothing per call.

use std::sync::OnceLock;

/// A script, created once as a `static`.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    hashed: OnceLock<::redis::Script>,
}

impl Script {
    /// Creates a script with this text. Its keys are `KEYS`, its arguments `ARGV`; it must use no
    /// other keys.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self { text, hashed: OnceLock::new() }
    }

    pub(super) fn hashed(&self) -> &::redis::Script {
        self.hashed.get_or_init(|| ::redis::Script::new(self.text))
    }
}
