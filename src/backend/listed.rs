//! What lists of models share: times, and fields that may be anything.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value};

/// The seconds since 1970 of an RFC 3339 time with any offset; `None` when it is none, or before 1970.
pub(super) fn seconds(time: &str) -> Option<u64> {
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
    // A local time is ahead of UTC by a positive offset.
    let utc = match sign {
        "+" => at.checked_sub(offset)?,
        "-" => at.checked_add(offset)?,
        _ => return None,
    };
    Some(utc.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// A text in an entry.
pub(super) fn text<'a>(entry: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_offsets_and_fractions() {
        assert_eq!(seconds("2026-11-22T10:00:00Z"), Some(1_795_341_600));
        assert_eq!(seconds("2026-11-22T11:00:00.123456789+01:00"), Some(1_795_341_600));
        assert_eq!(seconds("2026-11-22T04:30:00.5-05:30"), Some(1_795_341_600));
        for wrong in ["", "yesterday", "2026-11-22T10:00:00", "2026-11-22T10:00:00*01:00", "é"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
