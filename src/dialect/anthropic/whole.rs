//! Writing a message as one document.

use super::message::{Block, Counts, Ending, Head};
use crate::chat::{ChatEvent, Completion, Finish, ToolCallPiece};
use crate::dialect::arguments;
use crate::dialect::single::Collector;
use crate::wire::json;
use crate::wire::signature::REDACTED;

/// Writes a message at its end.
pub(super) struct Whole {
    head: Head,
    parts: Vec<OpenBlock>,
}

/// A block that may still grow.
enum OpenBlock {
    Text(String),
    Thinking { text: String, signature: String },
    Call { index: u32, id: String, name: String, arguments: String },
}

impl Whole {
    pub(super) fn new(head: Head) -> Self {
        Self { head, parts: Vec::new() }
    }

    fn text(&mut self, text: String) {
        match self.parts.last_mut() {
            Some(OpenBlock::Text(before)) => before.push_str(&text),
            Some(OpenBlock::Thinking { .. } | OpenBlock::Call { .. }) | None => {
                self.parts.push(OpenBlock::Text(text));
            }
        }
    }

    fn think(&mut self, text: String) {
        match self.parts.last_mut() {
            Some(OpenBlock::Thinking { text: before, signature }) if signature.is_empty() => {
                before.push_str(&text);
            }
            Some(OpenBlock::Text(_) | OpenBlock::Thinking { .. } | OpenBlock::Call { .. })
            | None => {
                self.parts.push(OpenBlock::Thinking { text, signature: String::new() });
            }
        }
    }

    fn sign(&mut self, new: String) {
        match self.parts.last_mut() {
            Some(OpenBlock::Thinking { signature, .. })
                if signature.is_empty() && !new.starts_with(REDACTED) =>
            {
                *signature = new;
            }
            Some(OpenBlock::Thinking { .. } | OpenBlock::Text(_) | OpenBlock::Call { .. })
            | None => {
                self.parts.push(OpenBlock::Thinking { text: String::new(), signature: new });
            }
        }
    }

    fn call(&mut self, piece: ToolCallPiece) {
        let known = self.parts.iter_mut().rev().find_map(|part| match part {
            OpenBlock::Call { index, arguments, .. } if *index == piece.index => Some(arguments),
            OpenBlock::Call { .. } | OpenBlock::Text(_) | OpenBlock::Thinking { .. } => None,
        });
        if let Some(arguments) = known {
            arguments.push_str(&piece.arguments);
        } else if let ToolCallPiece { index, id, name: Some(name), arguments } = piece {
            let id = id.unwrap_or_else(|| self.head.call_id(index));
            self.parts.push(OpenBlock::Call { index, id, name, arguments });
        }
    }
}

/// The finished block. A call that the token limit cut off is dropped, since it cannot be run.
fn block(open: OpenBlock, is_cut: bool) -> Option<Block> {
    match open {
        OpenBlock::Text(text) => Some(Block::Text { text }),
        OpenBlock::Thinking { text, signature } => Some(match signature.strip_prefix(REDACTED) {
            Some(data) if text.is_empty() => Block::RedactedThinking { data: data.to_owned() },
            Some(_) | None => Block::Thinking { thinking: text, signature },
        }),
        OpenBlock::Call { id, name, arguments, .. } => {
            let input = arguments::object_or_raw(arguments, is_cut)?;
            Some(Block::ToolUse { id, name, input })
        }
    }
}

impl Collector for Whole {
    fn add(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Text(text) => self.text(text),
            ChatEvent::Reasoning(text) if self.head.shows_thinking => self.think(text),
            ChatEvent::Signature(signature) if self.head.wants_thinking => self.sign(signature),
            ChatEvent::ToolCall(piece) => self.call(piece),
            ChatEvent::Reasoning(_)
            | ChatEvent::Signature(_)
            | ChatEvent::Logprobs(_)
            | ChatEvent::Whole(_)
            | ChatEvent::Carried(_)
            | ChatEvent::Done(_) => {}
        }
    }

    fn write(&mut self, completion: &Completion, out: &mut Vec<u8>) {
        let is_cut = completion.finish == Finish::Length;
        let parts = std::mem::take(&mut self.parts);
        let content: Vec<Block> =
            parts.into_iter().filter_map(|part| block(part, is_cut)).collect();
        let calls = content.iter().any(|block| matches!(block, Block::ToolUse { .. }));
        let ending = Ending::new(completion, calls);
        let usage = Counts::of_message(&completion.usage);
        json::write(out, &self.head.message(&content, ending, usage));
    }
}
