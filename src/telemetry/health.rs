//! The health of providers and actors: open breakers, failing checks, quarantines, restarts. Each
//! is a line in the log.

use super::events::AttemptOutcome;
use super::facts::ActorKind;
use super::journal::{FailureKind, JOURNAL};
use super::metrics::METRICS;

/// The breaker of a provider or of one of its models opened.
#[derive(Debug)]
pub struct BreakerOpened<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The outcome of the attempt that opened it.
    pub outcome: AttemptOutcome,
}

impl BreakerOpened<'_> {
    /// Counts it and writes the line, as an error if only the operator can help.
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

/// A health check of a provider ended.
#[derive(Debug)]
pub struct HealthChecked<'a> {
    /// The provider.
    pub provider: &'a str,
    /// Whether it passed.
    pub passed: bool,
}

impl HealthChecked<'_> {
    /// Counts the check.
    pub fn emit(self) {
        let outcome = if self.passed { "passed" } else { "failed" };
        METRICS.health_checks.with_label_values(&[self.provider, outcome]).inc();
    }
}

/// A provider began to pass or to fail its health checks.
#[derive(Debug)]
pub struct HealthChanged<'a> {
    /// The provider.
    pub provider: &'a str,
    /// Whether it has failed the configured number of checks.
    pub is_failing: bool,
    /// The error, if it failed.
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

/// A request made a model fail repeatedly, and is refused for a while.
#[derive(Debug)]
pub struct RequestQuarantined<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The model.
    pub model: &'a str,
    /// The caller of the request.
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

/// The breaker of a provider or of one of its models closed.
#[derive(Debug)]
pub struct BreakerClosed<'a> {
    /// The provider.
    pub provider: &'a str,
}

impl BreakerClosed<'_> {
    /// Counts it and writes the line, at the level of [`BreakerOpened`].
    pub fn emit(self) {
        METRICS.breaker_shifts.with_label_values(&[self.provider, "closed"]).inc();
        log::warn!(target: "breaker", provider = self.provider; "a provider works again");
    }
}

/// Calls take as many times longer as more of them run: they take turns in the server.
#[derive(Debug)]
pub struct CallsTakeTurns<'a> {
    /// The provider.
    pub provider: &'a str,
    /// How many of its calls ran at one time.
    pub calls: u32,
    /// How many times as long as alone each of them took.
    pub times: f64,
}

impl CallsTakeTurns<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let Self { provider, calls, times } = self;
        log::warn!(
            target: "llm_gateway",
            "provider `{provider}`: with {calls} at one time its calls take {times:.1} times as long as alone, so \
             they take turns there, where nothing is fair or bounded: lower max_concurrency, or let the server run \
             more at one time (OLLAMA_NUM_PARALLEL, --parallel)"
        );
    }
}

/// An actor died, which only a panic causes, and is restarted.
#[derive(Debug)]
pub struct Restarted<'a> {
    /// The kind of actor.
    pub actor: ActorKind,
    /// Its provider; `None` for a router.
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
