//! What a running gateway does, as a table for a terminal: one row per provider, the one in most
//! trouble first.
//!
//! It owns the words for a provider's state, which are the console's. It reads the admin API's
//! JSON, so that it can show another version of the gateway; what that does not tell is a `-`.
//!
//! The one thing to know: states are about now. A line that was full seconds ago and is not any
//! more counts as refusing for a minute, as the counter of refusals does.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::changes::differing;
use super::table::table;
use super::{Remote, RemoteError, at};
use crate::units::format_duration;

/// The most keys of a line that are named.
const MOST_KEYS: usize = 4;

/// A provider's state, by how much it needs an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Broken,
    Refusing,
    Draining,
    Waiting,
    Busy,
    Working,
    Idle,
}

/// What the gateway does, as the JSON of `/admin/providers`.
///
/// # Errors
///
/// If the gateway cannot be asked.
pub fn ask(remote: &Remote) -> Result<Value, RemoteError> {
    remote.get("/admin/providers")
}

/// The table of what `ask` told.
#[must_use]
pub fn shown(remote: &Remote, told: &Value) -> String {
    let empty = Vec::new();
    let mut providers: Vec<(State, &Value)> = at(told, "providers")
        .as_array()
        .unwrap_or(&empty)
        .iter()
        .map(|provider| (State::of(provider), provider))
        .collect();
    // Stable, so that equals stay in the file's order.
    providers.sort_by_key(|(state, _)| *state);
    let rows: Vec<_> = providers.iter().map(|(state, provider)| row(*state, provider)).collect();
    let mut text = format!("{}\n", gateway(remote, told));
    if let Some(words) = at(at(told, "verdict"), "words").as_str() {
        text += &format!("{words}\n");
    }
    text.push('\n');
    text +=
        &table(["PROVIDER", "STATE", "SLOTS", "LINE", "OLDEST", "EXPECTED", "REFUSED/MIN"], &rows);
    let remarks: Vec<String> =
        providers.iter().flat_map(|(state, it)| remarks(*state, it)).collect();
    if !remarks.is_empty() {
        text.push('\n');
    }
    remarks.iter().for_each(|remark| text.push_str(&format!("{remark}\n")));
    text
}

/// The gateway as a whole, in one line.
fn gateway(remote: &Remote, told: &Value) -> String {
    let version = at(told, "version").as_str().unwrap_or("-");
    let mut line = format!("llm-gateway {version} at {}", remote.address());
    line += if at(told, "draining") == true { ", stopping" } else { "" };
    if at(told, "configuration") == "refused" {
        line += ", its configuration file is refused: `llm-gateway reload` says why";
    }
    if at(told, "redis") == "degraded" {
        line += ", without its redis";
    }
    line
}

impl State {
    fn of(provider: &Value) -> Self {
        let count = |name: &str| at(provider, name).as_u64().unwrap_or(0);
        let breaker = at(at(provider, "breaker"), "state").as_str().unwrap_or("closed");
        if breaker == "open" || breaker == "auth_failed" || at(provider, "health") == "failing" {
            Self::Broken
        } else if at(provider, "draining") == true {
            Self::Draining
        } else if count("refused_last_minute") > 0 {
            Self::Refusing
        } else if count("queued") > 0 {
            Self::Waiting
        } else if count("in_flight") > 0 && count("in_flight") >= count("limit") {
            Self::Busy
        } else if count("in_flight") > 0 {
            Self::Working
        } else {
            Self::Idle
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Refusing => "refusing",
            Self::Draining => "draining",
            Self::Waiting => "waiting",
            Self::Busy => "busy",
            Self::Working => "working",
            Self::Idle => "idle",
        }
    }
}

fn row(state: State, provider: &Value) -> [String; 7] {
    let number =
        |name: &str| at(provider, name).as_u64().map_or("-".to_owned(), |it| it.to_string());
    let wait = |name: &str| at(provider, name).as_u64().map_or("-".to_owned(), seconds);
    [
        at(provider, "name").as_str().unwrap_or("-").to_owned(),
        state.as_str().to_owned(),
        format!("{}/{}", number("in_flight"), number("limit")),
        format!("{}/{}", number("queued"), number("max_queue")),
        wait("oldest_wait_ms"),
        wait("predicted_wait_ms"),
        number("refused_last_minute"),
    ]
}

