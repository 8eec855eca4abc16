//! Lua scripts: what has to happen in one step at the Redis.
//!
//! Owns a script's text and its hash. What a reader would get wrong: a script is sent by its hash, and with its text
//! only when the Redis does not know it (any more), so a long script costs nothing per call.

use std::sync::OnceLock;

/// A script, made once as a `static`.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    hashed: OnceLock<::redis::Script>,
}

impl Script {
    /// A script with this text. Its keys are `KEYS`, its arguments `ARGV`; it must name no other keys.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self { text, hashed: OnceLock::new() }
    }

    pub(super) fn hashed(&self) -> &::redis::Script {
        self.hashed.get_or_init(|| ::redis::Script::new(self.text))
    }
}
