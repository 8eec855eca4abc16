//! The types of the rule's interface: what a job needs, what is ordered, how an order ends.

use std::sync::Arc;
use std::time::Duration;

use crate::admission::line::Lane;
use crate::chat::LoadBy;

/// How loads are scheduled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmPolicy {
    /// How many prices a loaded model may stay while another one is waited for, at least. Default
    /// 2.
    pub stay: f64,
    /// After how many prices it is unloaded, even if jobs wait for it. Default 8.
    pub most: f64,
    /// How long a load may take.
    pub load_bound: Duration,
}

/// What a job needs from a server that loads models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// What the server runs for it. Names of one model have the same key.
    pub key: Arc<str>,
    /// How the model is loaded.
    pub by: LoadBy,
    /// How many calls the server runs at one time for this model; `None`: as many as the provider's
    /// limit allows.
    pub slots: Option<u32>,
}

/// An order to load a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOrder {
    /// Tells the end of this order from that of another one.
    pub number: u64,
    /// The model's lane.
    pub target: Lane,
    /// Its name.
    pub model: Arc<str>,
    /// How it is loaded.
    pub by: LoadBy,
    /// The models that should go, if one has to.
    pub leaving: Vec<(Arc<str>, LoadBy)>,
    /// How long these stay when they are idle: less than others, so that the server chooses them,
    /// and more than the load takes, so that they stay if they need not go.
    pub stay: Duration,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadEnd {
    /// The model is loaded.
    Loaded,
    /// The load failed as an attempt fails.
    Failed,
    /// The server has too much to do to begin the load.
    Busy,
    /// The server does not load this model in this way: its requests are sent as they come.
    Refused,
}

impl Default for WarmPolicy {
    fn default() -> Self {
        Self { stay: 2.0, most: 8.0, load_bound: Duration::from_secs(300) }
    }
}
