//! Agents from a recorded day: which calls were turns of one conversation.
//!
//! Owns what is concluded from a log. Its lines have a call's key, times and tokens, and nothing of
//! what was said, so that conversations are inferred: from prompts of a key that grow.
//!
//! The one thing to know: a call counts as the next turn of a conversation if that one's answer had
//! ended within ten minutes before, and it makes up at least half of the call's prompt and all that
//! was in a cache; of several the longest. What conversations have in common at their beginning is
//! not seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{Agent, MOST, Step};
use crate::plan::models::log::{Entry, Log, PassedOver};
use crate::plan::models::recorded::{provider, since};
use crate::plan::report::quantile;
use crate::units::moment::format_moment;

/// A conversation goes on within this time. One that comes back later is another one: where a server
/// has work, it has forgotten it by then.
const BREAK: Duration = Duration::from_secs(600);
/// Calls that read at least so many tokens say how fast that is.
const ENOUGH: u32 = 1_000;
/// An answer that takes at least this long from its first piece to its end was written piece by
/// piece.
const STREAMED: Duration = Duration::from_millis(10);

/// What the log does not say.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'a> {
    /// The provider whose calls count; where there is only one, it may be left out.
    pub provider: Option<&'a str>,
    /// The model whose calls count; else the one with the most tokens.
    pub model: Option<&'a str>,
    /// The keys whose calls are batch work.
    pub batch: &'a [String],
}

/// What a recording was found to say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recorded {
    /// The provider.
    pub provider: Arc<str>,
    /// The model.
    pub model: Arc<str>,
    /// When the first call arrived.
    pub from: String,
    /// When the last one did.
    pub until: String,
    /// How many calls it has.
    pub calls: usize,
    /// How many conversations of several turns were inferred.
    pub conversations: usize,
    /// The turns of these.
    pub turns: usize,
    /// The part of all tokens that the servers had in their caches, if the log says that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reused: Option<f64>,
    /// Tokens read in a second, if the log says that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<f64>,
    /// Tokens written in a second by one call, if the log says that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<f64>,
    /// The lines that do not count.
    pub passed_over: PassedOver,
    /// How long it is.
    #[serde(skip)]
    pub span: Duration,
}

/// The agents of a log, in the order of their first calls.
///
/// # Errors
///
/// If the provider or the model cannot be told, or no call has tokens, with what to write.
pub fn agents(log: Log, chosen: Chosen<'_>) -> Result<(Recorded, Vec<Agent>), String> {
    let provider = provider(&log, chosen.provider)?;
    let mut passed_over = log.passed_over;
    let mut keep = |entries: Vec<Entry>, is_it: &dyn Fn(&Entry) -> bool, why: &str| {
        let (entries, others): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(is_it);
        others.iter().for_each(|other| passed_over.note(other.line, why.to_owned()));
        entries
    };
    let entries = keep(log.entries, &|entry| entry.provider == provider, "is at another provider");
    let entries = keep(entries, &|entry| entry.tokens.prompt > 0, "has no tokens of a prompt");
    let model = model(&entries, chosen.model)?;
    let mut entries = keep(entries, &|entry| entry.model == model, "is for another model");
    if entries.len() > MOST {
        return Err(format!("{} calls are too many: write {MOST} at most", entries.len()));
    }
    entries.sort_by_key(|entry| entry.at);
    let start = entries.first().map_or(SystemTime::UNIX_EPOCH, |entry| entry.at);
    let last = entries.last().map_or(start, |entry| entry.at);
    let talks = conversations(&entries);
    let agents = talks.iter().filter_map(|talk| agent(talk, start, chosen.batch)).collect();
    let long: Vec<usize> = talks.iter().map(Vec::len).filter(|turns| *turns > 1).collect();
    let recorded = Recorded {
        provider,
        model,
        from: format_moment(start),
        until: format_moment(last),
        calls: entries.len(),
        conversations: long.len(),
        turns: long.iter().sum(),
        reused: reused(&entries),
        read: median(entries.iter().filter_map(read)),
        write: median(entries.iter().filter_map(write)),
        passed_over,
        span: since(start, last),
    };
    Ok((recorded, agents))
}

/// The model whose calls count.
fn model(entries: &[Entry], named: Option<&str>) -> Result<Arc<str>, String> {
    let mut tokens: BTreeMap<&Arc<str>, u64> = BTreeMap::new();
    for entry in entries {
        *tokens.entry(&entry.model).or_default() += u64::from(entry.tokens.prompt);
    }
    let found = match named {
        Some(named) => tokens.keys().find(|name| &****name == named).copied(),
        None => tokens.iter().max_by_key(|(_, tokens)| **tokens).map(|(name, _)| *name),
    };
    let names = || tokens.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
    found.map(Arc::clone).ok_or_else(|| match named {
        Some(named) if !tokens.is_empty() => {
            format!("has no call of `{named}` with tokens, only of {}", names())
        }
        Some(_) | None => {
            "has no call whose prompt's tokens are known: access lines have them as prompt_tokens"
                .to_owned()
        }
    })
}

