//! One request, for operators. Times are in milliseconds.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{clipped, kept, millis, now};
use crate::chat::Reason;
use crate::telemetry::{Outcome, RequestEnded};

/// The phase of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It is on its way to a provider.
    Begin,
    /// It waits in a provider's line.
    Wait,
    /// A provider was called.
    Call,
    /// The first piece of the answer arrived.
    First,
    /// It ended.
    End,
}

impl Phase {
    /// Whether no provider has been called yet.
    pub(super) fn is_before_call(self) -> bool {
        match self {
            Self::Begin | Self::Wait => true,
            Self::Call | Self::First | Self::End => false,
        }
    }

    /// Whether a provider works on it.
    pub(super) fn is_running(self) -> bool {
        match self {
            Self::Call | Self::First => true,
            Self::Begin | Self::Wait | Self::End => false,
        }
    }
}

/// The most steps kept of one request.
const STEPS: usize = 24;

/// A step of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// How long after the arrival.
    pub at_ms: u64,
    /// What happened.
    pub phase: StepKind,
    /// Where.
    pub provider: Option<Arc<str>>,
    /// The model there.
    pub model: Option<Arc<str>>,
    /// Why a call failed.
    pub cause: Option<Box<str>>,
}

/// The kind of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// It began to wait in a line.
    Wait,
    /// A provider was called.
    Call,
    /// The call failed.
    Failed,
    /// The answer began.
    First,
}

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Distinguishes requests whose clients chose the same id.
    pub number: u64,
    /// The journal's version at the latest change.
    #[serde(skip)]
    pub(super) version: u64,
    /// When it arrived, since 1970.
    pub at: u64,
    /// Its id.
    pub request_id: Arc<str>,
    /// The name of the caller's key.
    pub caller: Option<Arc<str>>,
    /// Its dialect.
    pub dialect: &'static str,
    /// The model name that the client sent.
    pub asked: Option<Arc<str>>,
    /// The provider that has it or had it last.
    pub provider: Option<Arc<str>>,
    /// The model at that provider.
    pub model: Option<Arc<str>>,
    /// Its phase.
    pub phase: Phase,
    /// Calls made to any provider.
    pub attempts: u32,
    /// Whether another call continued an answer that broke off.
    pub is_resumed: bool,
    /// Time spent in lines.
    pub queue_ms: Option<u64>,
    /// The part of it that was spent waiting for loads of the model.
    pub load_ms: Option<u64>,
    /// Until the first piece of the answer.
    pub first_ms: Option<u64>,
    /// Until the end.
    pub total_ms: Option<u64>,
    /// Prompt tokens, as counted by the provider.
    pub prompt_tokens: Option<u64>,
    /// Completion tokens, as counted by the provider.
    pub completion_tokens: Option<u64>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Option<&'static str>,
    /// The error's code.
    pub code: Option<&'static str>,
    /// The reason, if it was turned away.
    pub reason: Option<Reason>,
    /// What happened to it between its arrival and its end, first to last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// The error of the latest failed call.
    #[serde(skip)]
    pub(super) last_error: Option<Box<str>>,
}

impl Entry {
    pub(super) fn new(number: u64, at: u64, id: &Arc<str>, dialect: &'static str) -> Self {
        Self {
            number,
            version: 0,
            at,
            request_id: kept(id),
            caller: None,
            dialect,
            asked: None,
            provider: None,
            model: None,
            phase: Phase::Begin,
            attempts: 0,
            is_resumed: false,
            queue_ms: None,
            load_ms: None,
            first_ms: None,
            total_ms: None,
            prompt_tokens: None,
            completion_tokens: None,
            status: None,
            outcome: None,
            code: None,
            reason: None,
            steps: Vec::new(),
            last_error: None,
        }
    }

    /// It waits in a provider's line.
    pub fn waits(&mut self, provider: &Arc<str>, model: &Arc<str>) {
        self.phase = Phase::Wait;
        self.at_provider(provider, model);
        self.step(StepKind::Wait, None);
    }

    /// A provider was called, in the `attempts`th call for this request; the phase stays if the
    /// call continues an answer.
    pub fn called(&mut self, who: (&Arc<str>, &Arc<str>), attempts: u32, queued: Duration) {
        self.phase = if self.first_ms.is_none() { Phase::Call } else { Phase::First };
        self.at_provider(who.0, who.1);
        self.attempts = attempts;
        self.queue_ms = Some(millis(queued));
        self.step(StepKind::Call, None);
    }

    /// The first piece arrived.
    pub fn answers(&mut self, after: Duration) {
        self.phase = Phase::First;
        self.first_ms = Some(millis(after));
        self.step(StepKind::First, None);
    }

    /// A call failed.
    pub fn failed(&mut self, cause: &str) {
        self.last_error = Some(Box::from(clipped(cause)));
        self.step(StepKind::Failed, Some(cause));
    }

    /// Whether it ended without a call: refused, or given up before its turn.
    pub(super) fn is_turned_away(&self) -> bool {
        let is_refused = self.outcome.is_some_and(|outcome| {
            let others = [Outcome::Ok, Outcome::UpstreamError, Outcome::Timeout];
            others.iter().all(|other| outcome != other.as_str())
        });
        self.phase == Phase::End && self.attempts == 0 && is_refused
    }

    pub(super) fn ended(mut self, version: u64, ended: &RequestEnded<'_>) -> Self {
        self.version = version;
        self.phase = Phase::End;
        self.caller = ended.caller.cloned();
        self.provider = ended.provider.map(kept).or(self.provider);
        self.model = ended.model.map(kept).or(self.model);
        self.attempts = self.attempts.max(ended.attempts);
        self.is_resumed = ended.is_resumed;
        self.queue_ms = ended.provider.map(|_| millis(ended.timing.queued)).or(self.queue_ms);
        self.load_ms = ended.timing.load.map(millis);
        self.first_ms = ended.timing.first.map(millis);
        self.total_ms = Some(millis(ended.timing.total));
        self.prompt_tokens = ended.usage.prompt;
        self.completion_tokens = ended.usage.completion;
        self.status = Some(ended.status);
        self.outcome = Some(ended.outcome.as_str());
        self.code = ended.code;
        self.reason = ended.reason;
        self
    }

    fn step(&mut self, phase: StepKind, cause: Option<&str>) {
        if self.steps.len() < STEPS {
            let at_ms = now().saturating_sub(self.at);
            let (provider, model) = (self.provider.clone(), self.model.clone());
            let cause = cause.map(|cause| Box::from(clipped(cause)));
            self.steps.push(Step { at_ms, phase, provider, model, cause });
        }
    }

    fn at_provider(&mut self, provider: &Arc<str>, model: &Arc<str>) {
        self.provider = Some(kept(provider));
        self.model = Some(kept(model));
    }
}
