//! Where each value of a configuration is from.
//!
//! Owns the answer to "who says so?": the file, with its line; a variable, with what the file says
//! instead; else nobody, and the default applies. Refuses to hold secrets: a file's value that is
//! masked in force is masked here too.
//!
//! What a reader would get wrong: a value may come from a variable that the file names, as
//! `api_key_env` does. Then the variable is the source.

use super::Config;
use super::key_path::KeyPath;
use super::problem::Origin;
use super::tree::Tree;
use super::values::{leaves, table};
use crate::provider::settings::ProxyUrl;
use crate::secret::MASK;
use std::collections::BTreeMap;
use std::fmt;
use toml::Value;

/// The sources of all values that are no defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources(BTreeMap<KeyPath, Source>);

/// The source of one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Where it was written.
    pub origin: Origin,
    /// What the file says, where a variable overrides it, and where.
    pub overridden: Option<(Origin, Value)>,
}

/// Keys that are filled in from a variable, and the key beside each that names the variable.
const NAMED: [(&str, &str); 2] = [("api_key", "api_key_env"), ("key", "env")];

impl Sources {
    /// The sources of a configuration: `file` has the values of the file alone, `tree` those of all.
    pub fn of(
        config: &Config,
        file: &Tree,
        tree: &Tree,
        variables: &BTreeMap<String, String>,
    ) -> Self {
        let mut sources = BTreeMap::new();
        for (path, value) in leaves(&table(config)) {
            let Some(origin) = origin(config, &path, tree, variables) else { continue };
            let is_file = matches!(origin, Origin::File { .. });
            let written = file.get(&path).filter(|_| !is_file).map(|written| {
                let is_secret = value.as_str() == Some(MASK);
                let written = if is_secret { Value::from(MASK) } else { written.clone() };
                (file.origin(&path), written)
            });
            sources.insert(path, Source { origin, overridden: written });
        }
        Self(sources)
    }

    /// The source of a value; `None` for a default.
    pub fn get(&self, path: &KeyPath) -> Option<&Source> {
        self.0.get(path)
    }
}

/// Where a value was written; `None` if it is a default.
fn origin(
    config: &Config,
    path: &KeyPath,
    tree: &Tree,
    variables: &BTreeMap<String, String>,
) -> Option<Origin> {
    if tree.get(path).is_some() {
        return Some(tree.origin(path)).filter(|origin| *origin != Origin::Default);
    }
    let (parent, last) = (path.parent()?, path.last_key()?);
    let named = NAMED.iter().find(|(key, _)| *key == last);
    let variable = match (named, parent.last_key()) {
        (Some((_, by)), _) => tree.get(&parent.key(by))?.as_str()?.to_owned(),
        (None, Some("headers")) => {
            let names = parent.parent()?.key("headers_env");
            tree.get(&names.key(last))?.as_str()?.to_owned()
        }
        (None, Some(name)) if last == "proxy" => {
            let url = config.providers.get(name)?.base_url();
            ProxyUrl::of_environment(url, variables)?.0.to_owned()
        }
        (None, _) => return None,
    };
    Some(Origin::Environment { name: variable })
}

impl Source {
    /// The word for where it was written.
    pub fn word(&self) -> &'static str {
        match self.origin {
            Origin::File { .. } => "file",
            Origin::Environment { .. } => "environment",
            Origin::Default => "default",
        }
    }
}

impl fmt::Display for Source {
    /// `gateway.toml:7`, or `NAME; gateway.toml:7 says 8`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", Place(&self.origin))?;
        match &self.overridden {
            Some((origin, value)) => write!(formatter, "; {} says {value}", Place(origin)),
            None => Ok(()),
        }
    }
}

/// An origin as one word.
pub(super) struct Place<'a>(pub(super) &'a Origin);

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Origin::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Origin::Environment { name } => formatter.write_str(name),
            Origin::Default => formatter.write_str("the default"),
        }
    }
}
