//! What is remembered of failures, and told to those who are turned away on account of them.
//!
//! Owns the last cause of each model and of the whole provider, and the answer to requests in quarantine. What a failure
//! counts is `evidence.rs`'s to say; what follows from it is `verdict.rs`'s.
//!
//! The one thing to know: a cause reaches callers who have nothing to do with the request that met it. Whoever ends an
//! attempt sees to it that the words quote nobody's request.

use std::sync::Arc;
use std::time::Instant;

use super::{Arrival, Ended, Gate, Moment};
use crate::admission::breaker::{Breaker, Permission};
use crate::admission::line::Lane;
use crate::admission::refusal::{Refusal, RefusalReason};

/// Different callers or models whose requests must be refused before our credentials are to blame, where nobody can be asked.
pub(super) const MOST_DOUBTS: usize = 3;

impl<W> Gate<W> {
    /// Whether requests need to be told apart at the door, because one was in quarantine lately.
    pub fn has_quarantine(&self) -> bool {
        !self.quarantine.is_empty()
    }

    /// Turns a request in quarantine away.
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

    /// Notes what went wrong, for whoever is turned away because of it.
    pub(super) fn remember(&mut self, lane: Lane, ended: Ended, cause: Option<Arc<str>>) {
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

    /// What a refusal stands on.
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
