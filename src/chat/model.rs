//! Models, as providers list them and as callers may ask for them.

use std::sync::Arc;

use serde_json::{Map, Value};

/// A model as its provider lists it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    /// Its name there.
    pub name: String,
    /// When it was made or changed, in seconds since 1970.
    pub created: Option<u64>,
    /// Whose it is.
    pub owner: Option<String>,
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
    name.strip_suffix(":latest").unwrap_or(name)
}
