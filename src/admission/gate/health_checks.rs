//! What a health check means for a gate: a provider that does not answer gets no requests, one that
//! answers again is tried soon.
//!
//! Owns the verdict on the checks; it does not make them. A check is not an attempt: it takes no
//! slot, changes no estimate and no limit, and never closes a breaker. Only answers to requests do.
//!
//! The trap: a check that passes says that the server is up, not that a model there works. A
//! breaker that opened although all checks passed is therefore hastened only a little.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Gate, Moment, Wake};
use crate::chat::RefusalReason;

/// What a health check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The provider answered, whatever it said, short of 5xx.
    Passed,
    /// The provider did not answer, or answered 5xx.
    Failed,
}

/// The health of a provider according to the checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// No check was made, or a request was answered since the checks failed.
    #[default]
    Unknown,
    /// The provider answers.
    Passing,
    /// As many checks in a row failed as are allowed.
    Failing,
}

/// While checks pass, no model's breaker stays open longer than this, so that with a check every
/// ten seconds a model is tried within half a minute of its recovery, and a broken one still gets
/// few attempts.
const LONGEST_WHILE_PASSING: Duration = Duration::from_secs(15);

impl<W> Gate<W> {
    /// Records a health check; `most` failures in a row open the provider's breaker. Returns the
    /// health if it has changed.
    pub fn checked(
        &mut self,
        check: Check,
        most: u32,
        cause: Option<Arc<str>>,
        at: &mut Moment<'_>,
        wakes: &mut Vec<Wake<W>>,
    ) -> Option<Health> {
        let before = self.health;
        match check {
            Check::Passed => {
                // After an outage, any model that failed during it may work again.
                let wait =
                    if before == Health::Failing { Duration::ZERO } else { LONGEST_WHILE_PASSING };
                self.failed_checks = 0;
                self.health = Health::Passing;
                self.breaker.hasten(Duration::ZERO, at.now);
                self.models.hasten(wait, at.now);
            }
            Check::Failed => {
                self.failed_checks = self.failed_checks.saturating_add(1);
                if self.failed_checks >= most.max(1) {
                    self.health = Health::Failing;
                    self.cause = cause.or(self.cause.take());
                    let unit = (at.unit)();
                    if self.breaker.trip(at.now, unit) {
                        self.empty(None, RefusalReason::BreakerOpen, at, wakes);
                    }
                }
            }
        }
        (self.health != before).then_some(self.health)
    }

    /// Whether the breaker of the provider or of one of its models is open, so that a check would
    /// be useful.
    pub fn is_left_alone(&self, now: Instant) -> bool {
        let models = self.models.iter().map(|(_, model)| &model.breaker);
        models.chain([&self.breaker]).any(|breaker| breaker.is_waiting(now))
    }

    /// An attempt has succeeded: the provider works, even if checks failed.
    pub(super) fn works(&mut self) {
        self.failed_checks = 0;
        self.doubts.clear();
        if self.health == Health::Failing {
            self.health = Health::Unknown;
        }
    }
}
