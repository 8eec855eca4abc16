//! The whole configuration: composes the sections that the modules define, and reads them.
//!
//! Owns the choice of the file, the precedence (environment over file over defaults), and that all
//! problems are reported at once, each with the line or the variable to change. Refuses unknown
//! keys.
//!
//! What a reader would get wrong: a loaded [`Config`] is complete. Values that depend on others are
//! filled in: a provider's address from its backend, keys from the variables that hold them, hints
//! without the providers that are not configured.

mod check;
mod complete;
mod effective;
mod environment;
mod fit;
mod key_path;
mod listen;
mod problem;
mod reload;
mod source;
mod sources;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub use effective::{Change, Effective, Instead, Reason, Setting, changes};
pub use listen::{Bound, Operated, Start, listens, operated};
pub use problem::{Origin, Problem, Problems};
pub use reload::{Again, Before, Overridden, reload};
pub use source::{Environment, Fingerprint, fingerprint, read_environment};
pub use sources::Sources;

use crate::admin::settings::AdminSettings;
use crate::cache::settings::{CacheSettings, ResponsesSettings};
use crate::http::settings::{AuthSettings, KeySettings, ServerSettings};
use crate::provider::settings::{BackendName, ProviderSettings};
use crate::redis::settings::RedisSettings;
use crate::router::settings::{DefaultSettings, Hints, RouteSettings};
use crate::telemetry::otel::settings::OtelSettings;
use crate::telemetry::settings::LogSettings;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use source::Dotenv;
use std::fmt;
use std::path::{Path, PathBuf};

/// The whole configuration. [`Config::default`] is what runs without any file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The main listener.
    pub server: ServerSettings,
    /// The admin listener.
    pub admin: AdminSettings,
    /// Whether callers need a key.
    pub auth: AuthSettings,
    /// The callers. Default: none.
    pub keys: Vec<KeySettings>,
    /// The providers, in the order of the file, which routing follows; never empty. Default:
    /// `ollama`.
    ///
    /// Note that `==` on this map ignores the order.
    pub providers: IndexMap<String, ProviderSettings>,
    /// Routes, in the order of the file; the first match wins. Default: none.
    pub routes: Vec<RouteSettings>,
    /// The providers that each hint stands for; a hint may stand for none.
    #[serde(default)]
    pub hints: Hints,
    /// Where a request goes if nothing else matches.
    pub default: DefaultSettings,
    /// Whether answers are reused.
    pub cache: CacheSettings,
    /// Which stored responses callers may continue.
    pub responses: ResponsesSettings,
    /// The Redis that replicas share.
    pub redis: RedisSettings,
    /// How events are logged.
    pub log: LogSettings,
    /// Where spans and metrics are exported. Default: nowhere.
    pub otel: OtelSettings,
}

/// A loaded configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration itself.
    pub config: Config,
    /// Its sources.
    pub read: Read,
    /// Where its values are from.
    pub sources: Sources,
    /// Settings that work but should be changed.
    pub warnings: Vec<Problem>,
    /// Changes in the file without effect, because a variable overrides them; only after a reload.
    pub overridden: Vec<Overridden>,
}

/// The sources of a configuration, with which the next load is compared.
#[derive(Clone, Default)]
pub struct Read {
    /// The file; `None` if there is none and defaults apply.
    pub file: Option<PathBuf>,
    /// The fingerprint of its content.
    pub fingerprint: Fingerprint,
    /// Whether it can be read again; a pipe cannot.
    pub is_kept: bool,
    /// The file's text.
    text: String,
    /// The values of the file alone, without those of the environment.
    values: toml::Table,
    dotenv: Dotenv,
}

/// Reads the configuration: the explicitly named file, else the one that `LLM_GATEWAY_CONFIG`
/// names, else `config/gateway.toml` if it exists, else none. The environment, as
/// [`read_environment`] returns it, overrides it.
///
/// # Errors
/// All problems of the file and the environment together. Only a file that cannot be read or is not
/// TOML hides further problems with its values.
pub fn load(explicit: Option<&Path>, environment: &Environment) -> Result<Loaded, Problems> {
    let file = source::read_file(source::choose_file(explicit, &environment.variables));
    compose(file, environment, None).map(|composed| composed.loaded).map_err(sorted)
}

