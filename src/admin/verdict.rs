//! What is the matter with the gateway, in one sentence: idle, working, busy, waiting, refusing,
//! draining or broken.
//!
//! It owns the order of these states and their words. The console, its title and the list of
//! providers show the same sentence.
//!
//! The one thing to know: it judges by load. A provider that nobody asks for and that is broken is
//! told only while no request is turned away for want of room elsewhere.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::history::{History, NOW};
use crate::admission::breaker::BreakerState;
use crate::provider::Status;
use crate::telemetry::journal::TurnedAway;

/// As many requests turned away in the last seconds are an incident; fewer are one if a line is
/// full.
const MANY: u64 = 10;
/// As many failed requests are an incident if fewer were answered.
const FAILURES: u64 = 5;

/// The state of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing is under way.
    Idle,
    /// Requests are served.
    Working,
    /// All slots of a provider are in use.
    Busy,
    /// Requests wait in a line.
    Waiting,
    /// Requests are turned away.
    Refusing,
    /// It takes no new work.
    Draining,
    /// A provider does not work.
    Broken,
}

/// The state, and what is the matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The state.
    pub state: State,
    /// A sentence that begins with the state.
    pub words: String,
    /// The provider that it is about.
    pub provider: Option<Arc<str>>,
}

/// What is seen of the gateway.
#[derive(Debug, Default)]
struct Seen<'a> {
    is_draining: bool,
    providers: Vec<SeenProvider>,
    /// Who was turned away lately, for reasons that concern operators.
    turned_away: BTreeMap<&'a TurnedAway, u64>,
    /// Over how many seconds.
    seconds: u64,
}

/// What is seen of a provider.
#[derive(Debug, Clone)]
struct SeenProvider {
    name: Arc<str>,
    fault: Option<Fault>,
    is_draining: bool,
    limit: u32,
    in_flight: u32,
    queued: u64,
    max_queue: u32,
    oldest_wait_ms: u64,
    predicted_wait_ms: u64,
    /// Requests of the last seconds.
    ok: u64,
    failed: u64,
}

/// Why a provider does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It does not accept the gateway's key.
    Key,
    /// It is left alone for this long, in milliseconds.
    LeftAlone(u64),
    /// Its calls fail.
    Fails,
}

