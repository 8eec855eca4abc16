//! `max_concurrency`: a number, or `"auto"` with the bounds of `auto_concurrency`.
//!
//! Owns both spellings and the bounds' defaults. Refuses other words and numbers that are not a
//! count; the range is checked when the configuration is loaded.
//!
//! The trap: the bounds have no effect while `max_concurrency` is a number.

use std::fmt;

use serde::de::{self, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The word for an adaptive limit.
pub const AUTO: &str = "auto";

/// `max_concurrency`: how many calls may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxConcurrency {
    /// This many.
    Fixed(u32),
    /// An adaptive number within [`AutoConcurrency`]; written `"auto"`.
    Auto,
}

/// `auto_concurrency = { … }`: the bounds of an adaptive limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoConcurrency {
    /// Never fewer; the limit begins here. Default 1, at least 1.
    pub min: u32,
    /// Never more. Default 16, at least `min`.
    pub max: u32,
}

impl Default for AutoConcurrency {
    fn default() -> Self {
        Self { min: 1, max: 16 }
    }
}

impl Serialize for MaxConcurrency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(limit) => serializer.serialize_u32(*limit),
            Self::Auto => serializer.serialize_str(AUTO),
        }
    }
}

impl<'de> Deserialize<'de> for MaxConcurrency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrAuto)
    }
}

struct NumberOrAuto;

impl de::Visitor<'_> for NumberOrAuto {
    type Value = MaxConcurrency;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(r#"a whole number from 1 to 100000, or "auto""#)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<MaxConcurrency, E> {
        let limit = u32::try_from(number);
        limit
            .map(MaxConcurrency::Fixed)
            .or(Err(E::invalid_value(Unexpected::Unsigned(number), &self)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<MaxConcurrency, E> {
        let limit = u32::try_from(number);
        limit
            .map(MaxConcurrency::Fixed)
            .or(Err(E::invalid_value(Unexpected::Signed(number), &self)))
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<MaxConcurrency, E> {
        match word {
            AUTO => Ok(MaxConcurrency::Auto),
            _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_and_the_word_are_read_and_written_back() {
        for (written, meant) in
            [(json!(8), MaxConcurrency::Fixed(8)), (json!("auto"), MaxConcurrency::Auto)]
        {
            let read: MaxConcurrency = serde_json::from_value(written.clone()).unwrap();
            assert_eq!((read, json!(read)), (meant, written));
        }
    }

    #[test]
    fn nothing_else_is_a_limit() {
        for wrong in [json!(-1), json!(1.5), json!("8"), json!("Auto"), json!(true), json!(null)] {
            let read = serde_json::from_value::<MaxConcurrency>(wrong.clone());
            assert!(read.unwrap_err().to_string().contains(r#"or "auto""#), "{wrong}");
        }
    }
}
