//! What is told about a server's prompt cache.

use serde::Serialize;

use super::Remembered;
use crate::admission::line::Lane;

/// What is believed of one model's prompt cache.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryView {
    /// How many conversations it holds.
    pub conversations: usize,
    /// Their tokens.
    pub tokens: u64,
    /// How many tokens it has room for; absent until it has lost something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<u64>,
    /// Tokens read in a second; absent until measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_rate: Option<u64>,
    /// The part of all prompts' tokens that was not read again, from 0 to 1; absent until it can be
    /// told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reused: Option<f64>,
    /// Slots that are kept free for a moment, for a conversation that is likely to go on.
    pub kept_slots: u32,
}

impl Remembered {
    /// What is believed of this lane's model; `None` where nothing was sent to it.
    pub fn view(&self, lane: Lane) -> Option<MemoryView> {
        let model = self.models.get(&lane)?;
        let (conversations, bytes) = model.memory.held();
        Some(MemoryView {
            conversations,
            tokens: model.reading.tokens(bytes) as u64,
            room: model.room.map(|room| room as u64),
            read_rate: model.reading.rate().map(|rate| rate as u64),
            reused: (model.prompts > 0.0).then(|| model.reused / model.prompts),
            kept_slots: self.kept_in(lane),
        })
    }
}
