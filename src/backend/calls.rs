//! Writes the tool calls of an answer as canonical events.
//!
//! It owns the numbering and the order. Calls are numbered from 0 without gaps, however the
//! provider numbers them. Each has an id and a name on its first piece. A call that ends without
//! arguments gets `{}`, because clients parse them. No call begins before the previous one is
//! complete. It refuses calls without a name.
//!
//! The one thing to know: pieces of parallel calls may come in any order, and only the first
//! incomplete call is written as its pieces come; pieces of the others are held. A call is complete
//! when its provider says so, or when its arguments are a whole JSON document and another call
//! begins.

mod json_scan;

use std::collections::VecDeque;

use super::{DecodeError, MAX_PIECE};
use crate::chat::{ChatEvent, Finish, ToolCallPiece};
use json_scan::JsonScan;

/// How many complete calls are remembered, to recognise late pieces of them.
const MAX_REMEMBERED: usize = 64;

/// The memory that a held call takes beside its text, in bytes.
const OVERHEAD: usize = 128;

/// The tool calls of one answer.
#[derive(Debug)]
pub(super) struct Calls {
    /// The seed for ids that the provider did not give.
    seed: u64,
    begun: u32,
    /// In the order in which they began; those before `head` are complete and written.
    calls: VecDeque<Call>,
    head: usize,
    /// The size of the calls that are not written yet, in bytes.
    held: usize,
}

/// A piece of a call as a provider sends it. Every field may be missing.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    /// The provider's own index of the call.
    pub(super) index: Option<u64>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) arguments: String,
    /// The arguments, if no text of them comes.
    pub(super) fallback: Option<String>,
}

#[derive(Debug)]
struct Call {
    /// The canonical index.
    number: u32,
    index: Option<u64>,
    id: Option<String>,
    name: Option<String>,
    /// Whether its first piece was written.
    is_written: bool,
    /// Arguments that are not written yet.
    held: String,
    /// The arguments, if no text of them comes.
    fallback: Option<String>,
    scan: JsonScan,
    /// Whether the provider will say when the call is complete.
    is_closed_by_provider: bool,
    /// Whether the call is complete, by the provider or by another call that followed.
    is_closed: bool,
}

