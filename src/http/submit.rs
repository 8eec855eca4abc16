//! Makes the job for a request that was read.
//!
//! The one thing to know: a job refers to nothing of the client's connection. It holds only what
//! the exchange knows and what the handler read.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::exchange::Exchange;
use super::request_options::RequestOptions;
use crate::chat::{Ask, Carry};
use crate::job::{Answer, Caller, Job, Upload};
use crate::policy::DataPolicy;

/// A request as its handler read it.
pub(super) struct Order {
    /// What is asked.
    pub ask: Arc<Ask>,
    /// The request as it came, if it can be carried.
    pub carry: Option<Arc<Carry>>,
    /// The body that is streamed to the provider, if it is not held.
    pub upload: Option<Upload>,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// What the headers say.
    pub options: RequestOptions,
    /// Whether its content must stay local for another reason than its headers.
    pub is_local: bool,
}

impl Order {
    /// The job, and where its answer will be.
    pub fn into_job(self, exchange: &mut Exchange) -> (Job, oneshot::Receiver<Answer>) {
        let Self { ask, carry, upload, caller, options, is_local } = self;
        let track = exchange.begun(&ask);
        let request_id = Arc::clone(&exchange.request_id);
        let (job, answer) = Job::new(request_id, ask, options.ranked(caller));
        let job = Job {
            id: exchange.id,
            carry,
            upload,
            trace: exchange.trace.clone(),
            policy: (options.local || is_local).then_some(DataPolicy::Local),
            arrived: exchange.arrived,
            deadline: options.timeout.map(|timeout| exchange.arrived + timeout),
            place: exchange.place.clone(),
            route: exchange.route.clone(),
            track,
            ..job
        };
        (job, answer)
    }
}
