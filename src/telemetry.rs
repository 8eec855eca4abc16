//! Logs, metrics and traces: every internal event is a struct whose `emit` writes its log line and
//! updates its metric together, so that the two always agree and the deciding code stays readable.
//!
//! It owns the closed sets of labels. It never takes prompts, answers or keys, or a label that a
//! caller could choose.
//!
//! The one thing to know: a request is counted once, by [`RequestEnded`], and an upstream call
//! once, by [`AttemptEnded`]; nothing else counts either. The console's data about single requests
//! is in [`journal`].

mod caching;
mod events;
mod facts;
mod floods;
mod health;
pub mod journal;
mod keys;
mod limits;
mod loads;
pub mod logging;
pub mod metrics;
mod operator;
pub mod otel;
mod outcome;
mod redis;
mod reload;
pub mod settings;
mod steps;

pub use caching::CacheResult;
pub use events::{
    Admitted, AttemptEnded, AttemptOutcome, FellBack, ProviderState, Retried, TokensUsed,
    UpstreamCancelled,
};
pub use facts::{ActorKind, RequestBegan, RequestEnded, Timing};
pub use floods::RequestRefused;
pub use health::{
    BreakerClosed, BreakerOpened, CallsTakeTurns, HealthChanged, HealthChecked, RequestQuarantined,
    Restarted,
};
pub use keys::{KeysState, WaitPredicted};
pub use limits::{LimitDecision, Limited};
pub use loads::{LoadedBy, ModelLoaded, ModelsLoaded};
pub use operator::{OperatorActed, OperatorRefused};
pub use outcome::Outcome;
pub use redis::{RedisConnected, RedisDisconnected, RedisOperated, RedisOutcome};
pub use reload::{ConfigRead, ConfigRefused};
pub use steps::{AnswerBegan, CallBegan, RequestWaits};
