//! Reads what lists of models have in common: their outer shapes, names, and times in any notation.
//!
//! The one thing to know: one odd entry does not hide the others. An entry without a name is
//! skipped, and a field in an unknown shape is unknown.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::DecodeError;
use super::document::parse;
use super::lenient::as_count;
use super::report::Report;
use crate::chat::Facts;

/// The entries of a list: a bare list, or the one under one of these keys. `null` counts as an
/// empty list, because servers without any model may send it.
///
/// # Errors
///
/// When it is not a list.
pub(super) fn entries(body: &[u8], keys: &[&str]) -> Result<Vec<Map<String, Value>>, DecodeError> {
    let list = match parse::<Value>(body)? {
        Value::Array(list) => list,
        // proto3 leaves out an empty list.
        Value::Object(fields) if fields.is_empty() => Vec::new(),
        Value::Object(mut fields) => {
            let lists: Vec<Value> =
                keys.iter().filter_map(|key| fields.swap_remove(*key)).collect();
            if lists.is_empty() {
                let said = Report::find(&Value::Object(fields)).map(|report| report.message);
                let said = said.unwrap_or_else(|| "no list of models".to_owned());
                return Err(DecodeError::Malformed(said));
            }
            // llama.cpp gives the same models under several keys, with different facts in each
            // list.
            let mut lists = lists.into_iter().filter_map(|list| match list {
                Value::Array(list) if !list.is_empty() => Some(list),
                _ => None,
            });
            let mut first = lists.next().unwrap_or_default();
            lists.for_each(|other| fill(&mut first, &other));
            first
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(DecodeError::Malformed("no list of models".to_owned()));
        }
    };
    let entries = list.into_iter().filter_map(|entry| match entry {
        Value::Object(entry) => Some(entry),
        // A bare name.
        name @ Value::String(_) => Some(Map::from_iter([("id".to_owned(), name)])),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    });
    Ok(entries.collect())
}

/// Adds to each entry the fields that only the other list has for the same model.
fn fill(entries: &mut [Value], others: &[Value]) {
    let name =
        |entry: &Value| Some(first_text(entry.as_object()?, &["id", "name", "model"])?.to_owned());
    let others = others.iter().filter_map(|other| Some((name(other)?, other.as_object()?)));
    let others: HashMap<String, &Map<String, Value>> = others.collect();
    for entry in entries {
        let Some(other) = name(entry).and_then(|name| others.get(&name)) else { continue };
        let Some(entry) = entry.as_object_mut() else { continue };
        for (key, value) in *other {
            if !entry.contains_key(key) {
                entry.insert(key.clone(), value.clone());
            }
        }
    }
}

/// A time in an entry, in seconds since 1970: a number, perhaps with a fraction, or a text of a
/// number or a date.
pub(super) fn time(entry: &Map<String, Value>, keys: &[&str]) -> Option<u64> {
    keys.iter().find_map(|key| {
        let value = entry.get(*key)?;
        let rounded = || Some(Duration::try_from_secs_f64(value.as_f64()?).ok()?.as_secs());
        as_count(value).or_else(rounded).or_else(|| seconds(value.as_str()?.trim()))
    })
}

/// The first of these numbers above 0, by their JSON pointers.
pub(super) fn number(entry: &Map<String, Value>, pointers: &[&str]) -> Option<u64> {
    let mut found = pointers.iter().filter_map(|pointer| {
        let mut names = pointer.split('/').skip(1);
        let first = entry.get(names.next()?)?;
        as_count(names.try_fold(first, |value, name| value.get(name))?)
    });
    found.find(|number| *number > 0)
}

/// Whether a list of words contains this one; `None` if it is not a list.
pub(super) fn has_word(list: Option<&Value>, word: &str) -> Option<bool> {
    Some(list?.as_array()?.iter().any(|one| one == word))
}

/// The facts in Ollama's list of capabilities, which names all abilities of a model.
pub(super) fn facts_of(context: Option<u64>, capabilities: Option<&Value>) -> Facts {
    match capabilities.and_then(Value::as_array) {
        Some(list) if !list.is_empty() => {
            Facts::exactly(context, |ability| list.iter().any(|one| one == ability.word()))
        }
        Some(_) | None => Facts::taking(context),
    }
}

/// The first of these texts in an entry.
pub(super) fn first_text<'a>(entry: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| text(entry, key))
}

