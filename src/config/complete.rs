//! Fills in the values that follow from other parts of a configuration.
//!
//! Owns the built-in provider, the backend that a name implies, the keys in variables, the
//! certificates in files, the environment's proxies, and the built-in hints. Refuses a variable
//! that does not exist and a provider whose name implies no backend.

use super::Config;
use super::key_path::KeyPath;
use super::problem::{Origin, Problem};
use super::tree::Tree;
use crate::policy::DataPolicy;
use crate::provider::settings::{BackendName, ProxyUrl};
use crate::router::settings::{BUILT_IN_HINTS, Hints, LOCAL_HINTS};
use crate::secret::Secret;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// Adds the provider `ollama` if the file has none, so that variables have something to change.
pub fn add_built_in_provider(tree: &mut Tree) {
    let providers = KeyPath::of("providers");
    if tree.get(&providers).is_none() {
        let ollama = providers.key(BackendName::Ollama.as_str());
        tree.set(&ollama, Value::Table(Table::new()), &Origin::Default);
    }
}

/// Sets the backend of each provider that is named like one.
pub fn name_backends(tree: &mut Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let providers = KeyPath::of("providers");
    for name in named_providers(tree) {
        let path = providers.key(&name);
        let backend = path.key("backend");
        let is_table = tree.get(&path).is_some_and(Value::is_table);
        if !is_table || tree.get(&backend).is_some() {
            continue;
        }
        if BackendName::ALL.iter().any(|backend| backend.as_str() == name) {
            tree.set(&backend, Value::String(name), &tree.origin(&path));
        } else {
            let message = format!("missing: write {}", BackendName::all());
            problems.push(Problem::new(tree.origin(&path), &backend, message));
        }
    }
    problems
}

/// The names of all providers in the file, valid or not, which references may use.
pub fn named_providers(tree: &Tree) -> Vec<String> {
    let table = tree.get(&KeyPath::of("providers")).and_then(Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

/// Looks up the variables that hold keys.
pub fn fill_in_secrets(
    config: &mut Config,
    tree: &Tree,
    environment: &BTreeMap<String, String>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut look_up = |path: KeyPath, variable: &str| match environment.get(variable) {
        Some(value) if !value.trim().is_empty() => Some(Secret::new(value.trim())),
        Some(_) => {
            let message = format!("the environment variable `{variable}` is empty");
            problems.push(Problem::new(tree.origin(&path), &path, message));
            None
        }
        None => {
            let message = format!("the environment variable `{variable}` is not set");
            problems.push(Problem::new(tree.origin(&path), &path, message));
            None
        }
    };
    for (index, key) in config.keys.iter_mut().enumerate() {
        if let (Some(variable), None) = (&key.env, &key.key) {
            key.key = look_up(KeyPath::of("keys").index(index).key("env"), variable);
        }
    }
    for (name, provider) in &mut config.providers {
        if let (Some(variable), true) = (&provider.api_key_env, provider.api_key.is_empty()) {
            let path = KeyPath::of("providers").key(name).key("api_key_env");
            provider.api_key = look_up(path, variable).unwrap_or_default();
        }
        let path = KeyPath::of("providers").key(name).key("headers_env");
        for (header, variable) in &provider.headers_env {
            // If it is written in both places, the check reports a problem.
            if let Some(value) = look_up(path.key(header), variable) {
                provider.headers.entry(header.clone()).or_insert(value);
            }
        }
    }
    problems
}

/// Reads the certificates of the authorities that the providers' settings name.
pub fn read_authorities(config: &mut Config, tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, provider) in &mut config.providers {
        if let Err((key, message)) = provider.tls.read_authorities() {
            let path = KeyPath::of("providers").key(name).key("tls").key(key);
            problems.push(Problem::new(tree.origin(&path), &path, message));
        }
    }
    problems
}

/// Fills in the environment's proxies for providers without one.
pub fn fill_in_proxies(
    config: &mut Config,
    environment: &BTreeMap<String, String>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for provider in config.providers.values_mut().filter(|provider| provider.proxy.is_empty()) {
        let found = ProxyUrl::of_environment(provider.base_url(), environment);
        let Some((variable, proxy)) = found else { continue };
        problems.extend(proxy.problem().map(|message| Problem::environment(variable, message)));
        provider.proxy = proxy;
    }
    problems
}

/// Adds the built-in hints and defaults that are not in the file, without providers that do not
/// exist and, for the local-only hints, without those that are not local.
pub fn fill_in_hints(config: &mut Config, tree: &Tree) {
    let mut hints = Hints::new();
    for (hint, name) in BUILT_IN_HINTS {
        let provider = config.providers.get(name).filter(|provider| {
            !LOCAL_HINTS.contains(&hint) || DataPolicy::Local.allows(provider.trust())
        });
        let providers = provider.map(|_| name.to_owned()).into_iter().collect();
        hints.insert(hint.to_owned(), providers);
    }
    hints.append(&mut config.hints);
    config.hints = hints;
    if tree.get(&KeyPath::of("default").key("providers")).is_none() {
        config.default.providers.retain(|name| config.providers.contains_key(name));
    }
}
