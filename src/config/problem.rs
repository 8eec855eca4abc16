//! The problems of a configuration, and where they are.
//!
//! Owns the line that each problem prints: `FILE:LINE: KEY: message`, or `environment: NAME:
//! message`. No problem quotes a value that may be secret; the code that makes a [`Problem`]
//! ensures that.

use super::key_path::{KeyPath, PREFIX};
use std::fmt;
use std::path::{Path, PathBuf};

/// The source of a value. The file's lines sort first, in order, then the environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file; line 1 is the first, and 0 means the file as a whole.
    File {
        /// Its path, as the user wrote it.
        path: PathBuf,
        /// The line of the key.
        line: usize,
    },
    /// An environment variable, or a line of `.env` in its place.
    Environment {
        /// The variable.
        name: String,
    },
    /// A default, which is written nowhere.
    Default,
}

/// A setting that must be changed before the gateway can start, or, as a warning, one that should
/// be changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where the value was written.
    pub origin: Origin,
    /// The key, as in TOML; empty if the problem concerns no single key.
    pub key: String,
    /// What is wrong and what would be right, in lower case.
    pub message: String,
}

/// All problems of a configuration, in the order of the file; never empty.
///
/// Prints each on a line that begins with `error: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problem {
    /// A problem of one key.
    pub(super) fn new(origin: Origin, key: &KeyPath, message: impl Into<String>) -> Self {
        Self { origin, key: key.to_string(), message: message.into() }
    }

    /// A problem of a file as a whole.
    pub(super) fn of_file(path: &Path, message: impl Into<String>) -> Self {
        let origin = Origin::File { path: path.to_owned(), line: 0 };
        Self { origin, key: String::new(), message: message.into() }
    }

    /// A problem of an environment variable.
    pub(super) fn environment(name: &str, message: impl Into<String>) -> Self {
        let origin = Origin::Environment { name: name.to_owned() };
        Self { origin, key: String::new(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File { path, line: 0 } => write!(formatter, "{}: ", path.display())?,
            Origin::File { path, line } => write!(formatter, "{}:{line}: ", path.display())?,
            Origin::Environment { name } => write!(formatter, "environment: {name}: ")?,
            Origin::Default => write!(formatter, "defaults: ")?,
        }
        let is_named = match &self.origin {
            // The variable's name suffices if it contains the key.
            Origin::Environment { name } => names_the_key(name, &self.key),
            Origin::File { .. } | Origin::Default => self.key.is_empty(),
        };
        if !is_named {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            let line_break = if number == 0 { "" } else { "\n" };
            write!(formatter, "{line_break}error: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Whether the name of a variable tells which key it sets. A short name always does.
fn names_the_key(variable: &str, key: &str) -> bool {
    let spelled = key.replace('.', "__").replace('-', "_").to_uppercase();
    key.is_empty() || variable.strip_prefix(PREFIX).is_none_or(|keys| keys == spelled)
}
