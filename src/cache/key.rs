//! What makes two requests the same: digests over everything that a provider would be asked.
//!
//! It owns the list of what counts. A question is what is asked, by whom and under which data policy; with who
//! answers it becomes the key of an entry, with everybody who may answer the key of a call in flight.
//!
//! The one thing to know: requests are taken apart without `..`, so that a new field does not compile until somebody
//! has decided whether it counts. What only shapes the answer (stream or not, dialect, ids) does not.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::chat::{Ask, Carry, ChatRequest, EmbedRequest};
use crate::job::RoutePart;
use crate::policy::{DataPolicy, Priority};
use crate::wire::splice::compact;

/// The form of what is digested and of what is stored under it. Replicas of different versions share a store, so it
/// is raised whenever one of them changes.
const FORM: u32 = 2;

/// A digest of 256 bits: two different questions do not have the same one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// Whose answers a request may share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Scope<'a> {
    /// The caller's name; `None` when callers share answers with each other.
    pub caller: Option<&'a str>,
    /// Where the content may go.
    pub policy: Option<DataPolicy>,
}

/// A model at a provider, with what tells one provider from another of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Runner<'a> {
    /// The configured name of the provider.
    pub provider: &'a str,
    /// How it is spoken to.
    pub backend: &'a str,
    /// Where it is.
    pub base_url: &'a str,
    /// The model's name there.
    pub model: &'a str,
    /// What its settings make of every request, as text.
    pub manner: &'a str,
    /// What it is of the route that leads to it. It changes nothing of the answer, so it is no part of a key.
    pub part: Option<RoutePart>,
}

impl Key {
    /// The digest of what is asked within a scope; `None` for what is never answered twice.
    #[must_use]
    pub fn question(ask: &Ask, scope: Scope<'_>) -> Option<Self> {
        match ask {
            Ask::Chat(chat) => Self::chat(chat, scope),
            Ask::Embed(embed) => Self::embed(embed, scope),
            Ask::Show(_) | Ask::CountTokens(_) => None,
        }
    }

    /// The key of a response that its caller may go on with.
    #[must_use]
    pub fn response(caller: &str, id: &str) -> Option<Self> {
        Self::of(&(FORM, "response", caller, id))
    }

    /// The digest of what is asked as it came: every byte counts but white space, and so does how the answer is to come,
    /// since it is given to each client as bytes.
    #[must_use]
    pub fn carried(carry: &Carry, scope: Scope<'_>) -> Option<Self> {
        // Whether it is streamed the body says.
        let Carry {
            endpoint,
            body,
            headers,
            query,
            stream: _,
            form: _,
            may_be_plain: _,
            refusal: _,
        } = carry;
        Self::of(&(FORM, "carried", scope, endpoint, compact(body), headers, query))
    }

    /// The key of this question's answer by `runner`.
    #[must_use]
    pub fn answered_by(self, runner: Runner<'_>) -> Self {
        self.with("entry", [runner].iter(), &[])
    }

    /// The key of this question while it is in flight. `runners` are all that may answer, the first one first; their
    /// order counts only in which model comes first, since equals change places with the load.
    #[must_use]
    pub fn in_flight(self, runners: &[Runner<'_>], priority: Priority) -> Self {
        let first = runners.first().map_or("", |first| first.model);
        let mut sorted = runners.to_vec();
        sorted.sort_unstable();
        self.with("call", sorted.iter(), &[first, priority.as_str()])
    }

    fn chat(chat: &ChatRequest, scope: Scope<'_>) -> Option<Self> {
        let ChatRequest {
            // These say who answers, which the runner tells better.
            model: _,
            hint: _,
            // These say how the answer is written.
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
            // It tells nobody anything, but the client is told so.
            untold,
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
            (extra, untold),
        ))
    }

    fn embed(embed: &EmbedRequest, scope: Scope<'_>) -> Option<Self> {
        let EmbedRequest { model: _, hint: _, as_base64: _, input, dimensions, extra } = embed;
        Self::of(&(FORM, "embed", scope, input, dimensions, extra))
    }

    /// The digest of a value's JSON, in which no two values look the same.
    fn of(value: &impl Serialize) -> Option<Self> {
        let mut digest = Sha256::new();
        serde_json::to_writer(&mut digest, value).ok()?;
        Some(Self(digest.finalize().into()))
    }

    /// A digest of this one and what follows from it. Every text goes in with its length, every list with its count.
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