impl Calls {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, begun: 0, calls: VecDeque::new(), head: 0, held: 0 }
    }

    /// Whether the answer has a call.
    fn has_calls(&self) -> bool {
        self.begun > 0
    }

    /// The reason why the answer ended, given the provider's: some providers end an answer with
    /// calls by `stop`, and some an answer without calls by `tool_calls`.
    pub(super) fn finish(&self, told: Finish) -> Finish {
        match told {
            Finish::Stop | Finish::ToolCalls if self.has_calls() => Finish::ToolCalls,
            Finish::ToolCalls => Finish::Stop,
            // The limit may have cut the arguments of a call, so it counts more than the call.
            told => told,
        }
    }

    /// The id of the next call, if the provider gives none.
    pub(super) fn next_id(&self) -> String {
        mint(self.seed, self.begun)
    }

    /// Takes a call that comes whole.
    ///
    /// # Errors
    ///
    /// `Malformed` without a name, `TooLarge` when too much is held.
    pub(super) fn take_whole(
        &mut self,
        fragment: Fragment,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        if fragment.name.is_none() {
            return Err(nameless());
        }
        let position = self.begin(&fragment);
        self.add(position, fragment, events)?;
        self.close_at(position, events)
    }

    /// Takes a piece of a call. `is_first` says whether it is the first call piece of its message.
    ///
    /// # Errors
    ///
    /// `Malformed` when it continues a call that is complete, `TooLarge` when too much is held.
    pub(super) fn take_piece(
        &mut self,
        fragment: Fragment,
        is_first: bool,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        let position = match self.find(&fragment, is_first) {
            Some(position) => position,
            // A blank piece that belongs to no call.
            None if fragment.is_blank() => return Ok(()),
            None => self.begin(&fragment),
        };
        self.add(position, fragment, events)
    }

    /// Begins a call that [`Calls::close`] will complete.
    pub(super) fn open(
        &mut self,
        fragment: Fragment,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        let position = self.begin(&fragment);
        if let Some(call) = self.calls.get_mut(position) {
            call.is_closed_by_provider = true;
        }
        self.add(position, fragment, events)
    }

    /// Whether the call with the provider's `index` is incomplete; without an index, whether any
    /// call is.
    pub(super) fn is_open(&self, index: Option<u64>) -> bool {
        let mut open = self.calls.iter().filter(|call| !call.is_closed);
        open.any(|call| index.is_none() || call.index == index)
    }

    /// Completes the call with the provider's `index`; without an index, the latest one.
    pub(super) fn close(
        &mut self,
        index: Option<u64>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        let is_it = |call: &Call| !call.is_closed && (index.is_none() || call.index == index);
        match self.calls.iter().rposition(is_it) {
            Some(position) => self.close_at(position, events),
            None => Ok(()),
        }
    }

    /// Completes all calls.
    ///
    /// # Errors
    ///
    /// `Malformed` when one has no name.
    pub(super) fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        self.calls.iter_mut().for_each(|call| call.is_closed = true);
        self.write(events);
        if self.head < self.calls.len() { Err(nameless()) } else { Ok(()) }
    }

    fn begin(&mut self, fragment: &Fragment) -> usize {
        self.calls.push_back(Call {
            number: self.begun,
            index: fragment.index,
            id: None,
            name: None,
            is_written: false,
            held: String::new(),
            fallback: None,
            scan: JsonScan::default(),
            is_closed_by_provider: false,
            is_closed: false,
        });
        self.begun = self.begun.saturating_add(1);
        self.held = self.held.saturating_add(OVERHEAD);
        self.calls.len() - 1
    }

    fn add(
        &mut self,
        position: usize,
        fragment: Fragment,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        let Some(call) = self.calls.get_mut(position) else { return Ok(()) };
        if position < self.head {
            // Some providers repeat the id and name of a complete call, or send a blank piece.
            let is_more = !fragment.arguments.trim().is_empty();
            let more = || DecodeError::Malformed("a tool call goes on after its end".to_owned());
            return if is_more { Err(more()) } else { Ok(()) };
        }
        call.id = call.id.take().or(fragment.id);
        call.name = call.name.take().or(fragment.name);
        // Some providers send an empty object before the real arguments.
        let is_empty = !call.scan.has_text && fragment.arguments.trim() == "{}";
        let fallback = fragment.fallback.or_else(|| is_empty.then(|| "{}".to_owned()));
        let size = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.held = self.held.saturating_sub(size(&call.fallback));
        call.fallback = fallback.or(call.fallback.take());
        self.held = self.held.saturating_add(size(&call.fallback));
        if !is_empty {
            call.scan.look_at(&fragment.arguments);
            self.held = self.held.saturating_add(fragment.arguments.len());
            call.held.push_str(&fragment.arguments);
        }
        self.write(events);
        if self.held > MAX_PIECE { Err(DecodeError::TooLarge) } else { Ok(()) }
    }

    fn close_at(
        &mut self,
        position: usize,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        if let Some(call) = self.calls.get_mut(position) {
            if call.name.is_none() {
                return Err(nameless());
            }
            call.is_closed = true;
        }
        self.write(events);
        Ok(())
    }

    /// Writes all pieces that may be written now.
    fn write(&mut self, events: &mut Vec<ChatEvent>) {
        while let Some(call) = self.calls.get_mut(self.head) {
            if call.name.is_none() {
                return;
            }
            let before = call.held.len() + if call.is_written { 0 } else { OVERHEAD };
            call.write(self.seed, events);
            self.held = self.held.saturating_sub(before);
            let is_followed = self.head + 1 < self.calls.len();
            let Some(call) = self.calls.get_mut(self.head) else { return };
            if !(call.is_closed || is_followed && call.is_complete()) {
                return;
            }
            call.is_closed = true;
            self.held = self.held.saturating_sub(call.fallback.as_ref().map_or(0, String::len));
            call.end(events);
            call.fallback = None;
            self.head += 1;
            if self.head > MAX_REMEMBERED {
                self.calls.pop_front();
                self.head -= 1;
            }
        }
    }

    /// The call that the piece belongs to; `None` if it begins another. The index and the id may be
    /// missing, or be repeated on every piece together with the name.
    fn find(&self, fragment: &Fragment, is_first: bool) -> Option<usize> {
        let has_arguments = !fragment.arguments.trim().is_empty();
        // A piece with a name and arguments does not continue a call whose arguments are whole.
        let begins = |call: &Call| {
            fragment.name.is_some() && has_arguments && call.is_complete() && call.name.is_some()
        };
        let latest = |is_it: &dyn Fn(&Call) -> bool| self.calls.iter().rposition(is_it);
        let same_id = |call: &Call| {
            // Some providers give every call the same id, and distinguish calls by index and name.
            let is_other =
                fragment.index.is_some() && call.index.is_some() && fragment.name.is_some();
            fragment.id.is_some()
                && call.id == fragment.id
                && (!is_other || call.index == fragment.index)
        };
        let other_id = |call: &Call| fragment.id.is_some() && call.id.is_some() && !same_id(call);
        if let Some(index) = fragment.index
            && let Some(position) = latest(&|call| call.index == Some(index))
        {
            let call = self.calls.get(position)?;
            // Some providers give whole calls that all have the index 0.
            let is_other = if other_id(call) {
                fragment.name.is_some()
            } else {
                !same_id(call) && begins(call)
            };
            return (!is_other).then_some(position);
        }
        if let Some(position) = latest(&same_id) {
            return Some(position);
        }
        let last = self.calls.len().checked_sub(1)?;
        let call = self.calls.get(last)?;
        let is_numbered_otherwise = fragment.index.is_some() && call.index.is_some();
        if is_numbered_otherwise || other_id(call) && fragment.name.is_some() {
            return None;
        }
        let goes_on = match &fragment.name {
            None => true,
            // The arguments may come before the name, and the name may be repeated.
            Some(_) if call.name.is_none() => true,
            Some(name) => is_first && call.name.as_ref() == Some(name) && !begins(call),
        };
        goes_on.then_some(last)
    }
}

