//! The environment variables that change a configuration.
//!
//! Owns the short names, which come from the original service, and the long form for every key,
//! `LLM_GATEWAY__SECTION__KEY=value`. Refuses invalid values of short names, with the name of the
//! variable; `fit.rs` decides whether the value of a long name fits its key.
//!
//! What a reader would get wrong: if both set the same key the long name wins, and a variable that
//! begins with `LLM_GATEWAY_` and a single underscore is not one of ours (Kubernetes makes such
//! names).

mod mistaken;

use super::key_path::PREFIX;
use super::key_path::{KeyPath, Step};
use super::problem::{Origin, Problem};
use super::tree::Tree;
use crate::http::cors::OriginPattern;
use crate::provider::settings::BackendName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use toml::{Table, Value};

/// The variable that names the configuration file.
pub const FILE_VARIABLE: &str = "LLM_GATEWAY_CONFIG";

/// The variable that adds keys to those of the file.
pub const KEYS_VARIABLE: &str = "API_KEYS";

/// The variable that holds the admin token for commands that ask a running gateway.
pub const TOKEN_VARIABLE: &str = "ADMIN_TOKEN";

/// The variables that set the address to which clients connect.
pub const ADDRESS_VARIABLES: [&str; 2] = ["PORT", "LLM_GATEWAY__SERVER__LISTEN"];

/// The short names, and the function of each.
pub const SHORT_NAMES: [(&str, ShortName); 14] = [
    ("PORT", set_port),
    (KEYS_VARIABLE, add_keys),
    ("OLLAMA_BASE_URL", set_ollama_base_url),
    ("OLLAMA_ORIGINS", add_origins),
    // It comes before the variables that change every provider.
    ("GEMINI_API_KEY", set_gemini_api_key),
    ("PROVIDER_TIMEOUT_SECONDS", set_total_timeouts),
    ("PROVIDER_MAX_RETRIES", set_max_retries),
    ("REDIS_URL", set_redis_url),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", |_, tree, variable| set_otel(tree, variable, "endpoint")),
    ("OTEL_EXPORTER_OTLP_HEADERS", |_, tree, variable| set_otel(tree, variable, "headers")),
    ("OTEL_SERVICE_NAME", |_, tree, variable| set_otel(tree, variable, "service_name")),
    ("CACHE_TTL_SECONDS", set_cache_ttl),
    ("RATE_LIMITER_CAPACITY", set_rate_capacity),
    ("RATE_LIMITER_REFILL_RATE", set_rate_refill),
];

/// Changes the tree according to a variable, or says what would be right.
type ShortName = fn(&mut Overlay, &mut Tree, Variable<'_>) -> Result<(), String>;

/// The findings from applying the environment to a tree.
#[derive(Debug, Default)]
pub struct Overlay {
    /// Invalid variables.
    pub problems: Vec<Problem>,
    /// Variables without effect.
    pub warnings: Vec<Problem>,
    /// The text of each value that was not read as a string.
    pub texts: BTreeMap<KeyPath, String>,
}

/// An environment variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable<'a> {
    name: &'a str,
    value: &'a str,
}

impl Overlay {
    /// Applies every variable that concerns the configuration to the tree.
    pub fn apply(environment: &BTreeMap<String, String>, tree: &mut Tree) -> Self {
        let mut overlay = Self::default();
        for (name, value) in environment {
            if let Some(keys) = name.strip_prefix(PREFIX) {
                overlay.set_long_name(tree, Variable { name, value }, keys);
            }
        }
        for (name, act) in SHORT_NAMES {
            // Compose files pass `NAME=` for variables that are not set.
            let value = environment.get(name).map(|value| value.trim());
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            if let Err(message) = act(&mut overlay, tree, Variable { name, value }) {
                overlay.problems.push(Problem::environment(name, message));
            }
        }
        let meant = environment.keys().filter_map(|name| mistaken::meant(name, environment, tree));
        overlay.warnings.extend(meant);
        overlay
    }