/// What explains a row, each in a line.
fn remarks(state: State, provider: &Value) -> Vec<String> {
    let name = at(provider, "name").as_str().unwrap_or("-");
    let mut remarks = Vec::new();
    if let Some(line) = counts(at(provider, "queued_by_caller")) {
        remarks.push(format!("{name}: in line {line}"));
    }
    match state {
        State::Broken => remarks.push(format!("{name}: {}", trouble(provider))),
        State::Refusing => {
            if let Some(reasons) = counts(at(provider, "refused")) {
                remarks.push(format!("{name}: refused since the start {reasons}"));
            }
        }
        State::Draining | State::Waiting | State::Busy | State::Working | State::Idle => {}
    }
    let quarantined = at(provider, "quarantined").as_array().map_or(0, Vec::len);
    if quarantined > 0 {
        remarks.push(format!("{name}: {quarantined} requests in quarantine"));
    }
    let differing = differing(provider);
    if !differing.is_empty() {
        remarks.push(format!("{name}: set at run time: {}", differing.join(", ")));
    }
    remarks
}

/// Why a provider is broken, and until when.
fn trouble(provider: &Value) -> String {
    let breaker = at(provider, "breaker");
    let mut text = match at(breaker, "state").as_str() {
        Some("auth_failed") => "it refuses the gateway's credentials".to_owned(),
        Some("open") => {
            let left = at(breaker, "left_ms").as_u64().unwrap_or(0);
            format!("it kept failing and is tried again in {}", seconds(left))
        }
        _ => "its health checks fail".to_owned(),
    };
    if let Some(error) = at(at(provider, "last_error"), "message").as_str() {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
    }
    text
}

/// The largest of some counts, as `nightly 40, chat 2`.
fn counts(by_name: &Value) -> Option<String> {
    let by_name = by_name.as_object()?;
    let mut counts: Vec<(&str, u64)> = by_name
        .iter()
        .filter_map(|(name, count)| Some((name.as_str(), count.as_u64()?)))
        .filter(|(_, count)| *count > 0)
        .collect();
    counts.sort_by(|(_, one), (_, other)| other.cmp(one));
    let more = counts.len().saturating_sub(MOST_KEYS);
    let mut told: Vec<String> =
        counts.iter().take(MOST_KEYS).map(|(name, count)| format!("{name} {count}")).collect();
    if more > 0 {
        told.push(format!("{more} more"));
    }
    (!told.is_empty()).then(|| told.join(", "))
}

/// A duration as a person reads it at a glance: tenths below ten seconds, else whole seconds.
fn seconds(millis: u64) -> String {
    match millis {
        0 => "-".to_owned(),
        1..10_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => format_duration(Duration::from_secs(millis / 1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn provider(name: &str, changes: &Value) -> Value {
        let mut provider = json!({"name": name, "limit": 2, "in_flight": 0, "queued": 0,
            "max_queue": 8, "oldest_wait_ms": 0, "predicted_wait_ms": 0, "refused_last_minute": 0,
            "breaker": {"state": "closed"}, "draining": false});
        for (key, value) in changes.as_object().unwrap() {
            provider[key] = value.clone();
        }
        provider
    }

    #[test]
    fn the_provider_in_most_trouble_comes_first_and_says_why() {
        let told = json!({"version": "1.2.3", "draining": false, "configuration": "refused",
            "redis": "off", "verdict": {"words": "Broken: `dead`"}, "providers": [
            provider("calm", &json!({})),
            provider("one", &json!({"in_flight": 1})),
            provider("full", &json!({"in_flight": 2})),
            provider("line", &json!({"in_flight": 2, "queued": 3, "oldest_wait_ms": 3_140,
                "predicted_wait_ms": 65_900, "queued_by_caller": {"chat": 1, "nightly": 2}})),
            provider("off", &json!({"draining": true})),
            provider("flood", &json!({"refused_last_minute": 92, "refused": {"queue_full": 90, "over_share": 2}})),
            provider("dead", &json!({"breaker": {"state": "open", "left_ms": 4_000},
                "last_error": {"message": "connection refused"}})),
        ]});
        let remote = Remote::find(Some("h:1"), None);
        let text = shown(&remote, &told);
        let words = |column: usize| -> Vec<String> {
            let rows = text.lines().skip(4).take(7);
            rows.map(|row| {
                row.split("  ")
                    .filter(|cell| !cell.is_empty())
                    .nth(column)
                    .unwrap()
                    .trim()
                    .to_owned()
            })
            .collect()
        };
        assert_eq!(words(0), ["dead", "flood", "off", "line", "full", "one", "calm"], "{text}");
        let states = ["broken", "refusing", "draining", "waiting", "busy", "working", "idle"];
        assert_eq!(words(1), states, "{text}");
        for line in [
            "dead: it kept failing and is tried again in 4.0 s: connection refused",
            "flood: refused since the start queue_full 90, over_share 2",
            "line: in line nightly 2, chat 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
        assert!(
            text.starts_with("llm-gateway 1.2.3 at http://h:1, its configuration file is refused"),
            "{text}"
        );
        let row = text.lines().find(|row| row.starts_with("line ")).unwrap();
        assert!(
            row.contains("2/2")
                && row.contains("3/8")
                && row.contains("3.1 s")
                && row.contains("1m 5s"),
            "{row}"
        );
    }
}
