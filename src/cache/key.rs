//! Decides which requests are identical: digests over everything that is sent to a provider.
//!
//! It owns the list of fields that count. A question is the request, its caller and its data
//! policy; with the model that answers it becomes the key of an entry, with all candidates the key
//! of a call in flight.
//!
//! The one thing to know: requests are destructured without `..`, so that a new field does not
//! compile until it is decided whether it counts. Fields that only shape the answer (stream or not,
//! dialect, ids) do not.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::chat::{Ask, Carry, ChatRequest, EmbedRequest};
use crate::job::RoutePart;
use crate::policy::{DataPolicy, Priority};
use crate::wire::splice::compact;

/// The version of the digest and of the stored form. Replicas of different versions share a store,
/// so it is raised whenever one of the two changes.
const FORM: u32 = 2;

/// A digest of 256 bits: two different questions do not share one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// The scope in which a request may share answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Scope<'a> {
    /// The caller's name; `None` when callers share answers with each other.
    pub caller: Option<&'a str>,
    /// Where the content may go.
    pub policy: Option<DataPolicy>,
}

/// A model at a provider, with the settings that tell apart providers of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Runner<'a> {
    /// The configured name of the provider.
    pub provider: &'a str,
    /// The API that the provider speaks.
    pub backend: &'a str,
    /// The provider's address.
    pub base_url: &'a str,
    /// The model's name there.
    pub model: &'a str,
    /// The provider's settings that change every request, as text.
    pub manner: &'a str,
    /// Its part in the route. It does not change the answer, so it is not in a key.
    pub part: Option<RoutePart>,
}

impl Key {
    /// The digest of a request within a scope; `None` for requests whose answers are never reused.
    #[must_use]
    pub fn question(ask: &Ask, scope: Scope<'_>) -> Option<Self> {
        match ask {
            Ask::Chat(chat) => Self::chat(chat, scope),
            Ask::Embed(embed) => Self::embed(embed, scope),
            Ask::Show(_) | Ask::CountTokens(_) | Ask::Raw(_) => None,
        }
    }

    /// The key of a response that its caller may continue.
    #[must_use]
    pub fn response(caller: &str, id: &str) -> Option<Self> {
        Self::of(&(FORM, "response", caller, id))
    }

    /// The digest of a carried request: every byte except white space counts, and so does the form
    /// of the answer, since each client gets it as bytes.
    #[must_use]
    pub fn carried(carry: &Carry, scope: Scope<'_>) -> Option<Self> {
        // The body says whether it is streamed.
        let Carry {
            endpoint,
            body,
            headers,
            query,
            stream: _,
            form: _,
            may_be_plain: _,
            refusal: _,
            changes_state: _,
        } = carry;
        Self::of(&(FORM, "carried", scope, endpoint, compact(body), headers, query))
    }

    /// The key of this question's answer by `runner`.
    #[must_use]
    pub fn answered_by(self, runner: Runner<'_>) -> Self {
        self.with("entry", [runner].iter(), &[])
    }

    /// The key of this question in flight. `runners` are all candidates in order; of the order only
    /// the first model counts, since equals change places with the load.
    #[must_use]
    pub fn in_flight(self, runners: &[Runner<'_>], priority: Priority) -> Self {
        let first = runners.first().map_or("", |first| first.model);
        let mut sorted = runners.to_vec();
        sorted.sort_unstable();
        self.with("call", sorted.iter(), &[first, priority.as_str()])
    }

    fn chat(chat: &ChatRequest, scope: Scope<'_>) -> Option<Self> {
        let ChatRequest {
            // These select the model, which the runner names better.
            model: _,
            hint: _,
            // These only shape the answer.
            stream: _,
            shape: _,
            messages,
            suffix,
            is_prompt,
            sampling,
            tools,
            hosted,
            tool_choice,
            parallel_tool_calls,
            format,
            effort,
            thinking_display,
            logprobs,
            n,
            extra,
            // It changes no request, but the client is told about it.
            dropped,
        } = chat;
        let answers = (format, effort, thinking_display, logprobs, n);
        let tools = (tools, hosted, tool_choice, parallel_tool_calls);
        Self::of(&(
            FORM,
            "chat",
            scope,
            (messages, suffix, is_prompt),
            sampling,
            tools,
            answers,
            (extra, dropped),
        ))
    }

    fn embed(embed: &EmbedRequest, scope: Scope<'_>) -> Option<Self> {
        let EmbedRequest { model: _, hint: _, as_base64: _, input, dimensions, extra } = embed;
        Self::of(&(FORM, "embed", scope, input, dimensions, extra))
    }

    /// The digest of a value's JSON, which differs for any two values.
    fn of(value: &impl Serialize) -> Option<Self> {
        let mut digest = Sha256::new();
        serde_json::to_writer(&mut digest, value).ok()?;
        Some(Self(digest.finalize().into()))
    }

    /// A digest of this one and further values. Every text is hashed with its length, every list
    /// with its count.
    fn with<'a>(
        self,
        what: &str,
        runners: impl ExactSizeIterator<Item = &'a Runner<'a>>,
        more: &[&str],
    ) -> Self {
        let mut digest = Sha256::new();
        let mut text = |text: &str| {
            digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
            digest.update(text.as_bytes());
        };
        text(what);
        text(&runners.len().to_string());
        for Runner { provider, backend, base_url, model, manner, part: _ } in runners {
            [provider, backend, base_url, model, manner].into_iter().for_each(|part| text(part));
        }
        more.iter().for_each(|part| text(part));
        digest.update(self.0);
        Self(digest.finalize().into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({self})")
    }
}

#[cfg(test)]
mod tests;
