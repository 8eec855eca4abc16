//! Tells a chat's priority to a server that has a queue of its own: `priority_field`.
//!
//! The one thing to know: the number is vLLM's, where lower goes first and 0 is the default. It
//! replaces the client's own number, or every client could go first.

use super::Provider;
use crate::backend::UpstreamRequest;
use crate::job::Job;
use crate::policy::Priority;
use crate::wire::splice::Outline;

/// Writes the request's priority into the call, where the provider's settings name a field for it.
pub(super) fn tell(provider: &Provider, call: &mut UpstreamRequest, job: &Job) {
    let Some(field) = &provider.settings.priority_field else { return };
    let is_chat = job.request.chat().is_some();
    let number = match job.caller.priority {
        Priority::Interactive => "0",
        Priority::Batch => "1",
    };
    let Some(outline) = Outline::read(&call.body) else { return };
    // Embeddings are sent without a priority, but never with the client's own.
    if !is_chat && outline.get(field).is_none() {
        return;
    }
    let mut edits = outline.edit();
    edits.set(field, number);
    call.body = edits.apply();
}
