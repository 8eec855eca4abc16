//! From the name a client asked for to the candidates that may answer, in order.
//!
//! It owns the routing rules: data policy, hints, `provider/model`, routes, patterns, the default. It refuses
//! with the reason when nothing qualifies. Pure: weights and expected waits come as arguments.
//!
//! The one thing to know: the data policy and the caller's scope are filters on providers, applied in the one
//! place where a provider becomes a candidate, so that no later rule can bring a barred one back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use wildmatch::WildMatch;

use crate::chat::{ErrorKind, GatewayError, Naming, Origin};
use crate::job::{Caller, Candidate};
use crate::policy::{DataPolicy, OnCut, Trust};

use super::settings::{DefaultSettings, Hints, LOCAL_HINTS, RouteSettings, TargetSettings};

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

/// What routing needs to know of a provider.
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
}

#[derive(Debug)]
struct Route {
    model: WildMatch,
    /// How the name asked for is read: as all of its targets read names.
    naming: Naming,
    /// The name, when the pattern is one.
    alias: Option<String>,
    targets: Vec<TargetSettings>,
    fallback: Vec<TargetSettings>,
    on_cut: OnCut,
}

/// What a request says about where it wants to go.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The name asked for.
    pub model: Option<&'a str>,
    /// The hint.
    pub hint: Option<&'a str>,
    /// The policy of header and key together.
    pub policy: Option<DataPolicy>,
    /// Who asks.
    pub caller: &'a Caller,
}

/// Where a request may go.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are tried; never empty.
    pub candidates: VecDeque<Candidate>,
    /// The policy that was applied, to be applied again before anything is sent.
    pub policy: Option<DataPolicy>,
    /// What the route says about an answer that dies midway; `None` when no route matched.
    pub on_cut: Option<OnCut>,
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
    /// `draw(n)` is a random number below `n`, for weights; `wait(name)` the expected wait at a provider, for the
    /// choice between equals.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for an unknown hint, `NoProviderForPolicy`, `NotAllowed` or `ModelNotFound` when nothing
    /// qualifies.
    pub fn plan(
        &self,
        asked: Asked<'_>,
        draw: &mut dyn FnMut(u32) -> u32,
        wait: &dyn Fn(&str) -> Duration,
    ) -> Result<Plan, GatewayError> {
        let policy = self.policy(asked);
        let candidates = VecDeque::new();
        let mut choice =
            Choice { routes: self, asked, policy, on_cut: None, candidates, barred: None };
        choice.choose(draw, wait)?;
        let on_cut = choice.on_cut;
        match (choice.candidates.is_empty(), choice.barred) {
            (false, _) => Ok(Plan { candidates: choice.candidates, policy, on_cut }),
            (true, Some(error)) => Err(error),
            (true, None) => Err(not_found(asked)),
        }
    }

    /// The names that routes make up: those without a wildcard.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter_map(|route| route.alias.as_deref())
    }

    /// The strictest of the header's, the key's and the hint's policy.
    fn policy(&self, asked: Asked<'_>) -> Option<DataPolicy> {
        let generic = asked.model.filter(|name| self.hints.contains_key(*name));
        let hinted = [asked.hint, generic]
            .into_iter()
            .flatten()
            .any(|name| LOCAL_HINTS.contains(&name))
            .then_some(DataPolicy::Local);
        asked.policy.or(asked.caller.policy).or(hinted)
    }

    fn provider(&self, name: &str) -> Option<&RoutedProvider> {
        self.providers.iter().find(|provider| *provider.name == *name)
    }
}

impl Route {
    fn matches(&self, model: &str) -> bool {
        self.naming.any(model, |name| self.model.matches(name))
    }
}

/// One choice in the making.
struct Choice<'a> {
    routes: &'a Routes,
    asked: Asked<'a>,
    policy: Option<DataPolicy>,
    on_cut: Option<OnCut>,
    candidates: VecDeque<Candidate>,
    /// Why the last provider that the rules named was left out.
    barred: Option<GatewayError>,
}

