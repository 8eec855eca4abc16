//! What gateways before one server tell each other.
//!
//! Owns the words, which are JSON on their way. Models are named by their keys, which all gateways
//! make in the same way from the server's list.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one gateway tells the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The models that it uses or has seen loading.
    pub models: Vec<ModelWord>,
    /// The latest turn of another gateway of whose swap it has heard.
    pub knows: u64,
}

/// What a gateway tells of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelWord {
    /// The key of [`Needs`](super::Needs).
    pub key: Arc<str>,
    /// The calls that run.
    pub running: u32,
    /// The jobs that wait.
    pub waiting: u32,
    /// Whether some of these came before the model was loaded.
    pub promised: bool,
    /// Whether interactive jobs wait.
    pub hurry: bool,
    /// Whether an interactive job was started since it was loaded.
    pub people: bool,
    /// How long it takes to load.
    pub load_ms: Option<u64>,
}

/// The swap of the gateway whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapWord {
    /// The key of the model that comes.
    pub target: Arc<str>,
    /// Its name.
    pub model: Arc<str>,
    /// The keys of those that leave.
    pub leaving: Vec<Arc<str>>,
    /// Whether the load is ordered.
    pub loading: bool,
}

/// What this gateway has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// To all others; `None` while it has no work.
    pub word: Option<Word>,
    /// It wants a turn, for a model that is wanted for so long.
    pub asks: Option<Duration>,
    /// The last turn after which the server was asked what it has loaded.
    pub seen: u64,
    /// The swap in progress.
    pub swap: Option<SwapWord>,
}

/// What all gateways have said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Grows with every turn that ends.
    pub round: u64,
    /// Whether it is this gateway's turn.
    pub is_mine: bool,
    /// Whether its turn has just ended by what it said.
    pub has_ended: bool,
    /// Another gateway's swap and its age.
    pub swap: Option<(SwapWord, Duration)>,
    /// What the others say.
    pub others: Vec<Word>,
}