/// The calls of each conversation, in the order of its first call. Of calls in the order of their
/// arrival.
fn conversations(entries: &[Entry]) -> Vec<Vec<&Entry>> {
    let mut talks: Vec<Vec<&Entry>> = Vec::new();
    let mut open: BTreeMap<&Arc<str>, Vec<usize>> = BTreeMap::new();
    for entry in entries {
        let own = open.entry(&entry.key).or_default();
        let last = |talk: usize| talks.get(talk).and_then(|talk| talk.last()).copied();
        own.retain(|talk| last(*talk).is_some_and(|last| last.at + last.total + BREAK >= entry.at));
        let goes_on =
            own.iter().copied().filter(|talk| last(*talk).is_some_and(|last| is_next(last, entry)));
        let longest =
            goes_on.max_by_key(|talk| last(*talk).map(|last| (last.tokens.prompt, last.at)));
        if let Some(talk) = longest.and_then(|talk| talks.get_mut(talk)) {
            talk.push(entry);
        } else {
            own.push(talks.len());
            talks.push(vec![entry]);
        }
    }
    talks
}

/// Whether a call may be the next turn after another one.
fn is_next(last: &Entry, entry: &Entry) -> bool {
    let said = last.tokens.prompt.saturating_add(last.tokens.answer);
    last.at + last.total <= entry.at
        && last.tokens.prompt < entry.tokens.prompt
        && said >= (entry.tokens.prompt / 2).max(entry.tokens.cached.unwrap_or_default())
}

/// The agent of a conversation; `None` if that has no call.
fn agent(talk: &[&Entry], start: SystemTime, batch: &[String]) -> Option<Agent> {
    let first = talk.first()?;
    // A turn says the answer before it again if it has grown by at least that.
    let repeats = |last: &Entry, next: &Entry| {
        next.tokens.prompt >= last.tokens.prompt.saturating_add(last.tokens.answer)
    };
    let step = |(index, entry): (usize, &&Entry)| {
        let last = index.checked_sub(1).and_then(|index| talk.get(index));
        let next = talk.get(index + 1);
        let before = last.map_or(0, |last| {
            let answer = if repeats(last, entry) { last.tokens.answer } else { 0 };
            last.tokens.prompt.saturating_add(answer)
        });
        Step {
            grows: entry.tokens.prompt.saturating_sub(before),
            answer: entry.tokens.answer,
            is_repeated: next.is_some_and(|next| repeats(entry, next)),
            pause: last.map_or(Duration::ZERO, |last| since(last.at + last.total, entry.at)),
        }
    };
    Some(Agent {
        key: Arc::clone(&first.key),
        weight: 1,
        priority: first.priority(batch),
        at: since(start, first.at),
        common: None,
        steps: talk.iter().enumerate().map(step).collect(),
    })
}

/// The part of the tokens that was in caches, of the calls that say so.
fn reused(entries: &[Entry]) -> Option<f64> {
    let counted = entries.iter().filter_map(|entry| Some((entry.tokens.cached?, entry)));
    let (cached, all) = counted.fold((0, 0), |(cached, all), (own, entry)| {
        (cached + u64::from(own), all + u64::from(entry.tokens.prompt))
    });
    (all > 0).then(|| cached as f64 / all as f64)
}

/// Tokens that a call read in a second.
fn read(entry: &Entry) -> Option<f64> {
    let tokens = entry.tokens.prompt.saturating_sub(entry.tokens.cached?);
    let took = entry.first.checked_sub(entry.queued)?.as_secs_f64();
    let is_streamed = entry.total.saturating_sub(entry.first) >= STREAMED;
    (is_streamed && tokens >= ENOUGH && took > 0.0).then(|| f64::from(tokens) / took)
}

/// Tokens that a call wrote in a second.
fn write(entry: &Entry) -> Option<f64> {
    let took = entry.total.checked_sub(entry.first).filter(|took| *took >= STREAMED)?;
    // The first token is there when the first piece is.
    let tokens = entry.tokens.answer.checked_sub(1).filter(|tokens| *tokens > 0)?;
    (!entry.first.is_zero()).then(|| f64::from(tokens) / took.as_secs_f64())
}

fn median(rates: impl Iterator<Item = f64>) -> Option<f64> {
    let mut rates: Vec<f64> = rates.collect();
    rates.sort_by(f64::total_cmp);
    (!rates.is_empty()).then(|| quantile(&rates, 0.5))
}

#[cfg(test)]
mod tests;
