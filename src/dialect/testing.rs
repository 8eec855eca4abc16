//! Helpers for the tests of all dialects.

use crate::chat::{Ask, ChatRequest};

/// The decoded chat.
pub(super) fn chat(ask: Ask) -> ChatRequest {
    match ask {
        Ask::Chat(chat) => chat,
        other => panic!("not a chat: {other:?}"),
    }
}
