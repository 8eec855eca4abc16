//! The configuration in force, as operators read it: every value, where it is from, and what the
//! configuration says where something else is in force.
//!
//! Owns the form as TOML with comments and the form as a list. Refuses to show secrets, which
//! settings mask when they are written.
//!
//! What a reader would get wrong: what is in force is not what was read. A limit may have been
//! changed at run time, and some keys take effect only with the next start; both are shown as they
//! are, with the other value beside them.

mod changes;

pub use changes::{Change, changes};

use super::Config;
use super::key_path::KeyPath;
use super::sources::{Place, Source, Sources};
use super::values::{leaves, table};
use serde::Serialize;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// The configuration in force.
#[derive(Debug)]
pub struct Effective<'a> {
    /// Its values, those of `instead` included.
    pub config: &'a Config,
    /// Where its values are from.
    pub sources: &'a Sources,
    /// The values that are not in force as the configuration says, by key.
    pub instead: BTreeMap<String, Instead>,
}

/// Why a value is not in force as the configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct Instead {
    /// Why.
    pub reason: Reason,
    /// What the configuration says.
    pub configured: Value,
}

/// Why something else is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It was changed at run time.
    Patch,
    /// It takes effect with the next start.
    NextStart,
}

/// One value in force, for programs.
#[derive(Debug, Serialize)]
pub struct Setting {
    /// Its key.
    pub key: String,
    /// Its value; secrets are masked.
    pub value: Value,
    /// `file`, `environment`, `default` or `patch`.
    pub source: &'static str,
    /// Where it is written: the file and the line, or the variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What the configuration says, if that is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configured: Option<Value>,
    /// What the file says, if a variable overrides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Value>,
    /// Whether the configured value takes effect with the next start.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub next_start: bool,
}

impl Effective<'_> {
    /// As TOML; a comment behind a value says where it is from, and none that it is a default.
    pub fn text(&self) -> String {
        let plain = super::effective(self.config);
        let mut cursor = Cursor::default();
        let mut text = String::new();
        for line in plain.lines() {
            text.push_str(line);
            if let Some(comment) = cursor.next(line).and_then(|path| self.comment(&path)) {
                text.push_str("  # ");
                text.push_str(&comment.replace(char::is_control, " "));
            }
            text.push('\n');
        }
        // A text of several lines could look like keys.
        let is_same = text.parse::<Table>().ok() == plain.parse::<Table>().ok();
        if is_same { text } else { plain }
    }

    /// Every value, in the order of the keys.
    pub fn settings(&self) -> Vec<Setting> {
        let setting = |(path, value): (KeyPath, Value)| {
            let source = self.sources.get(&path);
            let instead = self.instead.get(&path.to_string());
            let is_patch = instead.is_some_and(|instead| instead.reason == Reason::Patch);
            let word = source.map_or("default", Source::word);
            let file = source.and_then(|source| source.overridden.as_ref());
            Setting {
                key: path.to_string(),
                value,
                source: if is_patch { "patch" } else { word },
                at: source.map(|source| Place(&source.origin).to_string()),
                configured: instead.map(|instead| instead.configured.clone()),
                file: file.map(|(_, value)| value.clone()),
                next_start: instead.is_some_and(|it| it.reason == Reason::NextStart),
            }
        };
        leaves(&table(self.config)).into_iter().map(setting).collect()
    }

    fn comment(&self, path: &KeyPath) -> Option<String> {
        let source = self.sources.get(path);
        let place = source.map_or_else(|| "the default".to_owned(), ToString::to_string);
        match self.instead.get(&path.to_string()) {
            None => source.map(|_| place),
            Some(Instead { reason: Reason::Patch, configured }) => {
                Some(format!("PATCH; configured: {configured} ({place})"))
            }
            Some(Instead { reason: Reason::NextStart, configured }) => {
                Some(format!("until the next start; configured: {configured} ({place})"))
            }
        }
    }
}

/// Follows the keys through a text of TOML, line by line.
#[derive(Default)]
struct Cursor {
    section: KeyPath,
    /// How many elements of each list of tables were begun.
    begun: BTreeMap<KeyPath, usize>,
}

impl Cursor {
    /// The path of the key that the line sets, if it sets one.
    fn next(&mut self, line: &str) -> Option<KeyPath> {
        let list = line.strip_prefix("[[").and_then(|line| line.strip_suffix("]]"));
        let header = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
        if let Some(name) = list.or(header) {
            let mut path = KeyPath::default();
            let steps = keys(name)?;
            for (index, step) in steps.iter().enumerate() {
                path = path.key(step);
                let is_last = index + 1 == steps.len();
                let begun = if list.is_some() && is_last {
                    Some(
                        self.begun.entry(path.clone()).and_modify(|count| *count += 1).or_default(),
                    )
                } else {
                    self.begun.get_mut(&path)
                };
                if let Some(begun) = begun {
                    path = path.index(*begun);
                }
            }
            self.section = path;
            return None;
        }
        let (key, _) = line.split_once(" = ")?;
        let [key] = <[String; 1]>::try_from(keys(key)?).ok()?;
        Some(self.section.key(&key))
    }
}

/// The steps of a dotted key.
fn keys(dotted: &str) -> Option<Vec<String>> {
    let mut table = format!("{dotted} = 0").parse::<Table>().ok()?;
    let mut steps = Vec::new();
    loop {
        let (key, value) = table.into_iter().next()?;
        steps.push(key);
        match value {
            Value::Table(inner) => table = inner,
            _ => return Some(steps),
        }
    }
}

#[cfg(test)]
mod tests;
