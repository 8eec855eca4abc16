//! One routing decision: the rules, in the order in which they apply.
//!
//! Owns the providers that each rule names and the verdict on each. A witness records every step,
//! and the steps are the same without one.
//!
//! The one thing to know: the data policy and the caller's scope are filters on providers, applied
//! by [`Choice::verdict`] wherever a provider becomes a candidate, so that no later rule can bring
//! a barred one back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wildmatch::WildMatch;

use super::explanation::{Considered, Explanation, Pick, Rule, Verdict};
use super::order::{by_wait, drawn, remembering, to_front};
use super::{Asked, Outlook, Route, RoutedProvider, Routes, Wants};
use crate::chat::{EdgeReason, ErrorKind, GatewayError, Naming, Origin};
use crate::job::{Candidate, RoutePart};
use crate::policy::{DataPolicy, OnCut};

/// One routing decision.
pub(super) struct Choice<'a> {
    pub routes: &'a Routes,
    pub asked: Asked<'a>,
    pub policy: Option<DataPolicy>,
    /// The route's setting for answers that break off midway; `None` without a route.
    pub on_cut: Option<OnCut>,
    pub candidates: VecDeque<Candidate>,
    /// Equals that are not known to have the model.
    pub reserve: VecDeque<Candidate>,
    /// Why the last provider that the rules named was left out.
    pub barred: Option<GatewayError>,
    /// Records every step, if an explanation is wanted.
    pub witness: Option<&'a mut Explanation>,
}

/// A provider that a rule names.
#[derive(Clone, Copy)]
struct Named<'a> {
    provider: &'a str,
    /// The model there; `None` for its default model.
    model: Option<&'a str>,
    /// The size of its context, if the route declares one.
    context: Option<u64>,
    part: Option<RoutePart>,
    pick: Pick,
}