    fn set_long_name(&mut self, tree: &mut Tree, variable: Variable<'_>, keys: &str) {
        let mut path = KeyPath::default();
        for key in keys.split("__") {
            if key.is_empty() {
                let message = format!("write a section and a key, as in {PREFIX}SERVER__DRAIN");
                self.problems.push(Problem::environment(variable.name, message));
                return;
            }
            match tree.get(&path) {
                Some(Value::Table(_)) | None => path = path.key(&spelling(tree, &path, key)),
                Some(_) => {
                    let message = format!("`{path}` is not a table: set it as a whole");
                    self.problems.push(Problem::environment(variable.name, message));
                    return;
                }
            }
        }
        match variable.value.parse::<Value>() {
            Ok(value @ Value::String(_)) => tree.set(&path, value, &variable.origin()),
            Ok(value) => {
                tree.set(&path, value, &variable.origin());
                self.texts.insert(path, variable.value.to_owned());
            }
            Err(_) => {
                tree.set(&path, Value::String(variable.value.to_owned()), &variable.origin());
            }
        }
    }

    /// Sets a key in every provider.
    fn set_in_providers(tree: &mut Tree, keys: [&str; 2], value: &Value, variable: Variable<'_>) {
        let providers = KeyPath::of("providers");
        for name in names(tree, &providers) {
            let path = keys.iter().fold(providers.key(&name), |path, key| path.key(key));
            variable.set(tree, &path, value.clone());
        }
    }
}

impl Variable<'_> {
    fn origin(&self) -> Origin {
        Origin::Environment { name: self.name.to_owned() }
    }

    /// Sets a key unless a long name has set it already.
    fn set(&self, tree: &mut Tree, path: &KeyPath, value: Value) {
        let is_written = tree.get(path).is_some();
        if !(is_written && matches!(tree.origin(path), Origin::Environment { .. })) {
            tree.set(path, value, &self.origin());
        }
    }
}

fn set_port(_: &mut Overlay, tree: &mut Tree, variable: Variable<'_>) -> Result<(), String> {
    let port: u16 = variable
        .value
        .parse()
        .or(Err("write a port from 0 to 65535, as in PORT=8000".to_owned()))?;
    let path = KeyPath::of("server").key("listen");
    let listen = match tree.get(&path) {
        Some(written) => written.as_str().and_then(|text| text.parse::<SocketAddr>().ok()),
        None => Some(crate::http::settings::ServerSettings::default().listen),
    };
    // An invalid address is reported elsewhere; it has no port to set.
    if let Some(mut listen) = listen {
        listen.set_port(port);
        variable.set(tree, &path, Value::String(listen.to_string()));
    }
    Ok(())
}

/// Appends the keys of a comma-separated list to those of the file, as `env-1`, `env-2`, …
fn add_keys(_: &mut Overlay, tree: &mut Tree, variable: Variable<'_>) -> Result<(), String> {
    let keys = variable.value.split(',').map(str::trim).filter(|key| !key.is_empty());
    for (index, key) in keys.enumerate() {
        let mut entry = Table::new();
        entry.insert("name".to_owned(), Value::String(format!("env-{}", index + 1)));
        entry.insert("key".to_owned(), Value::String(key.to_owned()));
        tree.push(&KeyPath::of("keys"), Value::Table(entry), &variable.origin());
    }
    Ok(())
}

/// Appends the origins of a comma-separated list to those of the file, or to the default ones, as
/// Ollama does.
fn add_origins(_: &mut Overlay, tree: &mut Tree, variable: Variable<'_>) -> Result<(), String> {
    let path = KeyPath::of("server").key("cors").key("origins");
    let origins = variable.value.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    let patterns = origins.map(str::parse).collect::<Result<Vec<OriginPattern>, String>>()?;
    if tree.get(&path).is_none() {
        let default = OriginPattern::default_origins().to_string();
        variable.set(tree, &path, Value::Array(vec![Value::String(default)]));
    } else if matches!(tree.origin(&path), Origin::Environment { .. }) {
        return Ok(());
    }
    for pattern in patterns {
        tree.push(&path, Value::String(pattern.to_string()), &variable.origin());
    }
    Ok(())
}

fn set_ollama_base_url(
    overlay: &mut Overlay,
    tree: &mut Tree,
    variable: Variable<'_>,
) -> Result<(), String> {
    let ollama = KeyPath::of("providers").key(BackendName::Ollama.as_str());
    if tree.get(&ollama).is_some() {
        variable.set(tree, &ollama.key("base_url"), Value::String(variable.value.to_owned()));
    } else {
        let message = "has no effect: no provider is named `ollama`";
        overlay.warnings.push(Problem::environment(variable.name, message));
    }
    Ok(())
}

