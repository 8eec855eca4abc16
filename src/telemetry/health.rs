//! What is not well: providers that are left alone, actors that died. Each is a warning or an error in the log.

use super::events::AttemptOutcome;
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
    /// Writes the line: an error when only the operator can help.
    pub fn emit(self) {
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
    }
}

/// The kinds of actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// Hands jobs to providers on one worker.
    Router,
    /// Decides for one provider on one worker.
    Provider,
}

impl ActorKind {
    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Provider => "provider",
        }
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
    }
}