/// The verdict on these providers.
pub(super) fn of(providers: &[Status<'_>], history: &History, is_draining: bool) -> Verdict {
    let mut turned_away = history.turned_away(NOW);
    turned_away.retain(|cell, _| cell.is_trouble);
    let seconds = history.known(NOW) as u64;
    let providers = providers.iter().map(|provider| seen(provider, history)).collect();
    judge(&Seen { is_draining, providers, turned_away, seconds })
}

fn seen(provider: &Status<'_>, history: &History) -> SeenProvider {
    let gate = &provider.gate;
    let (ok, failed) = history.lately(provider.name);
    let fault = match gate.breaker.state {
        BreakerState::AuthFailed => Some(Fault::Key),
        BreakerState::Open | BreakerState::HalfOpen => Some(Fault::LeftAlone(gate.breaker.left_ms)),
        BreakerState::Closed => (failed >= FAILURES && failed > ok).then_some(Fault::Fails),
    };
    SeenProvider {
        name: Arc::from(provider.name),
        fault,
        is_draining: gate.draining,
        limit: gate.limit,
        in_flight: gate.in_flight,
        queued: gate.queued,
        max_queue: gate.max_queue,
        oldest_wait_ms: gate.oldest_wait_ms,
        predicted_wait_ms: gate.predicted_wait_ms,
        ok,
        failed,
    }
}

fn judge(seen: &Seen<'_>) -> Verdict {
    let running: u64 = seen.providers.iter().map(|one| u64::from(one.in_flight)).sum();
    if seen.is_draining {
        let words = format!("the gateway stops, {} under way", requests(running));
        return verdict(State::Draining, None, &words);
    }
    if !seen.providers.is_empty() && seen.providers.iter().all(|one| one.is_draining) {
        let mut words = format!("no provider takes new work, {} under way", requests(running));
        if is_refusing(seen) {
            words += &format!(", {}", rate_words(seen));
        }
        return verdict(State::Draining, None, &words);
    }
    let broken = seen.providers.iter().find(|one| one.fault.is_some());
    let works = seen.providers.iter().filter(|one| one.fault.is_none()).count();
    let away = is_refusing(seen).then(|| refusing(seen));
    let is_about_broken =
        broken.is_some_and(|one| mostly(seen).provider.as_ref() == Some(&one.name));
    match (away, broken) {
        (Some(refusing), None) => refusing,
        (Some(refusing), Some(_)) if works > 0 && !is_about_broken => refusing,
        (_, Some(one)) => broken_words(seen, one, works),
        (None, None) => by_load(seen, running),
    }
}

/// Whether enough requests were turned away to say so.
fn is_refusing(seen: &Seen<'_>) -> bool {
    let total = seen.turned_away.values().sum::<u64>();
    let is_full =
        |one: &SeenProvider| one.in_flight >= one.limit && one.queued >= u64::from(one.max_queue);
    total >= MANY || (total > 0 && seen.providers.iter().any(is_full))
}

/// What most of those who were turned away have in common.
#[derive(Debug, Default)]
struct Mostly {
    provider: Option<Arc<str>>,
    caller: Option<Arc<str>>,
    reason: &'static str,
}

fn mostly(seen: &Seen<'_>) -> Mostly {
    let mut providers: BTreeMap<Option<&Arc<str>>, u64> = BTreeMap::new();
    for (cell, count) in &seen.turned_away {
        *providers.entry(cell.provider.as_ref()).or_default() += count;
    }
    let provider = providers.iter().max_by_key(|(_, count)| **count).and_then(|(name, _)| *name);
    let here = || seen.turned_away.iter().filter(|(cell, _)| cell.provider.as_ref() == provider);
    let most = here().max_by_key(|(_, count)| **count);
    Mostly {
        provider: provider.map(Arc::clone),
        caller: most.map(|(cell, _)| Arc::clone(&cell.caller)),
        reason: most.map_or("", |(cell, _)| cell.reason),
    }
}

fn refusing(seen: &Seen<'_>) -> Verdict {
    let Mostly { provider, caller, reason } = mostly(seen);
    let of_line = ["queue_full", "over_share", "pushed_out", "predicted_wait", "waited_too_long"];
    let place = provider.as_ref().map(|name| match reason {
        "draining" => format!("`{name}` is being drained, "),
        reason if of_line.contains(&reason) => format!("`{name}` is full, "),
        _ => format!("at `{name}` "),
    });
    let mut words = place.unwrap_or_default();
    words += &rate_words(seen);
    words += &match caller.as_deref() {
        Some("-") => ", mostly without a key".to_owned(),
        Some(caller) => format!(", mostly key `{caller}`"),
        None => String::new(),
    };
    words += &format!(": {}", reason_words(reason));
    verdict(State::Refusing, provider, &words)
}

/// How many requests are turned away.
fn rate_words(seen: &Seen<'_>) -> String {
    let total: u64 = seen.turned_away.values().sum();
    let seconds = seen.seconds.max(1);
    if total >= seconds {
        let rate = (total + seconds / 2) / seconds;
        format!("{rate} a second turned away")
    } else {
        format!("{total} turned away in {seconds} s")
    }
}

fn broken_words(seen: &Seen<'_>, one: &SeenProvider, works: usize) -> Verdict {
    let name = &one.name;
    let mut words = match one.fault {
        Some(Fault::Key) => format!("`{name}` does not accept the gateway's key"),
        Some(Fault::LeftAlone(0)) => format!("`{name}` kept failing and is tried again now"),
        Some(Fault::LeftAlone(left)) => {
            format!("`{name}` kept failing and is tried again in {}", time(left))
        }
        Some(Fault::Fails) | None => {
            format!("`{name}` fails, {} of {} requests", one.failed, one.failed + one.ok)
        }
    };
    let others = seen.providers.iter().filter(|other| other.fault.is_some()).count() - 1;
    if others > 0 {
        words += &format!(
            ", and so does {}",
            plural(others as u64, "other provider", "other providers")
        );
    }
    if is_refusing(seen) {
        words += &format!(", {}", rate_words(seen));
    }
    words += &match works {
        0 => "; no provider works".to_owned(),
        works => format!("; {}", plural(works as u64, "other works", "others work")),
    };
    verdict(State::Broken, Some(Arc::clone(name)), &words)
}

/// The verdict when nothing is wrong.
fn by_load(seen: &Seen<'_>, running: u64) -> Verdict {
    let waiting = seen.providers.iter().filter(|one| one.queued > 0);
    if let Some(one) = waiting.min_by_key(|one| Reverse(one.oldest_wait_ms)) {
        let wait = if one.queued == 1 { "waits" } else { "wait" };
        let words = format!(
            "{} {wait} for `{}`, the oldest for {}; a newcomer would wait {}",
            requests(one.queued),
            one.name,
            time(one.oldest_wait_ms),
            time(one.predicted_wait_ms),
        );
        return verdict(State::Waiting, Some(Arc::clone(&one.name)), &words);
    }
    let idle = format!(
        "{} under way",
        if running == 0 { "nothing".to_owned() } else { requests(running) }
    );
    let aside = seen.providers.iter().find(|one| one.is_draining);
    let aside = aside.map_or_else(String::new, |one| format!("; `{}` is being drained", one.name));
    let full = seen.providers.iter().find(|one| one.limit > 0 && one.in_flight >= one.limit);
    match full {
        Some(one) => {
            let words = format!("every slot of `{}` is in use, {idle}{aside}", one.name);
            verdict(State::Busy, Some(Arc::clone(&one.name)), &words)
        }
        None => {
            let state = if running == 0 { State::Idle } else { State::Working };
            verdict(state, None, &format!("{idle}{aside}"))
        }
    }
}

fn verdict(state: State, provider: Option<Arc<str>>, words: &str) -> Verdict {
    let word = match state {
        State::Idle => "Idle",
        State::Working => "Working",
        State::Busy => "Busy",
        State::Waiting => "Waiting",
        State::Refusing => "Refusing",
        State::Draining => "Draining",
        State::Broken => "Broken",
    };
    Verdict { state, words: format!("{word}: {words}"), provider }
}

/// A reason in a few words. One without words of its own is told by its word.
fn reason_words(reason: &str) -> String {
    let words = match reason {
        "queue_full" => "the line is full",
        "over_share" => "its share of the line",
        "pushed_out" => "its place went to a key with less",
        "predicted_wait" => "the wait would be too long",
        "waited_too_long" => "the wait was too long",
        "deadline_passed" => "the deadline passed",
        "breaker_open" => "it keeps failing",
        "cooling_down" => "it asked to be left alone",
        "auth_failed" => "it does not accept the gateway's key",
        "quarantined" => "the same request keeps crashing it",
        "draining" => "it takes no new work",
        "requests" => "its requests of the minute",
        "tokens_per_minute" => "its tokens of the minute",
        "tokens_per_day" => "its tokens of the day",
        "concurrency" => "its requests at one time",
        other => return other.replace('_', " "),
    };
    words.to_owned()
}

fn requests(count: u64) -> String {
    plural(count, "request", "requests")
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A time in milliseconds: 340 ms, 48 s, 3 min 05 s.
fn time(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{} s", millis / 1_000),
        _ => format!("{} min {:02} s", millis / 60_000, millis / 1_000 % 60),
    }
}

#[cfg(test)]
mod tests;
