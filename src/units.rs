//! Durations and sizes as people write them in a configuration: `"30s"`, `"16MiB"`.
//!
//! Owns the reading and writing of both. Refuses a bare number, because a reader cannot tell
//! whether `30` means seconds or milliseconds. A settings field stays a plain [`Duration`] or a
//! `u64` of bytes, with `#[serde(with = "crate::units::duration")]` or `crate::units::size`.
//!
//! What a reader would get wrong: `KB` is 1000 bytes and `KiB` is 1024, as in the standards.

pub mod moment;

use std::time::Duration;

/// The longest duration that can be written: a year. It keeps `Instant + Duration` from
/// overflowing.
pub const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The units of [`format_size`], the largest first; it takes the first that divides the size.
const SIZE_UNITS: [(u64, &str); 8] = [
    (1 << 40, "TiB"),
    (1_000_000_000_000, "TB"),
    (1 << 30, "GiB"),
    (1_000_000_000, "GB"),
    (1 << 20, "MiB"),
    (1_000_000, "MB"),
    (1 << 10, "KiB"),
    (1_000, "KB"),
];

/// Reads a duration such as `500ms`, `30s` or `1h 30m`, up to [`LONGEST`].
///
/// # Errors
/// If the unit is missing or unknown, or the duration is too long, with what would be right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if is_bare_number(text) {
        return Err(format!(r#"write a unit, as in "{}s""#, text.trim()));
    }
    let duration = humantime::parse_duration(text)
        .or(Err(r#"write a number and a unit, as in "500ms", "30s" or "5m""#.to_owned()))?;
    if duration > LONGEST {
        return Err("too long: write at most 365days".to_owned());
    }
    Ok(duration)
}

/// Writes a duration so that [`parse_duration`] reads the same one back.
pub fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Reads a size in bytes such as `64KB` or `16MiB`.
///
/// # Errors
/// If the unit is missing or unknown, with what would be right.
pub fn parse_size(text: &str) -> Result<u64, String> {
    if is_bare_number(text) {
        return Err(format!(r#"write a unit, as in "{}MiB""#, text.trim()));
    }
    let size = text.trim().parse::<bytesize::ByteSize>();
    let size = size.or(Err(r#"write a number and a unit, as in "64KiB" or "16MiB""#.to_owned()))?;
    Ok(size.as_u64())
}

/// Writes a size so that [`parse_size`] reads the same one back: `16MiB`, `64KB`, `1025B`.
pub fn format_size(bytes: u64) -> String {
    let whole = |(unit, _): &&(u64, &str)| bytes > 0 && bytes.is_multiple_of(*unit);
    match SIZE_UNITS.iter().find(whole) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

fn is_bare_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok()
}

/// `#[serde(with = "crate::units::duration")]` for a field of type [`Duration`].
pub mod duration {
    use super::{UnitVisitor, format_duration, parse_duration};
    use serde::{Deserializer, Serializer};
    use std::time::Duration;

    /// Writes `"30s"`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*value))
    }

    /// Reads `"30s"`.
    ///
    /// # Errors
    /// A number without a unit, an unknown unit, or anything that is not a string.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(UnitVisitor(parse_duration, r#"a duration, as in "30s""#))
    }
}

/// `#[serde(with = "crate::units::optional_duration")]` for a field of type `Option<Duration>`.
///
/// The field also needs `#[serde(default)]`, and `skip_serializing_if` if the format has no null.
pub mod optional_duration {
    use serde::{Deserializer, Serializer};
    use std::time::Duration;

    /// Writes `"30s"`, or the format's null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::duration::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads `"30s"`; a key that is present always has a value.
    ///
    /// # Errors
    /// Those of [`super::duration::deserialize`].
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::duration::deserialize(deserializer).map(Some)
    }
}

/// `#[serde(with = "crate::units::size")]` for a field of bytes as `u64`.
pub mod size {
    use super::{UnitVisitor, format_size, parse_size};
    use serde::{Deserializer, Serializer};

    /// Writes `"16MiB"`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_size(*value))
    }

    /// Reads `"16MiB"`.
    ///
    /// # Errors
    /// A number without a unit, an unknown unit, or anything that is not a string.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(UnitVisitor(parse_size, r#"a size, as in "16MiB""#))
    }
}

/// Passes strings to a parser, and numbers too, so that both get the same advice.
struct UnitVisitor<T>(fn(&str) -> Result<T, String>, &'static str);

impl<T> serde::de::Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.1)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_and_sizes_are_read_with_their_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_size("16MiB"), Ok(16 << 20));
        assert_eq!(parse_size("64KB"), Ok(64_000));
        assert_eq!(parse_size("1.5 GiB"), Ok(3 << 29));
    }

    #[test]
    fn a_bare_number_is_refused_with_what_would_be_right() {
        assert_eq!(parse_duration("30"), Err(r#"write a unit, as in "30s""#.to_owned()));
        assert_eq!(parse_size("16"), Err(r#"write a unit, as in "16MiB""#.to_owned()));
        assert!(parse_duration("soon").unwrap_err().contains(r#""500ms""#));
        assert!(parse_size("-1MiB").unwrap_err().contains(r#""16MiB""#));
        assert!(parse_size("16 bananas").unwrap_err().contains(r#""16MiB""#));
    }

    #[test]
    fn a_duration_beyond_a_year_is_refused() {
        assert_eq!(parse_duration("365days"), Ok(LONGEST));
        assert!(parse_duration("366days").unwrap_err().contains("365days"));
        assert!(parse_duration("99999999999999999999s").is_err());
    }

    #[test]
    fn sizes_are_written_in_the_largest_unit_that_divides_them() {
        let written = [0, 1, 1024, 64_000, 16 << 20, 1025, 3 << 29].map(format_size);
        assert_eq!(written, ["0B", "1B", "1KiB", "64KB", "16MiB", "1025B", "1536MiB"]);
    }

    proptest! {
        #[test]
        fn written_durations_and_sizes_are_read_back(millis in 0_u64..1_000_000_000, bytes: u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "[-+0-9.eEinfa ]{0,12}[a-zA-Z ]{0,5}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
