//! Models, as providers list them and as callers may ask for them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Facts;

/// The tag that is understood.
const LATEST: &str = ":latest";

/// A model as its provider lists it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    /// Its name there.
    pub name: String,
    /// When it was made or changed, in seconds since 1970.
    pub created: Option<u64>,
    /// Whose it is.
    pub owner: Option<String>,
    /// What the list says of it.
    pub facts: Facts,
    /// The provider's whole entry, where clients of the same API read it: Ollama's.
    pub entry: Option<Map<String, Value>>,
}

/// What a provider may be asked to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// What can be asked for.
    Installed,
    /// What is in memory now.
    Loaded,
}

/// A model that a caller may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The name to ask for.
    pub name: String,
    /// The provider that would answer, as things are.
    pub provider: Arc<str>,
    /// What that provider says about the model, where it was heard.
    pub model: Option<Model>,
    /// What is known of the model, by the operator and by the provider.
    pub facts: Facts,
}

/// How a kind of provider reads the names of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// A name is what it says.
    Plain,
    /// A name without a tag means the one tagged `latest`: Ollama.
    Tagged,
}

impl Naming {
    /// Whether `fits` takes the name in any of the ways in which it can be said.
    #[must_use]
    pub fn any(self, name: &str, fits: impl Fn(&str) -> bool) -> bool {
        if fits(name) {
            return true;
        }
        match self {
            Self::Plain => false,
            Self::Tagged => match name.strip_suffix(LATEST) {
                Some(bare) => fits(bare),
                // A colon before a slash is a registry's port.
                None if has_tag(name) => false,
                None => fits(&format!("{name}{LATEST}")),
            },
        }
    }
}

impl Model {
    /// Whether `name` means this model: Ollama's names end in `:latest` where they have no tag.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        untagged(&self.name) == untagged(name)
    }
}

/// A name without the tag that is understood.
#[must_use]
pub fn untagged(name: &str) -> &str {
    name.strip_suffix(LATEST).unwrap_or(name)
}

fn has_tag(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tag_means_the_latest_where_names_have_tags() {
        let same = |naming: Naming, one: &str, other: &str| naming.any(one, |name| name == other);
        for (one, other) in [("m", "m:latest"), ("h:5000/o/m", "h:5000/o/m:latest")] {
            assert!(same(Naming::Tagged, one, other) && same(Naming::Tagged, other, one));
            assert!(!same(Naming::Plain, one, other) && !same(Naming::Plain, other, one));
            assert!(same(Naming::Plain, one, one));
        }
        for (one, other) in [("m", "m:7b"), ("m:7b", "m"), ("m:7b", "m:latest"), ("m", "mm")] {
            assert!(!same(Naming::Tagged, one, other), "{one} {other}");
        }
    }
}