/// The seconds since 1970 of an RFC 3339 time with any offset; `None` if it is invalid or before
/// 1970.
fn seconds(time: &str) -> Option<u64> {
    const DATE_TIME: usize = "1970-01-01T00:00:00".len();
    let (at, rest) = time.split_at_checked(DATE_TIME)?;
    let at = humantime::parse_rfc3339(&format!("{at}Z")).ok()?;
    let zone = rest.trim_start_matches(|letter: char| letter == '.' || letter.is_ascii_digit());
    let (sign, zone) = match zone.split_at_checked(1)? {
        ("Z" | "z", _) => return Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs()),
        signed => signed,
    };
    let (hours, minutes) = zone.split_once(':')?;
    let minutes = hours.parse::<u64>().ok()? * 60 + minutes.parse::<u64>().ok()?;
    let offset = Duration::from_secs(minutes * 60);
    // A positive offset means that local time is ahead of UTC.
    let utc = match sign {
        "+" => at.checked_sub(offset)?,
        "-" => at.checked_add(offset)?,
        _ => return None,
    };
    Some(utc.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// A text in an entry.
fn text<'a>(entry: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(body: &Value) -> Vec<String> {
        let entries = entries(body.to_string().as_bytes(), &["data", "models"]).unwrap();
        let names = entries.iter().filter_map(|entry| first_text(entry, &["id", "name"]));
        names.map(ToOwned::to_owned).collect()
    }

    #[test]
    fn a_list_is_found_in_every_shape_and_an_odd_entry_hides_no_other() {
        let list = json!([{"id": "a"}, {"created": 1}, null, 7, {"id": null}, {"id": ""}, {"name": "b"}, "c"]);
        for body in [
            list.clone(),
            json!({"data": list, "object": "list"}),
            json!({"models": list}),
            json!({"models": [], "data": list}),
            json!({"data": null, "models": list}),
        ] {
            assert_eq!(names(&body), ["a", "b", "c"], "{body}");
        }
        assert!(names(&json!({"data": null})).is_empty());
        assert!(names(&json!({})).is_empty());
        for body in [json!({"x": []}), json!("x"), json!(1), json!({"error": "no"})] {
            assert!(entries(body.to_string().as_bytes(), &["data"]).is_err(), "{body}");
        }
        assert_eq!(entries(b"{\"data\": [", &["data"]), Err(DecodeError::Cut));
    }

    #[test]
    fn facts_from_the_second_list_are_added_to_the_first() {
        let body = json!({
            "models": [{"name": "a", "type": "model", "capabilities": ["completion", "multimodal"]},
                {"name": "c"}],
            "data": [{"id": "a", "type": "own", "meta": {"n_ctx": 8192}}, {"id": "b"}],
        });
        let entries = entries(body.to_string().as_bytes(), &["data", "models"]).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!((&entries[0]["id"], &entries[0]["type"]), (&json!("a"), &json!("own")));
        assert_eq!(entries[0]["capabilities"], json!(["completion", "multimodal"]));
        assert_eq!(entries[1].len(), 1);
    }

    #[test]
    fn times_are_read_in_every_notation() {
        let seconds = |value: Value| {
            let entry = Map::from_iter([("created".to_owned(), value)]);
            time(&entry, &["created_at", "created"])
        };
        for written in [
            json!(1_795_341_600),
            json!(1_795_341_600.75),
            json!("1795341600"),
            json!("2026-11-22T10:00:00Z"),
        ] {
            assert_eq!(seconds(written.clone()), Some(1_795_341_600), "{written}");
        }
        for odd in [json!(null), json!(-1), json!("yesterday"), json!({}), json!(1e300)] {
            assert_eq!(seconds(odd.clone()), None, "{odd}");
        }
    }

    #[test]
    fn times_may_have_offsets_and_fractions() {
        assert_eq!(seconds("2026-11-22T10:00:00Z"), Some(1_795_341_600));
        assert_eq!(seconds("2026-11-22T11:00:00.123456789+01:00"), Some(1_795_341_600));
        assert_eq!(seconds("2026-11-22T04:30:00.5-05:30"), Some(1_795_341_600));
        for wrong in ["", "yesterday", "2026-11-22T10:00:00", "2026-11-22T10:00:00*01:00", "é"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
