//! The rules for `[[keys]]`.
//!
//! Owns that each key has one name and one secret, which no other key has. Refuses to print a
//! secret or its hash.

use super::Review;
use crate::config::key_path::KeyPath;
use crate::http::settings::KeySettings;
use crate::limit::settings::RateSettings;
use crate::secret::Secret;

/// The settings of which each entry has exactly one.
const FORMS: [&str; 3] = ["sha256", "key", "env"];

/// A larger number is a typing mistake.
const MOST_TOKENS: u64 = 1_000_000_000_000;

impl Review<'_> {
    pub(super) fn keys(&mut self) {
        for (index, key) in self.config.keys.iter().enumerate() {
            let path = KeyPath::of("keys").index(index);
            let earlier = self.config.keys.get(..index).unwrap_or_default();
            self.key_name(&path, key, earlier);
            self.key_secret(&path, key, earlier);
            self.in_range(&path.key("weight"), key.weight, 1..=1000);
            self.key_scope(&path, key);
            self.key_limits(&path, key);
        }
    }

    pub(super) fn auth(&mut self) {
        let (auth, path) = (&self.config.auth, KeyPath::of("auth"));
        if let Some(rate) = auth.rate {
            self.rate(&path.key("rate"), rate);
        }
        self.rate(&path.key("failures"), auth.failures);
    }

    fn key_limits(&mut self, path: &KeyPath, key: &KeySettings) {
        if let Some(rate) = key.rate {
            self.rate(&path.key("rate"), rate);
        }
        self.in_range(&path.key("tokens_per_minute"), key.tokens_per_minute, 0..=MOST_TOKENS);
        self.in_range(&path.key("tokens_per_day"), key.tokens_per_day, 0..=MOST_TOKENS);
        self.in_range(&path.key("max_concurrency"), key.max_concurrency, 0..=100_000);
    }

    fn rate(&mut self, path: &KeyPath, rate: RateSettings) {
        self.in_range(&path.key("capacity"), rate.capacity, 0..=1_000_000);
        let refill = rate.refill_per_second;
        self.in_range(&path.key("refill_per_second"), refill, 0.000_001..=1_000_000.0);
    }

    fn key_name(&mut self, path: &KeyPath, key: &KeySettings, earlier: &[KeySettings]) {
        if key.name.trim().is_empty() || key.name.contains(char::is_control) {
            self.problem(&path.key("name"), "write a name for this client, as in \"team-a\"");
        } else if earlier.iter().any(|other| other.name == key.name) {
            let message =
                format!("another key is named `{}` already: write another name", key.name);
            self.problem(&path.key("name"), message);
        }
    }

    fn key_secret(&mut self, path: &KeyPath, key: &KeySettings, earlier: &[KeySettings]) {
        let written = FORMS.map(|form| self.tree.get(&path.key(form)).is_some());
        match written {
            [true, false, false] | [false, true, false] | [false, false, true] => {}
            [false, false, false] => {
                let message = "has no secret: write one of sha256, env, key";
                self.problem(path, message);
                return;
            }
            [true, true, _] | [true, _, true] | [_, true, true] => {
                let message = "has more than one secret: write only one of sha256, env, key";
                self.problem(path, message);
                return;
            }
        }
        if key.sha256.is_some() && key.digest().is_none() {
            let message = "write the 64 hexadecimal digits that `llm-gateway keys new` prints";
            self.problem(&path.key("sha256"), message);
        }
        if key.key.as_ref().is_some_and(Secret::is_empty) {
            self.problem(&path.key("key"), "write the key; an empty one would let anybody in");
        } else if key.key.is_some()
            && self.is_from_file(&path.key("key"))
            && written == [false, true, false]
        {
            let message = "a key in a file is easily leaked: write its sha256, which \
                           `llm-gateway keys new` prints, or env = \"NAME\"";
            self.warn(&path.key("key"), message);
        }
        if let Some(secret) = &key.key {
            let form = if key.env.is_some() { "env" } else { "key" };
            self.sendable(&path.key(form), secret);
        }
        let same = |other: &&KeySettings| key.digest().is_some() && other.digest() == key.digest();
        if let Some(other) = earlier.iter().find(same) {
            let message = format!("has the same secret as `{}`: write another", other.name);
            self.problem(path, message);
        }
    }

    fn key_scope(&mut self, path: &KeyPath, key: &KeySettings) {
        for (list, name) in [(&key.models, "models"), (&key.providers, "providers")] {
            if list.is_empty() {
                let message = r#"an empty list allows nothing: write ["*"] to allow everything"#;
                self.problem(&path.key(name), message);
            }
            self.globs(&path.key(name), list);
        }
        for (index, name) in key.providers.iter().enumerate() {
            if !name.is_empty() && !name.contains(['*', '?']) {
                self.provider(&path.key("providers").index(index), name);
            }
        }
    }
}
