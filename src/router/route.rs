//! Maps the name a client asked for to the candidates that may answer, in order.
//!
//! It owns the routing rules: data policy, hints, `provider/model`, routes, patterns, the default.
//! It refuses with the reason when nothing qualifies. Pure: weights and expected waits come as
//! arguments.
//!
//! The one thing to know: [`Routes::explain`] is [`Routes::plan`] with a witness. There is one set
//! of rules, in `choice.rs`, and an explanation is recorded while they run.

mod choice;
pub mod explanation;
mod order;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use wildmatch::WildMatch;

use super::settings::{DefaultSettings, Hints, LOCAL_HINTS, RouteSettings, TargetSettings};
use crate::admission::remembered::affinity::Affinity;
use crate::chat::{CleanPath, EdgeReason, ErrorKind, GatewayError, Naming, Origin, PathPattern};
use crate::job::{Caller, Candidate};
use crate::policy::{DataPolicy, OnCut, Trust};
use choice::Choice;
use explanation::{Explanation, PolicySource};

/// The routing rules, compiled.
#[derive(Debug)]
pub struct Routes {
    providers: Vec<RoutedProvider>,
    /// For each provider, its patterns and how specific each is.
    patterns: Vec<Vec<(usize, WildMatch)>>,
    routes: Vec<Route>,
    hints: BTreeMap<String, Vec<String>>,
    default: Vec<String>,
}

/// The facts about a provider that routing needs.
#[derive(Debug, Clone)]
pub struct RoutedProvider {
    /// Its configured name.
    pub name: Arc<str>,
    /// Whether it may see a local-only prompt.
    pub trust: Trust,
    /// The model for requests that name none.
    pub default_model: Arc<str>,
    /// Patterns of the models it serves.
    pub models: Vec<String>,
    /// How it reads their names.
    pub naming: Naming,
    /// The paths that are passed on to it.
    pub passthrough: Vec<PathPattern>,
    /// Whether it installs models when it is asked to.
    pub installs_models: bool,
}

/// What a request wants of a provider beside the right to be asked.
#[derive(Debug, Clone, Copy)]
pub enum Wants<'a> {
    /// A model.
    Model,
    /// That it lists this path. A request that names no model has none there.
    Path(&'a CleanPath),
    /// That it installs or removes models.
    Management {
        /// The one that is to do it; `None`: whichever has the model or would serve it.
        provider: Option<&'a str>,
        /// All models that are named.
        models: &'a [String],
    },
}

#[derive(Debug)]
struct Route {
    model: WildMatch,
    /// How a requested name is compared: as all of its targets compare names.
    naming: Naming,
    /// The pattern as it was written.
    pattern: Arc<str>,
    /// The name, when the pattern is one.
    alias: Option<String>,
    targets: Vec<TargetSettings>,
    fallback: Vec<TargetSettings>,
    on_cut: OnCut,
}

/// A request's wishes about where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The name asked for.
    pub model: Option<&'a str>,
    /// The hint.
    pub hint: Option<&'a str>,
    /// The request's own policy; the key's and the hint's are added.
    pub policy: Option<DataPolicy>,
    /// The caller.
    pub caller: &'a Caller,
    /// What it wants of a provider.
    pub wants: Wants<'a>,
}

/// The providers that a request may go to.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The candidates in order; never empty.
    pub candidates: VecDeque<Candidate>,
    /// Equals that are not known to have the model, for when the candidates turn out not to have it
    /// either.
    pub reserve: VecDeque<Candidate>,
    /// The policy that was applied, to be applied again before anything is sent.
    pub policy: Option<DataPolicy>,
    /// The route's setting for an answer that breaks off midway; `None` when no route matched.
    pub on_cut: Option<OnCut>,
}

/// What is known of the providers at the moment.
pub trait Outlook {
    /// The expected wait at a provider, for the choice between equals: for the model that was asked
    /// for, or for the one that a route's target names. `None` when the provider is known not to
    /// have the former; a target's is asked for in any case.
    fn wait(&self, provider: &str, target: Option<&str>) -> Option<Duration>;

    /// What speaks for a provider among equals, with this model there: how much of the conversation
    /// it remembers. `None` where its line follows that, or nothing shall.
    fn affinity(&self, _provider: &str, _model: &str) -> Option<Affinity> {
        None
    }
}

/// Nothing is known but expected waits.
impl<Wait: Fn(&str, Option<&str>) -> Option<Duration>> Outlook for Wait {
    fn wait(&self, provider: &str, target: Option<&str>) -> Option<Duration> {
        self(provider, target)
    }
}

impl Routes {
    /// Compiles the rules. `providers` are in the file's order.
    #[must_use]
    pub fn new(
        providers: Vec<RoutedProvider>,
        routes: &[RouteSettings],
        hints: &Hints,
        default: &DefaultSettings,
    ) -> Self {
        let compile = |route: &RouteSettings| Route {
            model: WildMatch::new(&route.model),
            naming: shared_naming(&providers, &route.targets),
            pattern: Arc::from(route.model.as_str()),
            alias: Some(&route.model).filter(|model| !model.contains(['*', '?'])).cloned(),
            targets: route.targets.clone(),
            fallback: route.fallback.clone(),
            on_cut: route.on_cut,
        };
        let patterns = |provider: &RoutedProvider| {
            let models = provider.models.iter();
            models.map(|glob| (specificity(glob), WildMatch::new(glob))).collect()
        };
        Self {
            patterns: providers.iter().map(patterns).collect(),
            routes: routes.iter().map(compile).collect(),
            providers,
            hints: hints.clone(),
            default: default.providers.clone(),
        }
    }

