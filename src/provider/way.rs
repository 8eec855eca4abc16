//! Which way a request goes at a provider: passed on as it came, or said in the gateway's words.
//!
//! It owns that decision, made for each candidate by itself: who cannot answer, how an answer is shared, what is sent,
//! who reads the answer and what is told about it all follow it. It refuses nothing.
//!
//! The one thing to know: the way may change while a job lives. What goes on with an answer that broke off is said in
//! the gateway's words, since the two must be compared.

use std::time::Duration;

use super::Provider;
use crate::backend::{Decoder, SystemPlace, Target, carry};
use crate::chat::{Ask, Carry, ChatRequest, Endpoint, Role};
use crate::job::Job;

/// The way of one request at one provider.
#[derive(Debug, Clone, Copy)]
pub enum Way<'a> {
    /// As it came.
    Carried(&'a Carry),
    /// In the gateway's words.
    Translated(Why),
}

/// Why a request is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It has no form that any provider could be passed: the gateway's own API, or a turn that the gateway remembers.
    Own,
    /// The provider does not speak the API that it was made in.
    Api,
    /// It has system texts in several places, and the operator says that this provider takes one.
    System,
    /// It goes on with an answer of which the client has a part.
    Resumed,
}

/// What comes first of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// A piece of it, since providers are asked to stream even what the client reads whole.
    Piece,
    /// All of it: it is carried, and the client wants no stream.
    Whole,
}

impl Way<'_> {
    /// The word for it, with the reason.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::Carried(_) => "carried",
            Self::Translated(Why::Own) => "translated (own)",
            Self::Translated(Why::Api) => "translated (apis)",
            Self::Translated(Why::System) => "translated (system)",
            Self::Translated(Why::Resumed) => "translated (resumed)",
        }
    }
}

impl Provider {
    /// Which way the job goes here.
    #[must_use]
    pub fn way<'a>(&self, job: &'a Job) -> Way<'a> {
        let Some(carry) = job.carry.as_deref() else { return Way::Translated(Why::Own) };
        if !self.settings.speaks(carry.endpoint) {
            return Way::Translated(Why::Api);
        }
        if job.tried.cut.is_some() {
            return Way::Translated(Why::Resumed);
        }
        // What nobody has words for can only go as it came.
        let is_told = self.settings.system == Some(SystemPlace::First) && carry.refusal.is_none();
        match job.request.chat() {
            Some(chat) if is_told && carry.endpoint == Endpoint::OpenAiChat && is_late(chat) => {
                Way::Translated(Why::System)
            }
            Some(_) | None => Way::Carried(carry),
        }
    }

    /// What the job wants and this kind of provider has no word for.
    #[must_use]
    pub fn lacks(&self, job: &Job) -> Option<&'static str> {
        match self.way(job) {
            Way::Carried(_) => None,
            Way::Translated(_) => {
                // The tokens of what nobody understands can be estimated all the same.
                let is_counted = matches!(&*job.request, Ask::CountTokens(_));
                let refusal = job.refusal().filter(|_| !is_counted);
                let refused = refusal.map(|_| "word for a part of this");
                self.backend.lacks(&job.request).or(refused)
            }
        }
    }

    /// Who reads the answer to the job, and how long its first event may take.
    pub(super) fn reading(&self, job: &Job, model: &str) -> (Box<dyn Decoder>, First) {
        let seed = u64::from_le_bytes(*job.id.as_bytes().first_chunk().unwrap_or(&[0; 8]));
        match self.way(job) {
            Way::Translated(_) => (self.backend.decoder(&job.request, seed), First::Piece),
            Way::Carried(carry) => {
                let is_whole = carry.endpoint.generates() && !carry.stream;
                let first = if is_whole { First::Whole } else { First::Piece };
                let target = (self.target(model, None), job.tried.fell_back);
                (carry::decoder(carry, &job.request, target, seed), first)
            }
        }
    }

    /// How long that may take, and what is said when it takes longer.
    pub(super) fn first(&self, first: First) -> (Duration, &'static str) {
        match first {
            First::Piece => (self.settings.first_event(), "did not begin to answer in time"),
            First::Whole => (self.settings.whole(), "did not finish a whole answer in time"),
        }
    }

    /// This model here, and how it is asked.
    pub(super) fn target<'a>(&'a self, model: &'a str, thinks: Option<bool>) -> Target<'a> {
        Target { model, api_key: self.api_key(), thinks, quirks: self.quirks }
    }
}

/// Whether there is a system text anywhere but at the very beginning.
fn is_late(chat: &ChatRequest) -> bool {
    chat.messages.iter().skip(1).any(|message| message.role == Role::System)
}