impl Choice<'_> {
    pub fn choose(
        &mut self,
        draw: &mut dyn FnMut(u32) -> u32,
        outlook: &dyn Outlook,
    ) -> Result<(), GatewayError> {
        let routes = self.routes;
        match self.asked.wants {
            Wants::Management { provider, .. } => return self.managing(provider, outlook),
            Wants::Path(_) if self.asked.model.is_none() => {
                self.matched(|| Rule::Path);
                self.listing();
                return Ok(());
            }
            Wants::Path(_) | Wants::Model => {}
        }
        if let Some(hint) = self.asked.hint {
            let Some(providers) = routes.hints.get(hint) else {
                return Err(unknown_hint(hint, &routes.hints));
            };
            self.hinted(hint, providers);
            return Ok(());
        }
        let Some(model) = self.asked.model else {
            self.matched(|| Rule::Default);
            self.each(&routes.default, None, Pick::Next);
            return Ok(());
        };
        if let Some((provider, name)) = split_provider(routes, model) {
            self.matched(|| Rule::ProviderModel);
            self.one(provider, name);
        } else if let Some((index, route)) = routes.find(model) {
            let pattern = &route.pattern;
            self.matched(|| Rule::Route { number: index + 1, pattern: Arc::clone(pattern) });
            self.route(route, model, draw, outlook);
        } else if let Some(providers) = routes.hints.get(model) {
            self.matched(|| Rule::Generic(model.to_owned()));
            self.each(providers, None, Pick::Next);
        } else if let Some(equals) = self.serving(model) {
            self.matched(|| Rule::Models);
            self.equals(equals, model, outlook);
        } else {
            self.matched(|| Rule::Default);
            self.each(&routes.default, Some(model), Pick::Next);
        }
        Ok(())
    }

    /// A hint restricts the providers; the model is then a name on them.
    fn hinted(&mut self, hint: &str, providers: &[String]) {
        let routes = self.routes;
        self.matched(|| Rule::Hint(hint.to_owned()));
        let name = self.asked.model.filter(|name| !routes.hints.contains_key(*name));
        match name.and_then(|name| split_provider(routes, name)) {
            Some((provider, name)) if providers.iter().any(|one| one == provider) => {
                self.one(provider, name);
            }
            Some(_) | None => self.each(providers, name, Pick::Next),
        }
    }

    /// All that list the path of a request that names no model.
    fn listing(&mut self) {
        let routes = self.routes;
        for provider in &routes.providers {
            if self.suits(provider) {
                self.one(&provider.name, "");
            }
        }
    }

    /// The one that installs or removes a model: the one that is named, else the first that has it,
    /// else the first that would serve it.
    fn managing(&mut self, named: Option<&str>, outlook: &dyn Outlook) -> Result<(), GatewayError> {
        let routes = self.routes;
        self.matched(|| Rule::Management);
        let model = self.asked.model.unwrap_or_default();
        let managed = routes.providers.iter().filter(|provider| provider.installs_models);
        let mut managed: Vec<&RoutedProvider> = managed.collect();
        match named {
            Some(name) => {
                managed.retain(|provider| *provider.name == *name);
                if managed.is_empty() {
                    let shown: String = name.chars().take(64).collect();
                    let message =
                        format!("x-gateway-provider: no Ollama is configured as `{shown}`");
                    return Err(GatewayError::invalid(message));
                }
            }
            None => {
                let serves = |provider: &&RoutedProvider| {
                    let globs = provider.models.iter().map(|glob| WildMatch::new(glob));
                    let globs: Vec<WildMatch> = globs.collect();
                    model.is_empty()
                        || provider
                            .naming
                            .any(model, |name| globs.iter().any(|it| it.matches(name)))
                };
                managed.retain(serves);
                // The sort is stable.
                managed.sort_by_key(|provider| outlook.wait(&provider.name, None).is_none());
            }
        }
        for provider in managed {
            if self.candidates.is_empty() {
                self.one(&provider.name, model);
            }
        }
        Ok(())
    }

    /// Whether a provider has what the request wants beside a model.
    fn suits(&self, provider: &RoutedProvider) -> bool {
        match self.asked.wants {
            Wants::Model => true,
            Wants::Path(path) => provider.lists(path),
            Wants::Management { .. } => provider.installs_models,
        }
    }

    fn one(&mut self, provider: &str, model: &str) {
        let (context, part) = (None, None);
        self.add(Named { provider, model: Some(model), context, part, pick: Pick::Next });
    }

    fn each<Name: AsRef<str>>(&mut self, providers: &[Name], model: Option<&str>, pick: Pick) {
        for provider in providers {
            let (provider, context, part) = (provider.as_ref(), None, None);
            self.add(Named { provider, model, context, part, pick });
        }
    }

    /// Targets by weight, those of one weight by their waits, then the fallbacks in order. Of
    /// those that have the first one's weight, one that remembers the conversation goes first.
    fn route(
        &mut self,
        route: &Route,
        model: &str,
        draw: &mut dyn FnMut(u32) -> u32,
        outlook: &dyn Outlook,
    ) {
        self.on_cut = Some(route.on_cut);
        let pick = match route.targets.as_slice() {
            [] | [_] => |_| Pick::Next,
            [first, rest @ ..] if rest.iter().all(|one| one.weight == first.weight) => {
                |_| Pick::Wait
            }
            [_, ..] => Pick::Weight,
        };
        let mut targets = drawn(route, draw);
        by_wait(&mut targets, |target| {
            let model = target.model.as_deref().unwrap_or(model);
            outlook.wait(&target.provider, Some(model))
        });
        let weight = targets.first().map(|target| target.weight);
        let equals = targets.iter().map(|target| {
            let model = target.model.as_deref().unwrap_or(model);
            let is_equal = Some(target.weight) == weight && self.may_ask(&target.provider, model);
            (&*target.provider, model, is_equal)
        });
        if let Some(place) = remembering(equals, outlook) {
            to_front(&mut targets, place);
        }
        let targets = targets.into_iter();
        let targets = targets.map(|target| (target, RoutePart::Target, pick(target.weight)));
        let fallback = route.fallback.iter();
        let fallback = fallback.map(|target| (target, RoutePart::Fallback, Pick::Next));
        for (target, part, pick) in targets.chain(fallback) {
            let (model, part) = (Some(target.model.as_deref().unwrap_or(model)), Some(part));
            let (provider, context) = (&*target.provider, target.context);
            self.add(Named { provider, model, context, part, pick });
        }
    }

    /// The providers whose patterns fit the name best.
    fn serving(&self, model: &str) -> Option<Vec<Arc<str>>> {
        let fit = |patterns: &Vec<(usize, WildMatch)>, naming: Naming| {
            let fits = |glob: &WildMatch| naming.any(model, |name| glob.matches(name));
            let matching = patterns.iter().filter(|(_, glob)| fits(glob));
            matching.map(|(specificity, _)| *specificity).max()
        };
        let mut best = None;
        let mut equals = Vec::new();
        let known = self.routes.providers.iter().zip(&self.routes.patterns);
        for (provider, patterns) in known.filter(|(provider, _)| self.suits(provider)) {
            let fits = fit(patterns, provider.naming);
            if fits > best {
                best = fits;
                equals.clear();
            }
            if fits.is_some() && fits == best {
                equals.push(Arc::clone(&provider.name));
            }
        }
        (!equals.is_empty()).then_some(equals)
    }

    /// Equals that have the model, the one with the shortest wait first. When none is known to have
    /// it, the lists may be old, and all are asked.
    fn equals(&mut self, equals: Vec<Arc<str>>, model: &str, outlook: &dyn Outlook) {
        if equals.len() < 2 {
            return self.each(&equals, Some(model), Pick::Next);
        }
        let waits = equals.into_iter().map(|name| (outlook.wait(&name, None), name));
        let (mut having, lacking): (Vec<_>, Vec<_>) = waits.partition(|(wait, _)| wait.is_some());
        if having.is_empty() {
            let names: Vec<Arc<str>> = lacking.into_iter().map(|(_, name)| name).collect();
            return self.each(&names, Some(model), Pick::Next);
        }
        for (_, name) in lacking {
            self.hold_back(&name, model);
        }
        having.sort_by_key(|(wait, _)| *wait);
        let pick = if having.len() > 1 { Pick::Wait } else { Pick::Next };
        let mut names: Vec<Arc<str>> = having.into_iter().map(|(_, name)| name).collect();
        let equals = names.iter().map(|name| (&**name, model, self.may_ask(name, model)));
        if let Some(place) = remembering(equals, outlook) {
            to_front(&mut names, place);
        }
        self.each(&names, Some(model), pick);
    }

    /// Reserves an equal for when those that have the model turn out not to have it any more.
    fn hold_back(&mut self, provider: &Arc<str>, model: &str) {
        self.considered(provider, model, Pick::Wait, Verdict::NotInstalled);
        let Some(routed) = self.routes.provider(provider) else { return };
        if self.verdict(routed, model) == Verdict::Candidate {
            let (provider, model) = (Arc::clone(provider), Arc::from(model));
            self.reserve.push_back(Candidate { provider, model, context: None, part: None });
        }
    }

    /// The only place where a provider becomes a candidate, except for reserved ones.
    fn add(&mut self, named: Named<'_>) {
        let Some(provider) = self.routes.provider(named.provider) else { return };
        let runs = named.model.map_or_else(|| Arc::clone(&provider.default_model), Arc::from);
        let verdict = if self.suits(provider) {
            self.verdict(provider, &runs)
        } else {
            Verdict::Unable("such path in its `passthrough`")
        };
        self.considered(&provider.name, &runs, named.pick, verdict);
        match verdict {
            Verdict::Candidate => {
                let Named { context, part, .. } = named;
                let provider = Arc::clone(&provider.name);
                self.candidates.push_back(Candidate { provider, model: runs, context, part });
            }
            Verdict::DataPolicy => self.barred = Some(GatewayError::no_provider_for_policy()),
            Verdict::Key => {
                let message = match self.asked.wants {
                    Wants::Path(_) if runs.is_empty() => {
                        "this key may not use every model: name one that it may use"
                    }
                    Wants::Management { .. } => "this key may not manage that model or provider",
                    Wants::Path(_) | Wants::Model => "this key may not use that model or provider",
                };
                let error = GatewayError::new(ErrorKind::NotAllowed, message);
                self.barred = Some(error.from(Origin::Client).turned_away(EdgeReason::NotAllowed));
            }
            Verdict::Twice | Verdict::NotInstalled | Verdict::Unable(_) => {}
        }
    }

    /// The verdict on a provider that a rule names, where it would run the model `runs`.
    fn verdict(&self, provider: &RoutedProvider, runs: &str) -> Verdict {
        let caller = self.asked.caller;
        let managed = match self.asked.wants {
            Wants::Management { models, .. } => models,
            Wants::Model | Wants::Path(_) => &[],
        };
        let is_barred = |model: &str| {
            let trust = provider.trust.of_model(model);
            self.policy.is_some_and(|policy| !policy.allows(trust))
        };
        if is_barred(runs) || managed.iter().any(|model| is_barred(model)) {
            return Verdict::DataPolicy;
        }
        let may_use = |model: &str| caller.models.matches_model(model, provider.naming);
        // A file for a model that is still to be made is none.
        let is_file = matches!(self.asked.wants, Wants::Management { .. }) && runs.is_empty();
        let asks_for = self.asked.model.unwrap_or(runs);
        // A name that a route matches is a model's, even if a hint has the same name.
        let is_hint = self.on_cut.is_none() && self.routes.hints.contains_key(asks_for);
        let allowed = caller.providers.matches(&provider.name)
            && (is_file || may_use(runs))
            && (is_file || is_hint || may_use(asks_for))
            && managed.iter().all(|model| may_use(model));
        let is_known = |known: &Candidate| known.provider == provider.name && *known.model == *runs;
        if !allowed {
            Verdict::Key
        } else if self.candidates.iter().any(is_known) {
            Verdict::Twice
        } else {
            Verdict::Candidate
        }
    }

    /// Whether a provider would become a candidate with that model.
    fn may_ask(&self, provider: &str, model: &str) -> bool {
        self.routes.provider(provider).is_some_and(|routed| {
            self.suits(routed) && self.verdict(routed, model) == Verdict::Candidate
        })
    }

    fn matched(&mut self, rule: impl FnOnce() -> Rule) {
        if let Some(witness) = &mut self.witness {
            witness.rule = Some(rule());
        }
    }

    fn considered(&mut self, provider: &Arc<str>, model: &str, pick: Pick, verdict: Verdict) {
        if let Some(witness) = &mut self.witness {
            let (provider, model) = (Arc::clone(provider), Arc::from(model));
            witness.considered.push(Considered { provider, model, pick, verdict, way: None });
        }
    }
}

/// `provider/model`, where the part before the first slash is a configured provider.
fn split_provider<'a>(routes: &Routes, name: &'a str) -> Option<(&'a str, &'a str)> {
    let (provider, model) = name.split_once('/')?;
    (routes.provider(provider).is_some() && !model.is_empty()).then_some((provider, model))
}

fn unknown_hint(hint: &str, hints: &BTreeMap<String, Vec<String>>) -> GatewayError {
    let shown: String = hint.chars().take(64).collect();
    let known: Vec<&str> = hints.keys().map(String::as_str).collect();
    GatewayError::invalid(format!("unknown model_hint `{shown}`; known are {}", known.join(", ")))
        .turned_away(EdgeReason::UnknownHint)
}
