//! A configuration as plain values with their paths.
//!
//! What a reader would get wrong: secrets are masked here, because settings mask them whenever they
//! are written.

use super::Config;
use super::key_path::KeyPath;
use toml::{Table, Value};

/// The configuration as a table, secrets masked.
pub fn table(config: &Config) -> Table {
    // A test checks that every field has a form in TOML.
    Table::try_from(config).unwrap_or_default()
}

/// Every value with its path. A list is one value, unless it is one of tables.
pub fn leaves(table: &Table) -> Vec<(KeyPath, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        collect(KeyPath::of(key), value, &mut found);
    }
    found
}

fn collect(path: KeyPath, value: &Value, found: &mut Vec<(KeyPath, Value)>) {
    match value {
        Value::Table(table) => {
            table.iter().for_each(|(key, value)| collect(path.key(key), value, found));
        }
        Value::Array(list) if list.first().is_some_and(Value::is_table) => {
            let elements = list.iter().enumerate();
            elements.for_each(|(index, value)| collect(path.index(index), value, found));
        }
        _ => found.push((path, value.clone())),
    }
}
