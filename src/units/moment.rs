//! Moments as people write them in a configuration: `2026-12-31T23:59:59Z`, as a TOML date-time or
//! in quotes.
//!
//! Refuses a moment without an offset, because local time differs between machines.

use std::time::{Duration, SystemTime};

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serializer};
use toml::value::{Datetime, Offset};

const WANTED: &str = "a date and a time with an offset, as in 2026-12-31T23:59:59Z";

/// Reads RFC 3339, from the year 1970 on.
///
/// # Errors
/// If it is not such a moment, with what would be right.
pub fn parse_moment(text: &str) -> Result<SystemTime, String> {
    let datetime: Result<Datetime, _> = text.trim().parse();
    datetime.ok().and_then(from_toml).ok_or_else(|| format!("write {WANTED}"))
}

/// Writes a moment so that [`parse_moment`] reads the same one back.
pub fn format_moment(moment: SystemTime) -> String {
    humantime::format_rfc3339(moment).to_string()
}

/// Writes the moment as a string, or the format's null.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(
    value: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(moment) => serializer.serialize_str(&format_moment(*moment)),
        None => serializer.serialize_none(),
    }
}

/// Reads a moment; a key that is present always has one.
///
/// # Errors
/// If it is not a moment, or has no offset.
pub fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SystemTime>, D::Error> {
    deserializer.deserialize_any(MomentVisitor).map(Some)
}

struct MomentVisitor;

impl<'de> serde::de::Visitor<'de> for MomentVisitor {
    type Value = SystemTime;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(WANTED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SystemTime, E> {
        parse_moment(text).map_err(E::custom)
    }

    /// The toml crate presents its date-times as a map with one field.
    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<SystemTime, A::Error> {
        let datetime = Datetime::deserialize(MapAccessDeserializer::new(map));
        let moment = datetime.ok().and_then(from_toml);
        moment.ok_or_else(|| serde::de::Error::custom(format!("write {WANTED}")))
    }
}

fn from_toml(datetime: Datetime) -> Option<SystemTime> {
    let (date, time, offset) = (datetime.date?, datetime.time?, datetime.offset?);
    // humantime knows the calendar: it reads the moment as if in UTC, then the offset is applied.
    let as_utc = humantime::parse_rfc3339(&format!("{date}T{time}Z")).ok()?;
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => minutes,
    };
    let ahead = Duration::from_secs(60 * u64::from(minutes.unsigned_abs()));
    if minutes < 0 { as_utc.checked_add(ahead) } else { as_utc.checked_sub(ahead) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_in_every_time_zone() {
        let utc = parse_moment("2026-12-31T23:30:00Z").unwrap();
        for text in
            ["2027-01-01T00:30:00+01:00", "2026-12-31 18:00:00-05:30", "2026-12-31t23:30:00.0z"]
        {
            assert_eq!(parse_moment(text), Ok(utc), "{text}");
        }
        assert_eq!(format_moment(utc), "2026-12-31T23:30:00Z");
    }

    #[test]
    fn a_moment_without_an_offset_is_refused() {
        for text in [
            "2026-12-31",
            "2026-12-31T23:59:59",
            "23:59:59",
            "tomorrow",
            "",
            "2026-13-01T00:00:00Z",
        ] {
            assert!(parse_moment(text).unwrap_err().contains("with an offset"), "{text}");
        }
    }
}
