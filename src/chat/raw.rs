//! A request that is passed on without a dialect: at a path that providers list, or to manage their
//! models.
//!
//! It owns the parsed parts of such a request: its path, its model and where that is, and the
//! headers to pass on. It validates nothing.
//!
//! The one thing to know: its body is not serialised. Code that compares requests must compare the
//! body too.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::CleanPath;

/// A request that is passed on unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RawRequest {
    /// Why it may be passed on.
    pub lane: Lane,
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: CleanPath,
    /// Its query without the question mark and without credentials; empty if there is none.
    pub query: String,
    /// The model that it names.
    pub model: Option<String>,
    /// The position of that name.
    #[serde(skip)]
    pub model_at: ModelAt,
    /// The headers that matter to the provider, names in lower case.
    #[serde(skip)]
    pub headers: Vec<(&'static str, String)>,
    /// The boundary of a form, which differs in each request.
    #[serde(skip)]
    pub boundary: Option<String>,
    /// Its body; empty if it is streamed.
    #[serde(skip)]
    pub body: Bytes,
}

/// Why a request may be passed on without a dialect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Lane {
    /// A provider lists its path.
    Listed,
    /// Its caller may manage models.
    Management {
        /// The provider that it names.
        provider: Option<String>,
        /// All models that it names, its subject included.
        models: Vec<String>,
    },
}

/// The methods that are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Method {
    /// Reads.
    Get,
    /// Checks whether something exists.
    Head,
    /// All other operations.
    Post,
    /// Removes a model.
    Delete,
}

/// Where a request names its model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ModelAt {
    /// Nowhere.
    #[default]
    Nowhere,
    /// In the field `model` of a JSON object.
    Json,
    /// In a form, at this place of the body.
    Form(Range<usize>),
    /// In the query.
    Query,
}

/// The head of an answer that is passed on unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawHead {
    /// The status.
    pub status: u16,
    /// The headers to pass back, names in lower case.
    pub headers: Vec<(&'static str, Arc<[u8]>)>,
}

impl RawRequest {
    /// Whether it manages models.
    #[must_use]
    pub fn manages(&self) -> bool {
        match self.lane {
            Lane::Listed => false,
            Lane::Management { .. } => true,
        }
    }
}

impl Method {
    /// The name of the method.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    /// The method of this name, if it is passed on.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Get, Self::Head, Self::Post, Self::Delete].into_iter().find(|it| it.as_str() == name)
    }
}
