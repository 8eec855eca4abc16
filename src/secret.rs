//! Text that must not be shown: client keys, provider keys, the admin token.
//!
//! Owns the masking: whatever prints, logs or serialises a [`Secret`] writes `***`. Refuses
//! nothing; an empty secret means "none set" and is shown as empty, so that an operator can see
//! that.
//!
//! What a reader would get wrong: `==` is not constant-time. It serves to notice a changed
//! configuration, never to check what a client sent.

pub mod url;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What is written in place of a secret.
pub const MASK: &str = "***";

/// A secret string; only [`Secret::expose`] gives it away.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Every call is a place to look at when a secret has leaked.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether no secret is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn masked(&self) -> &'static str {
        if self.is_empty() { "" } else { MASK }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.masked(), formatter)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.masked())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.masked())
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// Reads a string. The usual message for anything else would quote it, so it is replaced.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer);
        text.map(Self).or(Err(serde::de::Error::custom("write it as a string, in quotes")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_nowhere() {
        let secret = Secret::new("sk-planted");
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!(format!("{secret} {secret:?} {secret:#?} {json}"), r#"*** "***" "***" "***""#);
    }

    #[test]
    fn an_empty_secret_is_shown_as_empty() {
        assert_eq!(format!("{}{:?}", Secret::default(), Secret::new("")), r#""""#);
    }

    #[test]
    fn a_secret_of_the_wrong_type_is_not_quoted_in_the_error() {
        let error = serde_json::from_str::<Secret>("31415926").unwrap_err().to_string();
        assert!(error.contains("in quotes") && !error.contains("31415926"), "{error}");
    }
}
