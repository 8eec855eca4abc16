//! What the tests of the dialects share.

use crate::chat::{Ask, ChatRequest};

/// The chat that was read.
pub(super) fn chat(ask: Ask) -> ChatRequest {
    match ask {
        Ask::Chat(chat) => chat,
        other => panic!("not a chat: {other:?}"),
    }
}