/// A configuration and the values from which it was composed.
struct Composed {
    loaded: Loaded,
    tree: tree::Tree,
}

/// Composes a configuration from the file and the environment; for a running gateway, if there is
/// one.
fn compose(
    file: source::FileRead,
    environment: &Environment,
    running: Option<&check::Running>,
) -> Result<Composed, Vec<Problem>> {
    let source::FileRead { path, fingerprint, is_kept, text, mut tree, mut problems } = file;
    if path.is_some() && text.is_none() {
        return Err(problems);
    }
    let written = tree.clone();
    complete::add_built_in_provider(&mut tree);
    let mut overlay = environment::Overlay::apply(&environment.variables, &mut tree);
    problems.append(&mut overlay.problems);
    if problems.iter().any(|problem| problem.key == "syntax") {
        return Err(problems);
    }
    problems.extend(complete::name_backends(&mut tree));
    let named_providers = complete::named_providers(&tree);
    let fit::Fit { mut config, flawed, problems: misfits } = fit::fit(&mut tree, &overlay);
    problems.extend(misfits);
    problems.extend(complete::fill_in_secrets(&mut config, &tree, &environment.variables));
    problems.extend(complete::fill_in_proxies(&mut config, &environment.variables));
    problems.extend(complete::read_authorities(&mut config, &tree));
    complete::fill_in_hints(&mut config, &tree);
    let checked = check::Review::of(&config, &tree, flawed, named_providers, running);
    problems.extend(checked.problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut warnings = overlay.warnings;
    warnings.extend(checked.warnings);
    warnings.sort();
    let providers = config.providers.into_iter();
    config.providers = providers.map(|(name, settings)| (name, settings.resolved())).collect();
    let text = text.unwrap_or_default();
    let dotenv = environment.dotenv.clone();
    let sources = Sources::of(&config, &written, &tree, &environment.variables);
    let values = written.table;
    let read = Read { file: path, fingerprint, is_kept, text, values, dotenv };
    let loaded = Loaded { config, read, sources, warnings, overridden: Vec::new() };
    Ok(Composed { loaded, tree })
}

impl fmt::Debug for Read {
    /// Without the text and the values, which may be secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Read").field("file", &self.file).finish_non_exhaustive()
    }
}

impl fmt::Display for Read {
    /// `configuration from FILE and .env (3 variables)`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(formatter, "configuration from {}", file.display())?,
            None => formatter.write_str("no configuration file, built-in defaults")?,
        }
        match (&self.dotenv.text, self.dotenv.variables) {
            (None, _) => Ok(()),
            (Some(_), 1) => formatter.write_str(" and .env (1 variable)"),
            (Some(_), count) => write!(formatter, " and .env ({count} variables)"),
        }
    }
}

/// The configuration as TOML with secrets masked, without their sources.
pub fn effective(config: &Config) -> String {
    // A test checks that every field has a form in TOML; an error is shown, not hidden.
    toml::to_string(config).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
}

impl Default for Config {
    fn default() -> Self {
        let ollama = BackendName::Ollama.as_str().to_owned();
        let mut config = Self {
            server: ServerSettings::default(),
            admin: AdminSettings::default(),
            auth: AuthSettings::default(),
            keys: Vec::new(),
            providers: IndexMap::from([(ollama, ProviderSettings::default().resolved())]),
            routes: Vec::new(),
            hints: Hints::new(),
            default: DefaultSettings::default(),
            cache: CacheSettings::default(),
            responses: ResponsesSettings::default(),
            redis: RedisSettings::default(),
            log: LogSettings::default(),
            otel: OtelSettings::default(),
        };
        complete::fill_in_hints(&mut config, &tree::Tree::default());
        config
    }
}

fn sorted(mut problems: Vec<Problem>) -> Problems {
    problems.sort();
    problems.dedup();
    Problems(problems)
}
