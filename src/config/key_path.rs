//! The path of a value in a configuration: `providers.ollama.max_concurrency`, `keys[0].name`.
//!
//! Owns how such a path is built, compared and printed. Does not know what the keys mean.
//!
//! What a reader would get wrong: indices of lists start at 0, and a name that TOML would quote is
//! quoted.

use std::fmt;

/// The beginning of every long name.
pub const PREFIX: &str = "LLM_GATEWAY__";

/// The path of a value, from the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(Vec<Step>);

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl KeyPath {
    /// The path of a key at the root.
    pub fn of(key: &str) -> Self {
        Self::default().key(key)
    }

    /// The path of a key in the table that this path leads to.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.and(Step::Key(key.to_owned()))
    }

    /// The path of an element of the list that this path leads to.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.and(Step::Index(index))
    }

    /// The steps, from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The table or list that holds the value; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, rest)| Self(rest.to_vec()))
    }

    /// The name of the value in its table; `None` for an element of a list, and for the root.
    pub fn last_key(&self) -> Option<&str> {
        match self.0.last()? {
            Step::Key(key) => Some(key),
            Step::Index(_) => None,
        }
    }

    /// Whether this path leads to `other` or to something that contains it.
    pub fn holds(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    fn and(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl From<&serde_path_to_error::Path> for KeyPath {
    /// Keeps only steps that exist in a file, not the variants of enums.
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment;
        let steps = path.iter().map_while(|segment| match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        Self(steps.collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for step in &self.0 {
            match step {
                Step::Key(key) if is_bare(key) => write!(formatter, "{separator}{key}")?,
                Step::Key(key) => write!(formatter, "{separator}{key:?}")?,
                Step::Index(index) => write!(formatter, "[{index}]")?,
            }
            separator = ".";
        }
        Ok(())
    }
}

fn is_bare(key: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    !key.is_empty() && key.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_it_is_written_in_toml() {
        let path = KeyPath::of("providers").key("gpu.1").key("models").index(2);
        assert_eq!(path.to_string(), r#"providers."gpu.1".models[2]"#);
        assert_eq!(KeyPath::of("keys").index(0).key("name").to_string(), "keys[0].name");
    }

    #[test]
    fn a_path_holds_itself_and_what_is_below() {
        let keys = KeyPath::of("keys");
        assert!(keys.holds(&keys) && keys.holds(&keys.index(0).key("name")));
        assert!(!keys.index(0).holds(&keys) && !keys.holds(&KeyPath::of("keys2")));
        assert_eq!(keys.index(0).parent(), Some(keys));
    }
}
