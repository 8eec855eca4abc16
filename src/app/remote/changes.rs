//! Changes of a provider's limits as they are written at a shell: `slots=8 queue=32 wait=10s`.
//!
//! It owns the words of people beside the names of the admin API. It refuses words of neither kind;
//! the ranges of numbers are the gateway's to check.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{Remote, RemoteError, at, provider_path};
use crate::units::{format_duration, parse_duration};
use std::time::Duration;

/// A limit: the name in the admin API, and the words for it, the first of which is shown.
struct Limit {
    name: &'static str,
    words: &'static [&'static str],
}

const LIMITS: [Limit; 3] = [
    Limit { name: "max_concurrency", words: &["slots", "concurrency"] },
    Limit { name: "max_queue", words: &["queue", "line"] },
    Limit { name: "max_queue_wait_ms", words: &["wait", "patience", "max_queue_wait"] },
];

/// The word that takes a limit back to what the configuration says.
const FILE: &str = "file";

/// Changes the limits of a provider; returns what is in force then.
///
/// # Errors
///
/// If a change cannot be read, or the gateway refuses it; then nothing has changed.
pub fn set(remote: &Remote, provider: &str, changes: &[String]) -> Result<String, RemoteError> {
    let change = read(changes).map_err(RemoteError::Refused)?;
    let status = remote.patch(&provider_path(provider, ""), &Value::Object(change))?;
    let mut told = format!("{provider}:");
    let mut separator = " ";
    let mut differs = false;
    for limit in &LIMITS {
        let (now, written) = (at(&status, limit.name), at(at(&status, "configured"), limit.name));
        let word = limit.words.first().unwrap_or(&limit.name);
        // Writing to a string cannot fail.
        let _ = write!(told, "{separator}{word} {}", shown(limit.name, now));
        if now != written {
            differs = true;
            let _ = write!(told, " (configured: {})", shown(limit.name, written));
        }
        separator = ", ";
    }
    told.push('\n');
    if differs {
        told.push_str(
            "until a reload that changes the same limit, `set … =file`, or the next start\n",
        );
    }
    Ok(told)
}

/// The limits of a provider that are not as configured, as `slots 8 (configured: 4)`.
pub(super) fn differing(status: &Value) -> Vec<String> {
    let configured = at(status, "configured");
    let differing = LIMITS.iter().filter(|limit| {
        configured.get(limit.name).is_some_and(|written| written != at(status, limit.name))
    });
    let told = |limit: &Limit| {
        let word = limit.words.first().unwrap_or(&limit.name);
        let [now, written] = [at(status, limit.name), at(configured, limit.name)]
            .map(|value| shown(limit.name, value));
        format!("{word} {now} (configured: {written})")
    };
    differing.map(told).collect()
}

fn shown(name: &str, value: &Value) -> String {
    match value.as_u64().filter(|_| name.ends_with("_ms")) {
        Some(millis) => format_duration(Duration::from_millis(millis)),
        None => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

fn read(changes: &[String]) -> Result<Map<String, Value>, String> {
    let mut all = Map::new();
    for change in changes {
        let Some((word, value)) = change.split_once('=') else {
            return Err(format!("`{change}`: write {}", examples()));
        };
        let is_called = |limit: &&Limit| limit.name == word || limit.words.contains(&word);
        let Some(limit) = LIMITS.iter().find(is_called) else {
            return Err(format!("`{word}` is no limit that can be set: write {}", examples()));
        };
        let value =
            read_value(limit.name, word, value).map_err(|what| format!("{word}: {what}"))?;
        if all.insert(limit.name.to_owned(), value).is_some() {
            return Err(format!("{word}: it is set twice"));
        }
    }
    Ok(all)
}

fn read_value(name: &str, word: &str, text: &str) -> Result<Value, String> {
    if text == FILE {
        return Ok(Value::Null);
    }
    // Only the name says of what unit a number is.
    let is_plain = !name.ends_with("_ms") || word == name;
    if let Ok(number) = text.parse::<u64>()
        && is_plain
    {
        return Ok(json!(number));
    }
    match name {
        "max_queue_wait_ms" => {
            let wait = parse_duration(text)?;
            Ok(json!(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
        }
        "max_concurrency" if text == "auto" => Ok(json!(text)),
        "max_concurrency" => Err("write a number, `auto` or `file`".to_owned()),
        _ => Err("write a number or `file`".to_owned()),
    }
}

fn examples() -> &'static str {
    "slots=8, queue=32 or wait=10s (max_concurrency, max_queue, max_queue_wait_ms), or =file for what the file says"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &[&str]) -> Result<Value, String> {
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        super::read(&changes).map(Value::Object)
    }

    #[test]
    fn the_words_of_people_and_the_names_of_the_api_mean_the_same() {
        let expected = json!({"max_concurrency": 8, "max_queue": 32, "max_queue_wait_ms": 1500});
        for words in [
            ["slots=8", "queue=32", "wait=1500ms"],
            ["concurrency=8", "line=32", "patience=1s 500ms"],
            ["max_concurrency=8", "max_queue=32", "max_queue_wait_ms=1500"],
            ["slots=8", "queue=32", "max_queue_wait=1500ms"],
        ] {
            assert_eq!(read(&words), Ok(expected.clone()), "{words:?}");
        }
        let back = json!({"max_concurrency": "auto", "max_queue": null});
        assert_eq!(read(&["slots=auto", "queue=file"]), Ok(back));
    }

    #[test]
    fn an_unknown_word_or_value_says_what_would_be_right() {
        for (changes, said) in [
            (&["slots"][..], "write slots=8"),
            (&["slot=8"], "`slot` is no limit"),
            (&["slots=many"], "slots: write a number, `auto` or `file`"),
            (&["queue=auto"], "queue: write a number or `file`"),
            (&["wait=soon"], "wait: write a number and a unit"),
            (&["wait=30"], "wait: write a unit"),
            (&["slots=1", "max_concurrency=2"], "set twice"),
        ] {
            let error = read(changes).unwrap_err();
            assert!(error.contains(said), "{changes:?}: {error}");
        }
    }

    #[test]
    fn a_limit_that_is_not_as_configured_is_named() {
        let configured =
            json!({"max_concurrency": 4, "max_queue": 64, "max_queue_wait_ms": 30_000});
        let status = json!({"max_concurrency": "auto", "max_queue": 64,
            "max_queue_wait_ms": 10_000, "configured": configured});
        let told = ["slots auto (configured: 4)", "wait 10s (configured: 30s)"];
        assert_eq!(differing(&status), told);
        assert!(differing(&json!({"max_concurrency": 1})).is_empty());
    }
}
