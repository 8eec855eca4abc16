//! Models, as providers list them and as callers may ask for them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Facts;

/// The default tag.
const LATEST: &str = ":latest";

/// A model as its provider lists it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    /// Its name at the provider.
    pub name: String,
    /// When it was created or changed, in seconds since 1970.
    pub created: Option<u64>,
    /// Its owner.
    pub owner: Option<String>,
    /// What the list says about it.
    pub facts: Facts,
    /// The provider's whole entry, for clients of the same API: Ollama's.
    pub entry: Option<Map<String, Value>>,
    /// What else it may be asked for by, where the list says so.
    pub aliases: Vec<String>,
    /// Whether it is in memory, where the list says so.
    pub memory: Option<Memory>,
}

/// Whether a server has a model in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// It answers at once.
    Loaded,
    /// It is being loaded.
    Loading,
    /// It is not loaded, and its last load did not fail.
    Unloaded,
    /// It is not loaded, because its last load failed.
    Failed,
    /// Another server has it: nothing is loaded for it here.
    Elsewhere,
}

impl Model {
    /// The digest of its content, if its provider lists it.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        let digest = self.entry.as_ref()?.get("digest")?.as_str()?;
        (!digest.is_empty()).then_some(digest)
    }
}

/// Which models a provider is asked to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The models that can be requested.
    Installed,
    /// The models in memory now.
    Loaded,
}

/// How a model is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoadBy {
    /// By a prompt without text.
    #[default]
    Prompt,
    /// By an embedding of nothing: models that only make embeddings refuse prompts.
    Embedding,
}

/// A model that a caller may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The name to ask for.
    pub name: String,
    /// The provider that would answer at the moment.
    pub provider: Arc<str>,
    /// What that provider's list says about the model, if it was read.
    pub model: Option<Model>,
    /// What the operator and the provider say about the model.
    pub facts: Facts,
}

/// How a kind of provider interprets the names of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Literally.
    Plain,
    /// A name without a tag means the tag `latest`: Ollama.
    Tagged,
}

impl Naming {
    /// Whether `fits` accepts the name in any of its spellings.
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
    /// Whether `name` means this model: in Ollama's names, `:latest` is the default tag.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let is_it = |own: &str| untagged(own) == untagged(name);
        is_it(&self.name) || self.aliases.iter().any(|alias| is_it(alias))
    }
}

/// A name without the default tag.
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
    fn a_missing_tag_means_latest_if_names_have_tags() {
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