    /// The candidates for a request.
    ///
    /// `draw(n)` is a random number below `n`, for weights and between equal waits; `outlook` is for
    /// the choice between equals.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for an unknown hint, `NoProviderForPolicy`, `NotAllowed` or `ModelNotFound`
    /// when nothing qualifies.
    pub fn plan(
        &self,
        asked: Asked<'_>,
        draw: &mut dyn FnMut(u32) -> u32,
        outlook: &dyn Outlook,
    ) -> Result<Plan, GatewayError> {
        self.decide(asked, draw, outlook, None)
    }

    /// The same decision as [`Routes::plan`], with its explanation.
    pub fn explain(
        &self,
        asked: Asked<'_>,
        draw: &mut dyn FnMut(u32) -> u32,
        outlook: &dyn Outlook,
    ) -> (Result<Plan, GatewayError>, Explanation) {
        let mut explanation = Explanation::default();
        let plan = self.decide(asked, draw, outlook, Some(&mut explanation));
        (plan, explanation)
    }

    /// The names that routes define: patterns without a wildcard.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter_map(|route| route.alias.as_deref())
    }

    /// The patterns of the routes, in their order.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| &*route.pattern)
    }

    /// The known hints, in the order of their names.
    pub fn hints(&self) -> impl Iterator<Item = &str> {
        self.hints.keys().map(String::as_str)
    }

    /// The providers, in the file's order.
    pub fn providers(&self) -> impl Iterator<Item = &RoutedProvider> {
        self.providers.iter()
    }

    /// Whether a provider lists this path.
    #[must_use]
    pub fn list(&self, path: &CleanPath) -> bool {
        self.providers.iter().any(|provider| provider.lists(path))
    }

    fn decide(
        &self,
        asked: Asked<'_>,
        draw: &mut dyn FnMut(u32) -> u32,
        outlook: &dyn Outlook,
        mut witness: Option<&mut Explanation>,
    ) -> Result<Plan, GatewayError> {
        let policy = self.policy(asked);
        if let Some(explanation) = witness.as_deref_mut() {
            explanation.policy = policy.clone();
        }
        let policy = policy.map(|(policy, _)| policy);
        let mut choice = Choice {
            routes: self,
            asked,
            policy,
            on_cut: None,
            candidates: VecDeque::new(),
            reserve: VecDeque::new(),
            barred: None,
            witness,
        };
        choice.choose(draw, outlook)?;
        let on_cut = choice.on_cut;
        match (choice.candidates.is_empty(), choice.barred) {
            (false, _) => {
                let (candidates, reserve) = (choice.candidates, choice.reserve);
                Ok(Plan { candidates, reserve, policy, on_cut })
            }
            (true, Some(error)) => Err(error),
            (true, None) => Err(not_found(asked)),
        }
    }

    /// The strictest of the header's, the key's and the hint's policy, and its source.
    fn policy(&self, asked: Asked<'_>) -> Option<(DataPolicy, PolicySource)> {
        let generic = asked.model.filter(|name| self.hints.contains_key(*name));
        let hinted = || {
            let local = |name: &&str| LOCAL_HINTS.contains(name);
            let hint = [asked.hint, generic].into_iter().flatten().find(local)?;
            Some((DataPolicy::Local, PolicySource::Hint(hint.to_owned())))
        };
        let own = asked.policy.map(|policy| (policy, PolicySource::Request));
        let key = || asked.caller.policy.map(|policy| (policy, PolicySource::Key));
        own.or_else(key).or_else(hinted)
    }

    /// The first route whose pattern matches, and its place.
    fn find(&self, model: &str) -> Option<(usize, &Route)> {
        self.routes.iter().enumerate().find(|(_, route)| route.matches(model))
    }

    fn provider(&self, name: &str) -> Option<&RoutedProvider> {
        self.providers.iter().find(|provider| *provider.name == *name)
    }
}

impl RoutedProvider {
    fn lists(&self, path: &CleanPath) -> bool {
        self.passthrough.iter().any(|pattern| pattern.matches(path))
    }
}

impl Route {
    fn matches(&self, model: &str) -> bool {
        self.naming.any(model, |name| self.model.matches(name))
    }
}

/// How all of these targets read names.
fn shared_naming(providers: &[RoutedProvider], targets: &[TargetSettings]) -> Naming {
    let is_tagged = |target: &TargetSettings| {
        let provider = providers.iter().find(|provider| *provider.name == *target.provider);
        provider.is_some_and(|provider| provider.naming == Naming::Tagged)
    };
    if targets.iter().all(is_tagged) { Naming::Tagged } else { Naming::Plain }
}

/// An exact name beats every glob, a longer glob a shorter one.
fn specificity(glob: &str) -> usize {
    if glob.contains(['*', '?']) { glob.len() } else { usize::MAX }
}

fn not_found(asked: Asked<'_>) -> GatewayError {
    let name: String = asked.model.or(asked.hint).unwrap_or_default().chars().take(128).collect();
    let message = match asked.wants {
        Wants::Model => format!("no configured provider serves `{name}`"),
        Wants::Path(_) => format!("no provider that has this path serves `{name}`"),
        Wants::Management { .. } => format!("no Ollama here would serve `{name}`"),
    };
    GatewayError::new(ErrorKind::ModelNotFound, message)
        .from(Origin::Client)
        .turned_away(EdgeReason::ModelNotFound)
}

#[cfg(test)]
mod tests;
