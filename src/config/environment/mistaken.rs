//! Variables that were probably meant for the gateway, and are not read.
//!
//! Owns the two names that people write by mistake: `API_KEY`, and names with one underscore where
//! two belong. Refuses to warn of what others set: the names that Kubernetes makes for a Service,
//! and an `API_KEY` that a key or a provider of the configuration uses.

use super::super::key_path::KeyPath;
use super::super::problem::Problem;
use super::super::tree::Tree;
use super::{FILE_VARIABLE, KEYS_VARIABLE, PREFIX};
use std::collections::BTreeMap;
use toml::Value;

/// The name without which callers need no key.
const KEY: &str = "API_KEY";
/// The beginning of the names with one underscore.
const ONE_UNDERSCORE: &str = "LLM_GATEWAY_";
/// The sections of a configuration, as names of variables spell them.
const SECTIONS: [&str; 13] = [
    "SERVER",
    "ADMIN",
    "AUTH",
    "KEYS",
    "PROVIDERS",
    "ROUTES",
    "HINTS",
    "DEFAULT",
    "CACHE",
    "RESPONSES",
    "REDIS",
    "LOG",
    "OTEL",
];

/// A warning about a variable, if it is one of these.
pub(super) fn meant(
    name: &str,
    environment: &BTreeMap<String, String>,
    tree: &Tree,
) -> Option<Problem> {
    if name == KEY {
        let has_keys = environment.get(KEYS_VARIABLE).is_some_and(|keys| !keys.trim().is_empty());
        let is_used = tree.table.iter().any(|(_, value)| names_variable(value));
        let has_keys = has_keys || tree.get(&KeyPath::of("keys")).is_some();
        return (!has_keys && !is_used).then(|| {
            let message = format!("is not read, and no key is needed: write {KEYS_VARIABLE}");
            Problem::environment(name, message)
        });
    }
    let rest = name.strip_prefix(ONE_UNDERSCORE).filter(|_| !name.starts_with(PREFIX))?;
    let (section, key) = rest.split_once('_')?;
    let key = key.trim_start_matches('_');
    let is_section = SECTIONS.contains(&section) && name != FILE_VARIABLE;
    if !is_section || is_of_kubernetes(key) {
        return None;
    }
    let message = format!("is not read: write {PREFIX}{section}__{key}, with two underscores");
    Some(Problem::environment(name, message))
}

/// Whether the end of a name is one that Kubernetes and Docker links make, as in
/// `LLM_GATEWAY_REDIS_PORT_6379_TCP`.
fn is_of_kubernetes(key: &str) -> bool {
    ["SERVICE_HOST", "SERVICE_PORT", "PORT", "NAME"].iter().any(|end| match key.strip_prefix(end) {
        Some(rest) => rest.is_empty() || rest.starts_with('_'),
        None => false,
    })
}

/// Whether a value, or one below it, is the name of the variable.
fn names_variable(value: &Value) -> bool {
    match value {
        Value::String(text) => text == KEY,
        Value::Array(list) => list.iter().any(names_variable),
        Value::Table(table) => table.values().any(names_variable),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => false,
    }
}
