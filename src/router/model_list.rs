//! The models that a caller may ask for, and their names.
//!
//! It owns the merging of all providers' lists. It never decides whether a name may be asked for,
//! or which provider would answer: every name goes through the routing rules as if it had been
//! asked for, with the caller's scope and the data policy, and is offered when they lead to the
//! provider that has the model.
//!
//! The one thing to know: a model that its bare name does not reach is offered as `provider/model`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::Routing;
use super::route::{Asked, Wants};
use crate::chat::{Facts, Listing, Model, Offer, untagged};
use crate::job::{Caller, Candidate, Globs};
use crate::policy::DataPolicy;
use crate::provider::Provider;
use crate::provider::settings::BackendName;

/// The names that one caller may ask for.
#[derive(Debug, Clone, Copy)]
pub struct ModelList<'a> {
    /// The providers and rules.
    pub routing: &'a Routing,
    /// The caller.
    pub caller: &'a Caller,
    /// Where content may go.
    pub policy: Option<DataPolicy>,
}

impl ModelList<'_> {
    /// All offers: each provider's models in the file's order, then the names that routes define.
    #[must_use]
    pub fn offers(&self, listing: Listing) -> Vec<Offer> {
        let mut offers = Vec::new();
        let mut names = HashSet::new();
        for provider in &self.routing.providers {
            for (own, model) in self.models_of(provider, listing) {
                if let Some(name) = self.name_of(provider, &own)
                    && names.insert(name.clone())
                {
                    let facts = provider.facts(&own, model.as_ref());
                    let provider = Arc::clone(&provider.name);
                    offers.push(Offer { name, provider, model, facts });
                }
            }
        }
        match listing {
            Listing::Installed => {}
            Listing::Loaded => return offers,
        }
        for alias in self.routing.routes.aliases() {
            if !names.contains(alias)
                && let Some(candidate) = self.plan(alias).into_iter().next()
            {
                names.insert(alias.to_owned());
                offers.push(self.led_to(alias, candidate));
            }
        }
        offers
    }

    /// The offer of one name; `None` when no candidate is known to have it.
    #[must_use]
    pub fn offer(&self, name: &str) -> Option<Offer> {
        let offers = self.offers(Listing::Installed);
        let found = offers.into_iter().find(|offer| untagged(&offer.name) == untagged(name));
        if let Some(offer) = found {
            return Some(Offer { name: name.to_owned(), ..offer });
        }
        // The long form, or a name that only a route's pattern matches.
        let known = |candidate: Candidate| {
            Some(self.led_to(name, candidate)).filter(|offer| offer.model.is_some())
        };
        self.plan(name).into_iter().find_map(known)
    }

    /// The Ollama servers that the caller may use, where a model could be installed.
    pub fn ollamas(&self) -> impl Iterator<Item = &str> {
        let is_open = |provider: &&Arc<Provider>| {
            provider.settings.backend == BackendName::Ollama
                && self.caller.providers.matches(&provider.name)
                && self.policy.is_none_or(|policy| policy.allows(provider.trust))
        };
        self.routing.providers.iter().filter(is_open).map(|provider| &*provider.name)
    }

    /// The provider's models that its patterns allow, with what is known of each.
    fn models_of(&self, provider: &Provider, listing: Listing) -> Vec<(String, Option<Model>)> {
        let patterns = provider.settings.models.globs();
        let globs = Globs::new(patterns);
        let serves = |name: &str| globs.matches_model(name, provider.naming());
        let heard = provider.catalogue.list(listing).models();
        let mut models: Vec<(String, Option<Model>)> = Vec::new();
        for model in heard.iter().flat_map(|models| models.iter()) {
            let name = [model.name.as_str(), untagged(&model.name)];
            if let Some(name) = name.into_iter().find(|name| serves(name)) {
                models.push((name.to_owned(), Some(model.clone())));
            }
        }
        if listing == Listing::Installed {
            // Models named by the operator are offered even if the provider does not answer; the
            // default model replaces a list that was never read.
            let named =
                patterns.iter().filter(|glob| !glob.contains(['*', '?'])).map(String::as_str);
            let default = provider.settings.default_model();
            let stands_in = heard.is_none() && !default.is_empty() && serves(default);
            for name in named.chain(stands_in.then_some(default)) {
                if !models.iter().any(|(known, _)| untagged(known) == untagged(name)) {
                    models.push((name.to_owned(), None));
                }
            }
        }
        models
    }

    /// The name by which the rules lead to this model at this provider, the short one if possible.
    fn name_of(&self, provider: &Provider, model: &str) -> Option<String> {
        let leads = |name: &str| {
            self.plan(name)
                .iter()
                .any(|candidate| candidate.provider == provider.name && *candidate.model == *model)
        };
        let long = || format!("{}/{model}", provider.name);
        if leads(model) { Some(model.to_owned()) } else { Some(long()).filter(|name| leads(name)) }
    }

    /// The offer of a name that leads to this candidate. A context declared by a route takes
    /// precedence.
    fn led_to(&self, name: &str, candidate: Candidate) -> Offer {
        let model = self.known(&candidate);
        let provider = self.routing.provider(&candidate.provider);
        let known = provider.map(|provider| provider.facts(&candidate.model, model.as_ref()));
        let facts = Facts::taking(candidate.context).or(&known.unwrap_or_default());
        Offer { name: name.to_owned(), provider: candidate.provider, model, facts }
    }

    /// The model in the list of the candidate's provider; `None` when it is not listed or the list
    /// was never read.
    fn known(&self, candidate: &Candidate) -> Option<Model> {
        let provider = self.routing.provider(&candidate.provider)?;
        let models = provider.catalogue.list(Listing::Installed).models()?;
        models.iter().find(|model| model.is_called(&candidate.model)).cloned()
    }

    /// The candidates for the name, in order.
    fn plan(&self, name: &str) -> Vec<Candidate> {
        let (policy, caller) = (self.policy, self.caller);
        let asked = Asked { model: Some(name), hint: None, policy, caller, wants: Wants::Model };
        let plan = self
            .routing
            .routes
            .plan(asked, &mut |_| 0, &|_: &str, _: Option<&str>| Some(Duration::ZERO));
        plan.map(|plan| plan.candidates.into()).unwrap_or_default()
    }
}
