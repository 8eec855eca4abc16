//! Keeps what a provider may run by itself within the key's scope.
//!
//! Some providers take a list of models to fall back to (`models`, `fallbacks`, `route` of
//! OpenRouter and LiteLLM). The gateway checks the scope of a key for the model that it asks for;
//! it cannot for what the provider would ask for instead.
//!
//! The one thing to know: a key for all models may name them.

use super::Provider;
use super::settings::BackendName;
use crate::backend::UpstreamRequest;
use crate::job::Job;
use crate::wire::splice::Outline;

/// Fields by which a provider is told what else it may run.
const FALLBACKS: [&str; 3] = ["models", "fallbacks", "route"];

/// Takes the provider's own fallbacks out of a call for a key that may not use every model.
pub(super) fn keep(provider: &Provider, call: &mut UpstreamRequest, job: &Job) {
    if provider.settings.backend != BackendName::Openai || job.caller.models.are_all() {
        return;
    }
    let Some(outline) = Outline::read(&call.body) else { return };
    let mut edits = outline.edit();
    for field in FALLBACKS.into_iter().filter(|field| outline.get(field).is_some()) {
        edits.remove(field);
        call.dropped.push(field.to_owned());
    }
    if !edits.is_empty() {
        call.body = edits.apply();
    }
}
