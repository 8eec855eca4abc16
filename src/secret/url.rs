//! URLs that may hold a password, such as those of a proxy or a Redis.
//!
//! Owns that such a URL is printed, logged and serialised in one form only, the one that [`Shown`]
//! returns for its kind. Refuses nothing: whoever uses the URL checks it.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Secret;

/// How URLs of one kind are shown.
pub trait Shown {
    /// The URL without its secrets; a mask for all of it where it is not understood.
    fn shown(text: &str) -> String;
}

/// A URL of the kind `K`; only [`SecretUrl::expose`] gives its secrets away.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretUrl<K>(Secret, PhantomData<K>);

impl<K> SecretUrl<K> {
    /// Wraps the text, which may be invalid.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Secret::new(text), PhantomData)
    }

    /// The text itself. Every call is a place to look at when a secret has leaked.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether no URL is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Shown> fmt::Display for SecretUrl<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&K::shown(self.expose()))
    }
}

impl<K: Shown> fmt::Debug for SecretUrl<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&K::shown(self.expose()), formatter)
    }
}

impl<K: Shown> Serialize for SecretUrl<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&K::shown(self.expose()))
    }
}

impl<'de, K> Deserialize<'de> for SecretUrl<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Secret::deserialize(deserializer).map(|text| Self(text, PhantomData))
    }
}
