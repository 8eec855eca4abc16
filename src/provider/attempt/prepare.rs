//! The call of an attempt, before anything is sent.
//!
//! It owns the last checks: the client is still there, the deadline has not passed, the data policy
//! allows the provider. It refuses what the provider's API cannot express.
//!
//! The one thing to know: until it returns, nothing has left the gateway.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout_at;

use crate::backend::carry;
use crate::chat::GatewayError;
use crate::job::Job;
use crate::provider::client::Call;
use crate::provider::failed::Failed;
use crate::provider::pins::{is_unload, says_options};
use crate::provider::retry::Failure;
use crate::provider::station::Station;
use crate::provider::way::Way;
use crate::provider::{Provider, discovery, resume, scope, urgency};

/// Whether the model can think, where that decides how it is asked. Waits no longer than the client
/// and the deadline allow; `prepare` checks both again.
pub(super) async fn can_think(station: &Station, job: &mut Job) -> Option<bool> {
    let deadline = job.deadline(station.provider.settings.timeouts.total);
    let candidate = job.tried.candidate.as_ref()?;
    let is_carried = matches!(station.provider.way(job), Way::Carried(_));
    if is_carried || !job.may_go_to(station.provider.trust) {
        return None;
    }
    let asked = discovery::thinks(station, &job.request, &candidate.model);
    tokio::select! {
        biased;
        () = job.reply.closed() => None,
        known = timeout_at(deadline.into(), asked) => known.ok().flatten(),
    }
}

/// The call to make, unless the job may not go to this provider or the provider's API cannot
/// express it.
pub(super) fn prepare(
    provider: &Provider,
    job: &mut Job,
    thinks: Option<bool>,
) -> Result<(Call, Arc<str>), Failed> {
    let Some(candidate) = &job.tried.candidate else {
        let error = GatewayError::internal("an attempt without a candidate");
        return Err(Failed::new(Failure::LocalResource, error));
    };
    // A slot granted just as the client disconnected or the deadline passed is not used.
    if job.reply.is_closed() {
        return Err(Failed::client_gone());
    }
    if job.deadline(provider.settings.timeouts.total) <= Instant::now() {
        return Err(Failed::deadline(&provider.name));
    }
    // The router has filtered by policy already. This is the last place before bytes are written.
    if !job.may_go_to(provider.trust.of_model(&candidate.model)) {
        let error = GatewayError::no_provider_for_policy();
        return Err(Failed::new(Failure::LocalResource, error));
    }
    let model = Arc::clone(&candidate.model);
    let target = provider.target(&model, thinks);
    let added = provider.added_to(&model);
    let carried = match provider.way(job) {
        Way::Carried(carry) => carry::encode(carry, provider.backend, added, target),
        Way::Raw(raw) => {
            let (mut call, at_root) = carry::raw::encode(raw, provider.backend, target);
            scope::keep(provider, &mut call, job);
            let mut call = Call::passing_on(call, raw.method, at_root);
            call.upload = job.upload.take();
            return Ok((call, model));
        }
        Way::Translated(_) => None,
    };
    let is_carried = carried.is_some();
    let refusal = job.refusal().cloned();
    // Another provider may have to continue even a request that is passed on as it came.
    let asked = resume::asked(job, provider.backend, &model);
    let mut call = match (carried, refusal) {
        (Some(call), _) => call,
        (None, Some(refusal)) => return Err(Failed::new(Failure::Rejected, refusal)),
        (None, None) => {
            let call = provider.backend.encode(&asked, target);
            let mut call = call.map_err(|error| Failed::new(Failure::Rejected, error))?;
            if asked.chat().is_some() {
                call.add_fields(added);
            }
            call
        }
    };
    drop(asked);
    scope::keep(provider, &mut call, job);
    urgency::tell(provider, &mut call, job);
    if !is_unload(&job.request) {
        // What the gateway writes itself has only the options that were read.
        let may_say = is_carried || says_options(&job.request);
        provider.pin(&mut call, &model, may_say);
    }
    Ok((call.into(), model))
}
