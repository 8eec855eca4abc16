//! What is known of the providers at the moment at which a job is routed.
//!
//! Owns nothing but the note of whose lists of models are old; what is known is the providers' own.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Routing;
use super::route::Outlook;
use crate::admission::remembered::affinity::Affinity;
use crate::chat::Listing;
use crate::job::Job;
use crate::provider::Provider;

/// The lists of models of equals are refreshed before a choice when they are older than this.
const STALE: Duration = Duration::from_secs(30);

/// The providers as this job finds them.
pub(super) struct Present<'a> {
    routing: &'a Routing,
    job: &'a Job,
    unheard: RefCell<Vec<Arc<Provider>>>,
}

impl<'a> Present<'a> {
    pub(super) fn new(routing: &'a Routing, job: &'a Job) -> Self {
        Self { routing, job, unheard: RefCell::default() }
    }

    /// The equals whose lists were old when they were compared.
    pub(super) fn unheard(self) -> Vec<Arc<Provider>> {
        self.unheard.into_inner()
    }
}

impl Outlook for Present<'_> {
    fn wait(&self, provider: &str, target: Option<&str>) -> Option<Duration> {
        let provider = self.routing.provider(provider)?;
        if let Some(model) = target {
            return Some(provider.expected_wait(model, self.job));
        }
        let model = self.job.request.model().unwrap_or_default();
        if !provider.catalogue.list(Listing::Installed).is_younger(STALE, Instant::now()) {
            self.unheard.borrow_mut().push(Arc::clone(provider));
        }
        (!provider.lacks_model(model)).then(|| provider.expected_wait(model, self.job))
    }

    fn affinity(&self, provider: &str, model: &str) -> Option<Affinity> {
        self.routing.provider(provider)?.affinity(model, self.job)
    }
}
