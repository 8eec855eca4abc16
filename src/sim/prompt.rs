//! What a simulated model sees of a request, in the order in which it reads it.
//!
//! Owns that order: the tools, then each message with its role, thinking, text, images and calls;
//! four bytes are a token. Refuses to depend on anything else: options, ids and formats are not
//! part of a prompt.
//!
//! What a reader would get wrong: the answer counts as the next prompt would say it, so whoever
//! sends it back as it came has all of it remembered, thinking included.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::answer::{Piece, ToolCall};
use super::ask::{Ask, Message, seen_call};
use super::prompt_cache::{Part, Prompt};

/// Bytes of a token.
const TOKEN: usize = 4;
/// Tokens of the frame around a message.
const FRAME: u32 = 4;
/// Tokens of an image.
const IMAGE: u32 = 256;

/// The prompt of a request that is answered with these pieces.
pub fn prompt(ask: &Ask, pieces: &[Piece]) -> Prompt {
    let tools = ask.tools.iter().flat_map(|tool| text(&tool.seen));
    let messages = ask.messages.iter().flat_map(message);
    Prompt::new(tools.chain(messages), message(&answered(pieces)))
}

fn message(message: &Message) -> Vec<Part> {
    let frame = Part { what: hash(&message.role), tokens: FRAME };
    let image = |image: &String| Part { what: hash(image), tokens: IMAGE };
    let mut parts = vec![frame];
    parts.extend(text(&message.thinking));
    parts.extend(text(&message.content));
    parts.extend(message.images.iter().map(image));
    parts.extend(message.calls.iter().flat_map(|call| text(call)));
    parts
}

/// The message as which a client sends an answer back.
fn answered(pieces: &[Piece]) -> Message {
    let mut message = Message::new("assistant", "");
    for piece in pieces {
        match piece {
            Piece::Thinking(token) => message.thinking.push_str(token),
            Piece::Text(token) => message.content.push_str(token),
            Piece::Call(ToolCall { name, arguments, .. }) => {
                message.calls.push(seen_call(name, arguments))
            }
        }
    }
    message
}

fn text(text: &str) -> impl Iterator<Item = Part> {
    text.as_bytes().chunks(TOKEN).map(|bytes| Part { what: hash(bytes), tokens: 1 })
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(body: serde_json::Value) -> Prompt {
        prompt(&Ask::chat(&body).expect("a chat"), &[])
    }

    #[test]
    fn tools_come_first_and_ids_are_not_seen() {
        let call =
            |id: &str| json!({"id": id, "function": {"name": "f", "arguments": {"b": 1, "a": 2}}});
        let chat = |id: &str, temperature: f64| {
            parts(json!({"model": "m", "options": {"temperature": temperature},
                "messages": [{"role": "user", "content": "hello"},
                    {"role": "assistant", "content": "", "tool_calls": [call(id)]}]}))
        };
        assert_eq!(chat("call_1", 0.0), chat("call_2", 1.0));
        let tool = json!({"type": "function", "function": {"name": "f", "parameters": {}}});
        let with = |tools| {
            parts(json!({"model": "m", "tools": tools,
            "messages": [{"role": "user", "content": "hello"}]}))
        };
        assert_eq!(with(json!([])).tokens(), 4 + 2);
        assert!(with(json!([tool])).tokens() > 4 + 2);
    }
}
