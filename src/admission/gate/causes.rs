//! The causes of failures, kept for the refusals that follow from them.
//!
//! Owns the last cause of each model and of the whole provider, and the answer to requests in
//! quarantine. `evidence.rs` decides how much a failure counts; `verdict.rs` decides what follows.
//!
//! The one thing to know: a cause reaches callers who have nothing to do with the failed request.
//! The code that ends an attempt must make sure that the words quote no request.

use std::sync::Arc;
use std::time::Instant;

use super::{Arrival, Ended, Gate, Moment};
use crate::admission::breaker::{Breaker, Permission};
use crate::admission::line::Lane;
use crate::admission::refusal::Refusal;
use crate::chat::RefusalReason;

/// How many different callers or models must be refused before our credentials are blamed, where
/// the provider cannot be asked.
pub(super) const MOST_DOUBTS: usize = 3;

impl<W> Gate<W> {
    /// Whether arrivals need a digest of their request, because one was in quarantine lately.
    pub fn has_quarantine(&self) -> bool {
        !self.quarantine.is_empty()
    }

    /// Refuses a request in quarantine.
    pub(super) fn quarantined(
        &mut self,
        arrival: &Arrival,
        at: &mut Moment<'_>,
    ) -> Option<Refusal> {
        let (record, left) = self.quarantine.find(arrival.request?, &arrival.model, at.now)?;
        let cause =
            format!("it made `{}` fail {} times: {}", arrival.model, record.crashes, record.why);
        self.counters.refuse(RefusalReason::Quarantined, at.now);
        let refusal = Refusal::new(RefusalReason::Quarantined, left, (at.unit)());
        Some(Refusal { cause: Some(Arc::from(cause)), ..refusal })
    }

    /// Keeps a failure's cause for the refusals that follow from it.
    pub(super) fn keep_cause(&mut self, lane: Lane, ended: Ended, cause: Option<Arc<str>>) {
        let Some(cause) = cause else { return };
        match ended {
            Ended::Unreachable | Ended::AuthFailed => self.cause = Some(cause),
            Ended::AuthDoubted => {
                self.cause.get_or_insert(cause);
            }
            Ended::Failed { .. } | Ended::RateLimited { .. } | Ended::NotBegun => {
                if let Some(model) = self.models.get_mut(lane) {
                    model.cause = Some(cause);
                }
            }
            Ended::Success | Ended::Neutral | Ended::Unused => {}
        }
    }

    /// The earlier failure behind a refusal.
    pub(super) fn cause_of(
        &self,
        reason: RefusalReason,
        lane: Lane,
        now: Instant,
    ) -> Option<Arc<str>> {
        let model = self.models.get(lane);
        let of_model = || model.and_then(|model| model.cause.clone());
        let is_shut =
            |breaker: &Breaker| matches!(breaker.permission(now), Permission::Denied { .. });
        match reason {
            RefusalReason::BreakerOpen | RefusalReason::AuthFailed => {
                if is_shut(&self.breaker) {
                    self.cause.clone()
                } else {
                    of_model()
                }
            }
            RefusalReason::CoolingDown => of_model(),
            RefusalReason::QueueFull
            | RefusalReason::PredictedWait
            | RefusalReason::OverShare
            | RefusalReason::PushedOut
            | RefusalReason::WaitedTooLong
            | RefusalReason::DeadlinePassed => {
                model.filter(|model| model.unready.is_some()).and_then(|model| model.cause.clone())
            }
            RefusalReason::Quarantined | RefusalReason::Draining => None,
        }
    }
}
