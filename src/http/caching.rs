//! Reuse of answers: takes a request through the cache, between reading and router.
//!
//! It owns the headers about caching, and what each claim of [`crate::cache`] means for a job. It
//! refuses unknown words, and never answers a request that the caller could not have made: the
//! routing rules, with scope and data policy, apply first.
//!
//! The one thing to know: a request that leads a call reads the answer like every request that
//! joined, so its disconnect or deadline affects only itself.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, HeaderMap};
use actix_web::web::Data;

use super::Front;
use super::shard;
use crate::cache::entry::Entry;
use crate::cache::key::Runner;
use crate::cache::{Asked as Claiming, CacheControl, Claim, follow};
use crate::chat::GatewayError;
use crate::dialect::carried::is_plain;
use crate::job::{Candidate, Job};
use crate::provider::way::Way;
use crate::router::Routing;
use crate::router::route::{Asked, Plan, Wants};
use crate::telemetry::CacheResult;

/// The header with which a client accepts a reused answer although a new one would differ.
const ALLOW: &str = "x-gateway-cache";

/// Reads a request's wishes about reused answers: `Cache-Control` and `x-gateway-cache: allow`.
///
/// # Errors
///
/// `InvalidRequest` when `x-gateway-cache` has another value.
pub(super) fn cache_control(headers: &HeaderMap) -> Result<CacheControl, GatewayError> {
    let values = headers.get_all(CACHE_CONTROL).filter_map(|value| value.to_str().ok());
    let mut control = CacheControl::default();
    for directive in values.flat_map(|value| value.split(',')) {
        match directive.trim().to_ascii_lowercase().as_str() {
            "no-cache" | "max-age=0" => control.fresh = true,
            "no-store" => control.alone = true,
            // Other directives are about other caches.
            _ => {}
        }
    }
    match headers.get(ALLOW).map(|value| value.as_bytes().trim_ascii()) {
        None => {}
        Some(b"allow") => control.any = true,
        Some(_) => {
            let message = "x-gateway-cache: the only word that a request may say is `allow`";
            return Err(GatewayError::invalid(message));
        }
    }
    Ok(control)
}

/// Answers the job from the cache, lets it share a call, or hands it to the router.
pub(super) fn enter(mut job: Job, control: CacheControl, front: &Data<Front>) {
    // A client that asks for the route wants the request to take it.
    // Nor is a request answered from the cache that changes something at its provider.
    let changes_state = job.carry.as_ref().is_some_and(|carry| carry.changes_state);
    if job.route.is_some() || changes_state || !front.cache.concerns(&job.request, control) {
        return shard::enter(job, front);
    }
    let routing = front.routing();
    // The router refuses requests without a candidate.
    let Ok(plan) = plan(&job, &routing) else { return shard::enter(job, front) };
    job.policy = plan.policy;
    // Named to a client whose deadline passes. The router chooses by itself, and the answer is
    // stored under its choice.
    job.candidates = plan.candidates;
    let runners: Vec<Runner<'_>> =
        job.candidates.iter().filter_map(|candidate| runner(candidate, &job, &routing)).collect();
    let (ask, policy) = (&job.request, job.policy);
    let mut providers = runners.iter().filter_map(|runner| routing.provider(runner.provider));
    let is_carried = providers.any(|provider| matches!(provider.way(&job), Way::Carried(_)));
    if is_carried {
        job.place.carry();
    }
    let carry = job.carry.as_deref().filter(|carry| is_carried && !is_plain(carry));
    let caller = &job.caller;
    let claim =
        front.cache.claim(Claiming { ask, carry, caller, policy, runners: &runners, control });
    match claim {
        None => shard::enter(job, front),
        Some(Claim::Hit(candidate, entry)) => replay(job, candidate, &entry),
        Some(Claim::Joined(reader)) => {
            CacheResult::Shared.emit();
            let again = again(control, front);
            drop(actix::spawn(follow::follow(reader, job, Some(CacheResult::Shared), again)));
        }
        Some(Claim::Leads { writer, keeper, reader }) => {
            let result = keeper.stores.is_some().then_some(CacheResult::Miss);
            let submit = {
                let front = front.clone();
                move |job| shard::enter(job, &front)
            };
            drop(actix::spawn(follow::lead(writer, keeper, job.for_several(), submit)));
            drop(actix::spawn(follow::follow(reader, job, result, again(control, front))));
        }
    }
}

/// Whether the job's content must stay local. A job that no candidate may answer counts as such.
pub(super) fn stays_local(job: &Job, front: &Front) -> bool {
    plan(job, &front.routing()).map_or(true, |plan| plan.policy.is_some())
}

/// Takes a job that cannot share after all.
fn again(control: CacheControl, front: &Data<Front>) -> impl FnOnce(Job) + use<> {
    let front = front.clone();
    move |job| enter(job, control, &front)
}

fn replay(mut job: Job, candidate: Candidate, entry: &Entry) {
    CacheResult::Hit.emit();
    job.tried.turn_to(candidate);
    job.tried.dropped.clone_from(&entry.dropped);
    job.tried.cache = Some(CacheResult::Hit);
    drop(actix::spawn(follow::replay(job, entry.events())));
}

/// The candidates for the job. Expected waits are ignored: it does not matter which of several
/// equals comes first.
fn plan(job: &Job, routing: &Routing) -> Result<Plan, GatewayError> {
    let asked = Asked {
        model: job.request.model(),
        hint: job.request.hint(),
        policy: job.policy,
        caller: &job.caller,
        wants: Wants::Model,
    };
    let model = asked.model.unwrap_or_default();
    let wait = |name: &str, _: Option<&str>| {
        let provider = routing.provider(name)?;
        (!provider.lacks_model(model)).then_some(Duration::ZERO)
    };
    routing.routes.plan(asked, &mut |below| fastrand::u32(..below), &wait)
}

/// The runner of a candidate that can answer the job.
fn runner<'a>(candidate: &'a Candidate, job: &Job, routing: &'a Routing) -> Option<Runner<'a>> {
    let provider = routing.provider(&candidate.provider)?;
    let can_answer = provider.lacks(job).is_none();
    can_answer.then(|| Runner {
        provider: &candidate.provider,
        backend: provider.settings.backend.as_str(),
        base_url: provider.settings.base_url(),
        model: &candidate.model,
        manner: provider.manner(),
        part: candidate.part,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn said(lines: &[(&'static str, &'static str)]) -> Result<CacheControl, GatewayError> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        cache_control(&headers)
    }

    #[test]
    fn cache_control_directives_are_read_in_any_spelling() {
        let fresh = CacheControl { fresh: true, ..CacheControl::default() };
        let alone = CacheControl { alone: true, ..CacheControl::default() };
        assert_eq!(said(&[]).unwrap(), CacheControl::default());
        assert_eq!(said(&[("cache-control", "No-Cache")]).unwrap(), fresh);
        assert_eq!(said(&[("cache-control", "max-age=0, private")]).unwrap(), fresh);
        assert_eq!(said(&[("cache-control", "private,no-store")]).unwrap(), alone);
        let both = [("cache-control", "no-cache"), ("cache-control", "no-store")];
        assert_eq!(said(&both).unwrap(), CacheControl { fresh: true, ..alone });
        assert_eq!(said(&[("cache-control", "max-age=60")]).unwrap(), CacheControl::default());
    }

    #[test]
    fn a_client_that_samples_may_allow_reuse_and_other_words_are_refused() {
        assert!(said(&[("x-gateway-cache", "allow")]).unwrap().any);
        assert!(said(&[("x-gateway-cache", "force")]).is_err());
    }
}