impl Choice<'_> {
    fn choose(
        &mut self,
        draw: &mut dyn FnMut(u32) -> u32,
        wait: &dyn Fn(&str) -> Duration,
    ) -> Result<(), GatewayError> {
        let routes = self.routes;
        if let Some(hint) = self.asked.hint {
            let Some(providers) = routes.hints.get(hint) else {
                return Err(unknown_hint(hint, &routes.hints));
            };
            self.hinted(providers);
            return Ok(());
        }
        let Some(model) = self.asked.model else {
            self.each(&routes.default, None);
            return Ok(());
        };
        if let Some((provider, name)) = split_provider(routes, model) {
            self.add(provider, Some(name));
        } else if let Some(route) = routes.routes.iter().find(|route| route.matches(model)) {
            self.route(route, model, draw);
        } else if let Some(providers) = routes.hints.get(model) {
            self.each(providers, None);
        } else if let Some(equals) = self.serving(model, wait) {
            self.each(&equals, Some(model));
        } else {
            self.each(&routes.default, Some(model));
        }
        Ok(())
    }

    /// A hint restricts the providers; the model is then a name on them.
    fn hinted(&mut self, providers: &[String]) {
        let routes = self.routes;
        let name = self.asked.model.filter(|name| !routes.hints.contains_key(*name));
        match name.and_then(|name| split_provider(routes, name)) {
            Some((provider, name)) if providers.iter().any(|one| one == provider) => {
                self.add(provider, Some(name));
            }
            _ => self.each(providers, name),
        }
    }

    fn each<Name: AsRef<str>>(&mut self, providers: &[Name], model: Option<&str>) {
        for provider in providers {
            self.add(provider.as_ref(), model);
        }
    }

    /// Targets by weight, drawn without replacement, then the fallbacks in order.
    fn route(&mut self, route: &Route, model: &str, draw: &mut dyn FnMut(u32) -> u32) {
        self.on_cut = Some(route.on_cut);
        let mut targets: Vec<&TargetSettings> = route.targets.iter().collect();
        while !targets.is_empty() {
            let total = targets.iter().map(|target| target.weight).fold(0, u32::saturating_add);
            let mut ticket = draw(total.max(1));
            let winner =
                targets.iter().position(|target| match ticket.checked_sub(target.weight) {
                    Some(left) => {
                        ticket = left;
                        false
                    }
                    None => true,
                });
            let target = targets.remove(winner.unwrap_or(0));
            self.add(&target.provider, Some(target.model.as_deref().unwrap_or(model)));
        }
        for target in &route.fallback {
            self.add(&target.provider, Some(target.model.as_deref().unwrap_or(model)));
        }
    }

    /// The providers whose patterns fit the name best; the one with the shortest wait first.
    fn serving(&self, model: &str, wait: &dyn Fn(&str) -> Duration) -> Option<Vec<Arc<str>>> {
        let fit = |patterns: &Vec<(usize, WildMatch)>, naming: Naming| {
            let fits = |glob: &WildMatch| naming.any(model, |name| glob.matches(name));
            let matching = patterns.iter().filter(|(_, glob)| fits(glob));
            matching.map(|(specificity, _)| *specificity).max()
        };
        let mut best = None;
        let mut equals = Vec::new();
        for (provider, patterns) in self.routes.providers.iter().zip(&self.routes.patterns) {
            let fits = fit(patterns, provider.naming);
            if fits > best {
                best = fits;
                equals.clear();
            }
            if fits.is_some() && fits == best {
                equals.push(Arc::clone(&provider.name));
            }
        }
        if equals.len() > 1 {
            equals.sort_by_cached_key(|name| wait(name));
        }
        (!equals.is_empty()).then_some(equals)
    }

    /// The one place where a provider becomes a candidate.
    fn add(&mut self, provider: &str, model: Option<&str>) {
        let Some(provider) = self.routes.provider(provider) else { return };
        if self.policy.is_some_and(|policy| !policy.allows(provider.trust)) {
            self.barred = Some(GatewayError::no_provider_for_policy());
            return;
        }
        let runs = model.map_or_else(|| Arc::clone(&provider.default_model), Arc::from);
        let caller = self.asked.caller;
        let asks_for = self.asked.model.unwrap_or(&runs);
        let allowed = caller.providers.matches(&provider.name)
            && caller.models.matches_model(&runs, provider.naming)
            && (self.routes.hints.contains_key(asks_for)
                || caller.models.matches_model(asks_for, provider.naming));
        if !allowed {
            self.barred = Some(
                GatewayError::new(
                    ErrorKind::NotAllowed,
                    "this key may not use that model or provider",
                )
                .from(Origin::Client),
            );
            return;
        }
        let candidate = Candidate { provider: Arc::clone(&provider.name), model: runs };
        if !self.candidates.contains(&candidate) {
            self.candidates.push_back(candidate);
        }
    }
}

/// `provider/model`, where the part before the first slash is a configured provider.
fn split_provider<'a>(routes: &Routes, name: &'a str) -> Option<(&'a str, &'a str)> {
    let (provider, model) = name.split_once('/')?;
    (routes.provider(provider).is_some() && !model.is_empty()).then_some((provider, model))
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

fn unknown_hint(hint: &str, hints: &BTreeMap<String, Vec<String>>) -> GatewayError {
    let shown: String = hint.chars().take(64).collect();
    let known: Vec<&str> = hints.keys().map(String::as_str).collect();
    GatewayError::invalid(format!("unknown model_hint `{shown}`; known are {}", known.join(", ")))
}

fn not_found(asked: Asked<'_>) -> GatewayError {
    let name: String = asked.model.or(asked.hint).unwrap_or_default().chars().take(128).collect();
    let message = format!("no configured provider serves `{name}`");
    GatewayError::new(ErrorKind::ModelNotFound, message).from(Origin::Client)
}

#[cfg(test)]
mod tests;
