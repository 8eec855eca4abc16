//! Writing the tool calls of an answer by the canonical rules.
//!
//! It owns the numbering: calls count from 0 without holes however the provider numbers them, each has an id
//! and a name on its first piece, and one that ends without arguments is given `{}`, since clients parse them.

use crate::chat::{ChatEvent, ToolCallPiece};

/// The tool calls of one answer, written one after the other.
#[derive(Debug)]
pub(super) struct Calls {
    /// Makes ids that the provider did not give.
    seed: u64,
    begun: u32,
    /// The call being written, and whether it has arguments yet.
    open: Option<(u32, bool)>,
}

impl Calls {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, begun: 0, open: None }
    }

    /// Whether the answer has a call.
    pub(super) fn any(&self) -> bool {
        self.begun > 0
    }

    /// The id for the next call, where the provider gives none.
    pub(super) fn next_id(&self) -> String {
        mint(self.seed, self.begun)
    }

    /// Begins the next call; the one before is complete.
    pub(super) fn begin(&mut self, id: Option<String>, name: String, events: &mut Vec<ChatEvent>) {
        self.end(events);
        let index = self.begun;
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| self.next_id());
        self.begun = self.begun.saturating_add(1);
        self.open = Some((index, false));
        events.push(ChatEvent::ToolCall(ToolCallPiece {
            index,
            id: Some(id),
            name: Some(name),
            arguments: String::new(),
        }));
    }

    /// Adds to the arguments of the call begun last.
    pub(super) fn add(&mut self, arguments: String, events: &mut Vec<ChatEvent>) {
        let Some((index, has_arguments)) = &mut self.open else { return };
        if arguments.is_empty() {
            return;
        }
        *has_arguments |= !arguments.trim().is_empty();
        let index = *index;
        // The first fragment travels with the id and the name, where it came with them.
        match events.last_mut() {
            Some(ChatEvent::ToolCall(piece)) if piece.index == index => {
                piece.arguments.push_str(&arguments);
            }
            _ => events.push(ChatEvent::ToolCall(ToolCallPiece {
                index,
                id: None,
                name: None,
                arguments,
            })),
        }
    }

    /// Completes the call begun last.
    pub(super) fn end(&mut self, events: &mut Vec<ChatEvent>) {
        if let Some((_, false)) = self.open {
            self.add("{}".to_owned(), events);
        }
        self.open = None;
    }
}

/// An id for a call that came without one: unique within the answer, and as unlikely to meet another answer's as
/// `seed` is.
pub(super) fn mint(seed: u64, index: u32) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    // SplitMix64 spreads neighbouring indexes over the whole range (Steele, Lea, Flood 2014).
    let mut state = seed.wrapping_add(u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^= state >> 31;
    let mut id = String::from("call_");
    for _ in 0..12 {
        let digit = usize::try_from(state % 36).unwrap_or(0);
        id.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
        state /= 36;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_ids_differ_within_and_between_answers() {
        let ids: std::collections::HashSet<String> =
            (0..50u64).flat_map(|seed| (0..50).map(move |index| mint(seed, index))).collect();
        assert_eq!(ids.len(), 2500);
    }

    #[test]
    fn a_call_that_ends_without_arguments_is_given_an_empty_object() {
        let mut events = Vec::new();
        let mut calls = Calls::new(1);
        calls.begin(Some("a".into()), "f".into(), &mut events);
        calls.add(" ".into(), &mut events);
        calls.begin(None, "g".into(), &mut events);
        calls.add("{\"x\"".into(), &mut events);
        calls.add(":1}".into(), &mut events);
        calls.end(&mut events);
        let [ChatEvent::ToolCall(first), ChatEvent::ToolCall(second)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((first.index, first.arguments.as_str()), (0, " {}"));
        assert_eq!((second.index, second.arguments.as_str()), (1, "{\"x\":1}"));
        assert_eq!(second.id.as_deref(), Some(mint(1, 1).as_str()));
    }
}
