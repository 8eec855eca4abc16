//! What a health check means for everybody: a provider that does not answer is left alone, one that answers again is
//! tried soon.
//!
//! Owns the verdict on the checks, not their making. A check is no attempt: it takes no slot, moves no estimate and no
//! limit, and it never closes a breaker, which only answers to requests do.
//!
//! What one would get wrong: a check that passes says that the server lives, not that a model there works. A breaker
//! that opened although all checks passed is therefore hurried only a little.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Gate, Moment, Wake};
use crate::admission::refusal::RefusalReason;

/// What a health check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The provider answered, whatever it said, short of 5xx.
    Passed,
    /// It did not, or it said that it is broken.
    Failed,
}

/// What the checks say of a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// None was made, or its requests were answered since the checks failed.
    #[default]
    Unknown,
    /// It answers.
    Passing,
    /// It has failed as often in a row as is allowed.
    Failing,
}

/// While checks pass, no breaker of a model stays open longer than this, so that with a check every ten seconds a model
/// is tried within half a minute of its recovery, and still few attempts are made at a broken one.
const LONGEST_WHILE_PASSING: Duration = Duration::from_secs(15);

impl<W> Gate<W> {
    /// Takes note of a health check; `most` failures in a row open the provider's breaker. Says what the checks say now
    /// if that has changed.
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
                // It could not be reached, or not even asked whether it works: whatever broke then may be whole again.
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

    /// Whether the provider or one of its models is left alone, so that a check would be of use.
    pub fn is_left_alone(&self, now: Instant) -> bool {
        let models = self.models.iter().map(|(_, model)| &model.breaker);
        models.chain([&self.breaker]).any(|breaker| breaker.is_waiting(now))
    }

    /// An attempt has succeeded: the provider works, whatever the checks that failed said.
    pub(super) fn works(&mut self) {
        self.failed_checks = 0;
        self.doubts.clear();
        if self.health == Health::Failing {
            self.health = Health::Unknown;
        }
    }
}
