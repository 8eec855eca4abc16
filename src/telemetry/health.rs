//! What is not well, and what is again: providers that are left alone, actors that died. Each is a warning or an error
//! in the log.

use super::events::AttemptOutcome;
use super::facts::ActorKind;
use super::journal::{FailureKind, JOURNAL};
use super::metrics::METRICS;

/// A provider, or one of its models, is left alone for a while.
#[derive(Debug)]
pub struct BreakerOpened<'a> {
    /// The provider.
    pub provider: &'a str,
    /// How the attempt ended that was one failure too many.
    pub outcome: AttemptOutcome,
}

impl BreakerOpened<'_> {
    /// Counts it and writes the line: an error when only the operator can help.
    pub fn emit(self) {
        METRICS.breaker_shifts.with_label_values(&[self.provider, "open"]).inc();
        let (level, what) = match self.outcome {
            AttemptOutcome::Auth => {
                (log::Level::Error, "it does not accept the gateway's credentials")
            }
            AttemptOutcome::Ok
            | AttemptOutcome::Connect
            | AttemptOutcome::Reset
            | AttemptOutcome::Timeout
            | AttemptOutcome::RateLimited
            | AttemptOutcome::Overloaded
            | AttemptOutcome::Rejected
            | AttemptOutcome::Failed
            | AttemptOutcome::Broken
            | AttemptOutcome::Cancelled => (log::Level::Warn, "it keeps failing"),
        };
        log::log!(
            target: "breaker",
            level,
            provider = self.provider,
            outcome = self.outcome.as_str();
            "a provider is left alone for a while: {what}"
        );
        let message = format!("left alone for a while: {what} ({})", self.outcome.as_str());
        JOURNAL.failed(FailureKind::Breaker, Some(self.provider), &message);
    }
}

/// A provider was asked whether it works.
#[derive(Debug)]
pub struct HealthChecked<'a> {
    /// The provider.
    pub provider: &'a str,
    /// Whether it answered.
    pub passed: bool,
}

impl HealthChecked<'_> {
    /// Counts the check.
    pub fn emit(self) {
        let outcome = if self.passed { "passed" } else { "failed" };
        METRICS.health_checks.with_label_values(&[self.provider, outcome]).inc();
    }
}

/// A provider began or ceased to answer its health checks.
#[derive(Debug)]
pub struct HealthChanged<'a> {
    /// The provider.
    pub provider: &'a str,
    /// Whether it has failed as often as is allowed.
    pub is_failing: bool,
    /// What happened, when it failed.
    pub why: Option<&'a str>,
}

impl HealthChanged<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let (level, what) = if self.is_failing {
            (log::Level::Warn, "a provider fails its health checks and is left alone")
        } else {
            (log::Level::Info, "a provider passes its health checks")
        };
        log::log!(
            target: "health",
            level,
            provider = self.provider,
            why = self.why.unwrap_or("-");
            "{what}"
        );
    }
}

/// A request made a model fail again and again, and is turned away for a while.
#[derive(Debug)]
pub struct RequestQuarantined<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The model.
    pub model: &'a str,
    /// Whose request it is.
    pub caller: &'a str,
}

impl RequestQuarantined<'_> {
    /// Writes the line.
    pub fn emit(self) {
        log::warn!(
            target: "quarantine",
            provider = self.provider,
            model = self.model,
            caller = self.caller;
            "a request is in quarantine: it made the model fail again and again"
        );
    }
}

/// A provider, or one of its models, that was left alone is asked again by everybody.
#[derive(Debug)]
pub struct BreakerClosed<'a> {
    /// The provider.
    pub provider: &'a str,
}

impl BreakerClosed<'_> {
    /// Counts it and writes the line, which ends what [`BreakerOpened`] began.
    pub fn emit(self) {
        METRICS.breaker_shifts.with_label_values(&[self.provider, "closed"]).inc();
        log::warn!(target: "breaker", provider = self.provider; "a provider works again");
    }
}

/// An actor was found dead, which only a panic does, and is started again.
#[derive(Debug)]
pub struct Restarted<'a> {
    /// What it was.
    pub actor: ActorKind,
    /// The provider it worked for; `None` for a router.
    pub provider: Option<&'a str>,
}

impl Restarted<'_> {
    /// Counts the restart and writes its line.
    pub fn emit(self) {
        METRICS.restarts.with_label_values(&[self.actor.as_str()]).inc();
        log::error!(
            target: "actor",
            actor = self.actor.as_str(),
            provider = self.provider.unwrap_or("-");
            "an actor died and is started again"
        );
        let message = format!("a {} died and is started again", self.actor.as_str());
        JOURNAL.failed(FailureKind::Actor, self.provider, &message);
    }
}
