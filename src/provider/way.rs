//! How a request is sent to a provider: carried as it came, or translated.
//!
//! It owns that decision, which is made for each candidate: which candidates cannot answer, how an
//! answer is shared, what is sent, which decoder reads the answer and what the client is told all
//! follow from it. It refuses nothing.
//!
//! The one thing to know: the way may change during a job. A request that continues a broken answer
//! is translated, since the two answers must be compared.

use std::time::Duration;

use super::Provider;
use crate::backend::{Decoder, SystemPlace, Target, carry};
use crate::chat::{Ask, Carry, ChatRequest, Endpoint, Lane, RawRequest, Role};
use crate::job::{Job, MANAGING};

/// The way of one request at one provider.
#[derive(Debug, Clone, Copy)]
pub enum Way<'a> {
    /// The request is carried as it came.
    Carried(&'a Carry),
    /// The request is passed on without being understood.
    Raw(&'a RawRequest),
    /// The request is translated.
    Translated(Why),
}

/// Why a request is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No provider could take it as it came: it uses the gateway's own API, or a turn that the
    /// gateway stores.
    Own,
    /// The provider does not speak its API.
    Api,
    /// It has system texts in several places, and this provider accepts only one, according to the
    /// operator.
    System,
    /// It continues a partly delivered answer.
    Resumed,
}

/// The first part of an answer that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// A piece of it: providers are asked to stream even if the client reads a whole answer.
    Piece,
    /// All of it: the request is carried, and the client wants no stream.
    Whole,
    /// A piece of what is passed on without being understood: nobody knows whether it is streamed.
    Raw,
    /// A piece of what a provider says that installs a model, which may be silent for long.
    Managed,
}

impl Way<'_> {
    /// The way in one word, with the reason.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::Carried(_) => "carried",
            Self::Raw(_) => "passed on",
            Self::Translated(Why::Own) => "translated (own)",
            Self::Translated(Why::Api) => "translated (apis)",
            Self::Translated(Why::System) => "translated (system)",
            Self::Translated(Why::Resumed) => "translated (resumed)",
        }
    }
}

impl Provider {
    /// How the job is sent to this provider.
    #[must_use]
    pub fn way<'a>(&self, job: &'a Job) -> Way<'a> {
        if let Some(raw) = job.request.raw() {
            return if self.takes(raw) { Way::Raw(raw) } else { Way::Translated(Why::Api) };
        }
        let Some(carry) = job.carry.as_deref() else { return Way::Translated(Why::Own) };
        if !self.settings.speaks(carry.endpoint) {
            return Way::Translated(Why::Api);
        }
        if job.tried.cut.is_some() {
            return Way::Translated(Why::Resumed);
        }
        // A request that cannot be translated can only be carried.
        let is_told = self.settings.system == Some(SystemPlace::First) && carry.refusal.is_none();
        match job.request.chat() {
            Some(chat) if is_told && carry.endpoint == Endpoint::OpenAiChat && is_late(chat) => {
                Way::Translated(Why::System)
            }
            Some(_) | None => Way::Carried(carry),
        }
    }

    /// Whether requests of this lane may be passed on to it.
    fn takes(&self, raw: &RawRequest) -> bool {
        match raw.lane {
            Lane::Listed => {
                self.settings.passthrough.iter().any(|pattern| pattern.matches(&raw.path))
            }
            Lane::Management { .. } => self.settings.backend.installs_models(),
        }
    }

    /// The features that the job wants and this kind of provider cannot express.
    #[must_use]
    pub fn lacks(&self, job: &Job) -> Option<&'static str> {
        match self.way(job) {
            Way::Carried(_) | Way::Raw(_) => None,
            Way::Translated(_) => {
                // Tokens can be estimated even for content that the provider does not support.
                let is_counted = matches!(&*job.request, Ask::CountTokens(_));
                let refusal = job.refusal().filter(|_| !is_counted);
                let refused = refusal.map(|_| "word for a part of this");
                self.backend.unsupported(&job.request).or(refused)
            }
        }
    }

    /// The decoder for the job's answer, and what of it arrives first.
    pub(super) fn reading(&self, job: &Job, model: &str) -> (Box<dyn Decoder>, First) {
        let seed = u64::from_le_bytes(*job.id.as_bytes().first_chunk().unwrap_or(&[0; 8]));
        match self.way(job) {
            Way::Translated(_) => (self.backend.decoder(&job.request, seed), First::Piece),
            Way::Raw(raw) if raw.manages() => (carry::raw::decoder(), First::Managed),
            Way::Raw(_) => (carry::raw::decoder(), First::Raw),
            Way::Carried(carry) => {
                let is_whole = carry.endpoint.generates() && !carry.stream;
                let first = if is_whole { First::Whole } else { First::Piece };
                let target = (self.target(model, None), job.tried.fell_back);
                (carry::decoder(carry, &job.request, target, seed), first)
            }
        }
    }

    /// How long the first part may take, and the message when it takes longer.
    pub(super) fn first(&self, first: First) -> (Duration, &'static str) {
        match first {
            First::Piece => (self.settings.first_event(), "did not begin to answer in time"),
            First::Raw => (self.settings.whole(), "did not begin to answer in time"),
            First::Managed => (MANAGING, "did not begin to answer in time"),
            First::Whole => (self.settings.whole(), "did not finish a whole answer in time"),
        }
    }

    /// How long it may be silent within the answer to this job.
    pub(super) fn silence(&self, job: &Job) -> Duration {
        if job.request.manages() { self.settings.timeouts.total } else { self.settings.idle() }
    }

    /// The model at this provider, and how it is asked.
    pub(super) fn target<'a>(&'a self, model: &'a str, thinks: Option<bool>) -> Target<'a> {
        Target { model, api_key: self.api_key(), thinks, quirks: self.quirks }
    }
}

/// Whether there is a system text anywhere but at the beginning.
fn is_late(chat: &ChatRequest) -> bool {
    chat.messages.iter().skip(1).any(|message| message.role == Role::System)
}