/// Gives the provider `gemini` its key, and adds the provider if the file has none. A key in the
/// file, or the name of the variable that holds one, stays.
fn set_gemini_api_key(
    _: &mut Overlay,
    tree: &mut Tree,
    variable: Variable<'_>,
) -> Result<(), String> {
    let gemini = KeyPath::of("providers").key(BackendName::Gemini.as_str());
    let is_written = |key: &str| {
        let text = tree.get(&gemini.key(key)).and_then(Value::as_str);
        text.is_some_and(|text| !text.is_empty())
    };
    if !is_written("api_key") && !is_written("api_key_env") {
        variable.set(tree, &gemini.key("api_key"), Value::String(variable.value.to_owned()));
    }
    Ok(())
}

fn set_total_timeouts(
    _: &mut Overlay,
    tree: &mut Tree,
    variable: Variable<'_>,
) -> Result<(), String> {
    let seconds = variable.value.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    let total = seconds
        .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
        .filter(|total| !total.is_zero() && *total <= crate::units::LONGEST)
        .ok_or("write a number of seconds above 0, as in 60")?;
    let value = Value::String(crate::units::format_duration(total));
    Overlay::set_in_providers(tree, ["timeouts", "total"], &value, variable);
    Ok(())
}

fn set_max_retries(_: &mut Overlay, tree: &mut Tree, variable: Variable<'_>) -> Result<(), String> {
    let retries = variable.value.parse::<u32>().ok().filter(|retries| *retries <= 10);
    let value = Value::Integer(retries.ok_or("write a whole number from 0 to 10")?.into());
    Overlay::set_in_providers(tree, ["retry", "max_retries"], &value, variable);
    Ok(())
}

fn set_cache_ttl(_: &mut Overlay, tree: &mut Tree, variable: Variable<'_>) -> Result<(), String> {
    let seconds = variable.value.parse::<f64>().ok();
    let ttl = seconds
        .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
        .filter(|ttl| *ttl <= crate::units::LONGEST)
        .ok_or("write a number of seconds, 0 or more")?;
    let value = Value::String(crate::units::format_duration(ttl));
    variable.set(tree, &KeyPath::of("cache").key("ttl"), value);
    Ok(())
}

/// The path of the rate for every key without its own.
fn rate() -> KeyPath {
    KeyPath::of("auth").key("rate")
}

fn set_rate_capacity(
    _: &mut Overlay,
    tree: &mut Tree,
    variable: Variable<'_>,
) -> Result<(), String> {
    // The original service also accepted `60.0`.
    let text = variable.value.strip_suffix(".0").unwrap_or(variable.value);
    let capacity = text.parse::<u32>().ok().filter(|capacity| *capacity > 0);
    let value = Value::Integer(capacity.ok_or("write a whole number above 0, as in 60")?.into());
    variable.set(tree, &rate().key("capacity"), value);
    Ok(())
}

fn set_rate_refill(_: &mut Overlay, tree: &mut Tree, variable: Variable<'_>) -> Result<(), String> {
    let refill = variable.value.parse::<f64>().ok();
    let refill = refill.filter(|refill| refill.is_finite() && *refill > 0.0);
    let value = Value::Float(refill.ok_or("write a number above 0, as in 1.5")?);
    variable.set(tree, &rate().key("refill_per_second"), value);
    Ok(())
}

fn set_redis_url(_: &mut Overlay, tree: &mut Tree, variable: Variable<'_>) -> Result<(), String> {
    let url = KeyPath::of("redis").key("url");
    variable.set(tree, &url, Value::String(variable.value.to_owned()));
    Ok(())
}

/// Sets a key from one of OpenTelemetry's own variables, which every instrumented program reads.
fn set_otel(tree: &mut Tree, variable: Variable<'_>, key: &str) -> Result<(), String> {
    let path = KeyPath::of("otel").key(key);
    variable.set(tree, &path, Value::String(variable.value.to_owned()));
    Ok(())
}

/// The key as the tree spells it. Names of variables are in capitals and cannot contain a `-`.
fn spelling(tree: &Tree, path: &KeyPath, key: &str) -> String {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let known = names(tree, path).into_iter().find(|known| plain(known) == plain(key));
    known.unwrap_or_else(|| key.to_lowercase())
}

/// The keys of the table at the path.
fn names(tree: &Tree, path: &KeyPath) -> Vec<String> {
    let table = match path.steps() {
        [] => Some(&tree.table),
        [Step::Key(_) | Step::Index(_), ..] => tree.get(path).and_then(Value::as_table),
    };
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

/// Whether this module reads the variable of this name.
pub fn concerns_us(name: &str) -> bool {
    name == FILE_VARIABLE
        || name.starts_with(PREFIX)
        || SHORT_NAMES.iter().any(|(short, _)| *short == name)
}