impl Fragment {
    fn is_blank(&self) -> bool {
        self.id.is_none() && self.name.is_none() && self.arguments.trim().is_empty()
    }
}

impl Call {
    fn write(&mut self, seed: u64, events: &mut Vec<ChatEvent>) {
        let arguments = std::mem::take(&mut self.held);
        if self.is_written {
            return self.append(arguments, events);
        }
        self.is_written = true;
        let id = self.id.clone().filter(|id| !id.is_empty());
        events.push(ChatEvent::ToolCall(ToolCallPiece {
            index: self.number,
            id: Some(id.unwrap_or_else(|| mint(seed, self.number))),
            name: self.name.clone(),
            arguments,
        }));
    }

    fn append(&self, arguments: String, events: &mut Vec<ChatEvent>) {
        if arguments.is_empty() {
            return;
        }
        // The first arguments are written together with the id and the name, if they came together.
        match events.last_mut() {
            Some(ChatEvent::ToolCall(piece)) if piece.index == self.number => {
                piece.arguments.push_str(&arguments);
            }
            _ => events.push(ChatEvent::ToolCall(ToolCallPiece {
                index: self.number,
                id: None,
                name: None,
                arguments,
            })),
        }
    }

    /// Whether the arguments so far are a whole document, of a call whose provider does not say
    /// when it is complete.
    fn is_complete(&self) -> bool {
        if self.is_closed_by_provider {
            return false;
        }
        if self.scan.has_text { self.scan.is_whole } else { self.fallback.is_some() }
    }

    fn end(&mut self, events: &mut Vec<ChatEvent>) {
        if !self.scan.has_text {
            let arguments = self.fallback.take().unwrap_or_else(|| "{}".to_owned());
            self.append(arguments, events);
        }
    }
}

fn nameless() -> DecodeError {
    DecodeError::Malformed("a tool call without a name".to_owned())
}

/// The length of a minted id, in characters.
pub(super) const MINTED: usize = 9;

/// An id for a call that came without one: unique within the answer, and as unlikely to equal one
/// of another answer as its length allows. It has nine letters and digits, because the history may
/// be sent to a model of Mistral's, whose template accepts no other ids.
pub(super) fn mint(seed: u64, index: u32) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    // SplitMix64 spreads neighbouring indexes over the whole range (Steele, Lea, Flood 2014).
    let mut state = seed.wrapping_add(u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^= state >> 31;
    let mut id = String::new();
    for _ in 0..MINTED {
        let digit = usize::try_from(state % 36).unwrap_or(0);
        id.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
        state /= 36;
    }
    id
}

#[cfg(test)]
mod tests;
