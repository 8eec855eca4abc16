//! Shows how a configuration routes names, for `llm-gateway check`.
//!
//! Owns which names to show and how the command line describes a request. The routing rules make
//! the decisions and record their steps. It asks no provider, so that among equals the file's order
//! replaces the shortest wait.

use std::time::Duration;

use super::providers::routes;
use crate::chat::CleanPath;
use crate::config::Config;
use crate::dialect::DIALECTS;
use crate::http::auth::{anonymous, caller};
use crate::job::Caller;
use crate::policy::DataPolicy;
use crate::router::route::explanation::Explanation;
use crate::router::route::{Asked, Plan, Routes, Wants};

/// A request to be explained.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The model that it requests.
    pub model: Option<String>,
    /// Its `model_hint`.
    pub hint: Option<String>,
    /// The name of its key; `None` for a caller without one.
    pub key: Option<String>,
    /// Whether it has the header `x-gateway-data-policy: local`.
    pub local: bool,
    /// Its path, which decides whether it is carried or translated.
    pub path: Option<String>,
}

/// The explanation of a request.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The steps, one per line.
    pub text: String,
    /// Whether a provider would answer it.
    pub has_answer: bool,
}

/// The text that replaces a pattern's `*`.
const ANYTHING: &str = "...";

/// Writes how every name in the configuration is routed, as comments in TOML.
#[must_use]
pub fn table(config: &Config) -> String {
    let (routes, anyone) = (routes(config), anonymous());
    let mut table = String::from(
        "# Who answers to which name (`...` is any text), for a caller that may use everything:\n#\n",
    );
    let mut line = |name: &str, model: Option<&str>, hint: Option<&str>| {
        let asked = Asked { model, hint, policy: None, caller: &anyone, wants: Wants::Model };
        let (_, explanation) = decide(&routes, asked);
        let policy = explanation.policy.as_ref();
        let policy = policy.map_or_else(String::new, |(policy, _)| format!(" ({policy} only)"));
        table.push_str(&format!("# {name} -> {}{policy}\n", explanation.summary()));
    };
    line("no model", None, None);
    for pattern in routes.patterns() {
        // A name that matches the pattern, so that a route behind an earlier one is shown as
        // unreachable.
        let name = pattern.replace('*', ANYTHING).replace('?', ".");
        line(&format!("`{name}`"), Some(&name), None);
    }
    for hint in routes.hints() {
        line(&format!("hint `{hint}`"), None, Some(hint));
    }
    for provider in routes.providers() {
        let name = format!("{}/{ANYTHING}", provider.name);
        line(&format!("`{name}`"), Some(&name), None);
    }
    let models = config.providers.values().flat_map(|provider| provider.models.globs());
    let is_new = |model: &&String| !routes.patterns().any(|pattern| pattern == model.as_str());
    let mut patterns: Vec<&String> = models.filter(is_new).collect();
    patterns.sort();
    patterns.dedup();
    for pattern in patterns {
        let name = pattern.replace('*', ANYTHING).replace('?', ".");
        line(&format!("`{name}`"), Some(&name), None);
    }
    table
}

/// Explains one request.
///
/// # Errors
///
/// If no key has that name, or the path belongs to no API.
pub fn explain(config: &Config, question: &Question) -> Result<Explained, String> {
    if question.key.is_none() && !config.keys.is_empty() {
        return Ok(without_key(config, question));
    }
    let caller = caller_of(config, question.key.as_deref())?;
    let policy = question.local.then_some(DataPolicy::Local);
    let (model, hint) = (question.model.as_deref(), question.hint.as_deref());
    let routes = routes(config);
    let listed = question.path.as_deref().and_then(CleanPath::read);
    let listed = listed.filter(|path| routes.list(path));
    let wants = listed.as_ref().map_or(Wants::Model, Wants::Path);
    let asked = Asked { model, hint, policy, caller: &caller, wants };
    let (plan, mut explanation) = decide(&routes, asked);
    match (&question.path, listed) {
        (Some(_), Some(_)) => {
            let providers = routes.providers();
            providers.for_each(|it| explanation.goes(&it.name, "passed on: it lists the path"));
        }
        (Some(path), None) => tell_ways(config, path, &mut explanation)?,
        (None, _) => {}
    }
    let mut text = format!("model: {}\n", model.unwrap_or("none"));
    text.push_str(&format!("hint: {}\nkey: {}\n", hint.unwrap_or("none"), caller.name));
    for step in explanation.steps(plan.as_ref().err()) {
        text.push_str(&step);
        text.push('\n');
    }
    Ok(Explained { text, has_answer: plan.is_ok() })
}

/// The explanation of a request without a key where keys are needed.
fn without_key(config: &Config, question: &Question) -> Explained {
    let [model, hint] = [&question.model, &question.hint].map(|it| it.as_deref().unwrap_or("none"));
    let names: Vec<&str> = config.keys.iter().map(|key| key.name.as_str()).collect();
    let text = format!(
        "model: {model}\nhint: {hint}\nkey: none\n\
         result: 401 invalid_api_key: a key is needed here; to explain a request with one add --key {}\n",
        names.join(" or --key ")
    );
    Explained { text, has_answer: false }
}

/// Adds for each candidate whether a request at `path` is carried or translated. Other parts of a
/// request may still cause a translation.
fn tell_ways(config: &Config, path: &str, explanation: &mut Explanation) -> Result<(), String> {
    let dialect = DIALECTS.iter().find(|dialect| dialect.paths().contains(&path));
    let dialect = dialect.ok_or_else(|| format!("nothing is asked at `{path}`"))?;
    for (name, settings) in &config.providers {
        let way = match dialect.endpoint() {
            None => "translated: it is the gateway's own API",
            Some(endpoint) if settings.speaks(endpoint) => "carried: its `apis` name this one",
            Some(_) => "translated: its `apis` do not name this one",
        };
        explanation.goes(name, way);
    }
    Ok(())
}

/// The routing decision, with the first of equals in the file's order.
fn decide(
    routes: &Routes,
    asked: Asked<'_>,
) -> (Result<Plan, crate::chat::GatewayError>, Explanation) {
    routes.explain(asked, &mut |_| 0, &|_: &str, _: Option<&str>| Some(Duration::ZERO))
}

fn caller_of(config: &Config, name: Option<&str>) -> Result<Caller, String> {
    let Some(name) = name else { return Ok(anonymous()) };
    match config.keys.iter().find(|key| key.name == name) {
        Some(key) => Ok(caller(key)),
        None => {
            let known: Vec<&str> = config.keys.iter().map(|key| key.name.as_str()).collect();
            Err(format!("no key is named `{name}`; known are {}", known.join(", ")))
        }
    }
}
