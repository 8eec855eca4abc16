//! What differs between two configurations, for the operator who reloads.
//!
//! Owns how differences are named: a key of a client and a provider by its name, a route by its
//! place. Refuses to show secrets: that one has changed is all that is told.

use crate::config::Config;
use crate::config::key_path::KeyPath;
use crate::config::values::table;
use crate::secret::MASK;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use toml::{Table, Value};

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What became of it.
    pub change: ChangeKind,
    /// Its value before, if it was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Its value now, if it was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// A provider or a client's key is new.
    Added,
    /// A provider or a client's key is gone.
    Removed,
    /// A value differs; a missing one means the default.
    Changed,
}

/// What differs, in the order of the keys. A provider or a key that is new or gone is one
/// difference.
pub fn changes(before: &Config, after: &Config) -> Vec<Change> {
    let [one, other] = [before, after].map(by_name);
    let mut found = Vec::new();
    compare(&one, &other, &KeyPath::default(), &mut found);
    let is_reordered = before.providers.len() == after.providers.len()
        && before.providers.keys().all(|name| after.providers.contains_key(name))
        && !before.providers.keys().eq(after.providers.keys());
    if is_reordered {
        let order = |config: &Config| {
            let names: Vec<&str> = config.providers.keys().map(String::as_str).collect();
            Some(Value::from(names.join(", ")))
        };
        found.push(changed(&"providers (their order)", order(before), order(after)));
    }
    for path in changed_secrets(before, after) {
        let masked = Some(Value::from(MASK));
        found.push(changed(&path, masked.clone(), masked));
    }
    found
}

/// The configuration as a table, in which client keys are known by their names.
fn by_name(config: &Config) -> Table {
    let mut table = table(config);
    let keys = table.get_mut("keys").and_then(Value::as_array_mut).map(std::mem::take);
    let named = keys.unwrap_or_default().into_iter().filter_map(|key| {
        let name = key.get("name")?.as_str()?.to_owned();
        Some((name, key))
    });
    table.insert("keys".to_owned(), Value::Table(named.collect()));
    table
}

/// Tables whose entries are told as a whole when they come or go.
fn is_entry(path: &KeyPath) -> bool {
    let parent = path.parent();
    parent.is_some_and(|parent| parent == KeyPath::of("providers") || parent == KeyPath::of("keys"))
}

fn compare(before: &Table, after: &Table, path: &KeyPath, found: &mut Vec<Change>) {
    let added = after.keys().filter(|key| !before.contains_key(*key));
    for key in before.keys().chain(added) {
        let (path, one, other) = (path.key(key), before.get(key), after.get(key));
        if one == other {
            continue;
        }
        match (one, other) {
            (Some(Value::Table(one)), Some(Value::Table(other))) => {
                compare(one, other, &path, found);
            }
            (None, Some(_)) if is_entry(&path) => {
                found.push(Change { change: ChangeKind::Added, ..changed(&path, None, None) });
            }
            (Some(_), None) if is_entry(&path) => {
                found.push(Change { change: ChangeKind::Removed, ..changed(&path, None, None) });
            }
            _ => found.push(changed(&path, one.cloned(), other.cloned())),
        }
    }
}

fn changed(key: &impl ToString, before: Option<Value>, after: Option<Value>) -> Change {
    Change { key: key.to_string(), change: ChangeKind::Changed, before, after }
}

/// The keys of secrets that differ although both are masked.
fn changed_secrets(before: &Config, after: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let is_other = |one: &crate::secret::Secret, other: &crate::secret::Secret| {
        !one.is_empty() && !other.is_empty() && one != other
    };
    if is_other(&before.admin.token, &after.admin.token) {
        found.push("admin.token".to_owned());
    }
    for (name, provider) in &after.providers {
        let Some(earlier) = before.providers.get(name) else { continue };
        let path = KeyPath::of("providers").key(name);
        if is_other(&earlier.api_key, &provider.api_key) {
            found.push(path.key("api_key").to_string());
        }
        for (header, value) in &provider.headers {
            let earlier = earlier.headers.get(header);
            if earlier.is_some_and(|earlier| is_other(earlier, value)) {
                found.push(path.key("headers").key(header).to_string());
            }
        }
    }
    let earlier: BTreeMap<_, _> = before.keys.iter().map(|key| (&key.name, &key.key)).collect();
    for key in &after.keys {
        let (Some(Some(one)), Some(other)) = (earlier.get(&key.name), &key.key) else { continue };
        if is_other(one, other) {
            found.push(KeyPath::of("keys").key(&key.name).key("key").to_string());
        }
    }
    found
}

impl fmt::Display for Change {
    /// `providers.ollama.max_concurrency 2 -> 4`, or `keys.team-a added`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.key)?;
        match self.change {
            ChangeKind::Added => formatter.write_str(" added"),
            ChangeKind::Removed => formatter.write_str(" removed"),
            ChangeKind::Changed => {
                let [before, after] =
                    [&self.before, &self.after].map(|value| Short(value.as_ref()));
                write!(formatter, " {before} -> {after}")
            }
        }
    }
}

/// A value in a line; of a table or a long text only that there is one.
struct Short<'a>(Option<&'a Value>);

impl fmt::Display for Short<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        match self.0 {
            None => formatter.write_str("none"),
            Some(Value::Table(_)) => formatter.write_str("{…}"),
            Some(value) => {
                let text = value.to_string();
                let is_long = text.len() > LONGEST;
                formatter.write_str(if is_long { "…" } else { &text })
            }
        }
    }
}
