//! Cuts a carried stream into frames, which are events, lines or items of a list, with every byte
//! that belongs to them.
//!
//! It owns the bytes of one unfinished frame. It never reads what a frame says.
//!
//! The one thing to know: a frame is handed on only when it is whole: half of one means nothing to
//! a client, and an error could not follow it.

use memchr::{memchr, memchr2};

use crate::backend::{DecodeError, MAX_PIECE};

/// How a stream is cut into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Events, each ended by a blank line.
    Events,
    /// Lines.
    Lines,
    /// The items of a list, each with the bytes before it. The end of the list is not a frame.
    Items,
}

/// Cuts a stream into frames.
#[derive(Debug)]
pub(super) struct Frames {
    framing: Framing,
    held: Vec<u8>,
    /// How many bytes of `held` were examined.
    seen: usize,
    /// Whether the line under examination has any text.
    has_text: bool,
    /// The place of `seen` within a list.
    nest: Nest,
}

/// A place within JSON.
#[derive(Debug, Default)]
struct Nest {
    depth: usize,
    in_text: bool,
    is_escaped: bool,
}

impl Nest {
    /// Takes the next byte. Returns whether it ends an item of the outermost list.
    fn ends_item(&mut self, byte: u8) -> bool {
        if self.in_text {
            self.in_text = self.is_escaped || byte != b'"';
            self.is_escaped = !self.is_escaped && byte == b'\\';
            return false;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 1;
            }
            _ => {}
        }
        false
    }
}

impl Frames {
    pub(super) fn new(framing: Framing) -> Self {
        let nest = Nest::default();
        Self { framing, held: Vec::new(), seen: 0, has_text: false, nest }
    }

    /// Takes what arrived and hands every frame that is now whole to `frame`. Stops at its first
    /// error.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        mut frame: impl FnMut(&[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut held = std::mem::take(&mut self.held);
        // Bytes that begin with a frame, as most do, are not copied.
        let is_first = held.is_empty();
        if !is_first {
            held.extend_from_slice(bytes);
        }
        let all = if is_first { bytes } else { held.as_slice() };
        let mut start = 0;
        while let Some(end) = self.end(all) {
            let whole = all.get(start..end).unwrap_or_default();
            start = end;
            frame(whole)?;
        }
        if is_first {
            held.extend_from_slice(bytes.get(start..).unwrap_or_default());
        } else {
            held.drain(..start);
        }
        self.held = held;
        self.seen = self.seen.saturating_sub(start);
        if self.held.len() > MAX_PIECE { Err(DecodeError::TooLarge) } else { Ok(()) }
    }

    /// The bytes after the last whole frame.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        self.seen = 0;
        std::mem::take(&mut self.held)
    }

    /// The end of the next frame.
    fn end(&mut self, held: &[u8]) -> Option<usize> {
        let end = match self.framing {
            Framing::Events => self.event_end(held),
            Framing::Lines => {
                let rest = held.get(self.seen..).unwrap_or_default();
                memchr(b'\n', rest).map(|at| self.seen + at + 1)
            }
            Framing::Items => {
                let rest = held.get(self.seen..).unwrap_or_default();
                let ended = rest.iter().position(|byte| self.nest.ends_item(*byte));
                ended.map(|at| self.seen + at + 1)
            }
        };
        self.seen = end.unwrap_or(held.len());
        end
    }

    /// The end of the next event, which a blank line ends.
    fn event_end(&mut self, held: &[u8]) -> Option<usize> {
        let mut at = self.seen;
        loop {
            let rest = held.get(at..).unwrap_or_default();
            let Some(text) = memchr2(b'\n', b'\r', rest) else {
                self.has_text |= !rest.is_empty();
                return None;
            };
            self.has_text |= text > 0;
            // The line feed of this line end may still be on its way; it then counts as a blank
            // line of its own.
            let is_pair = rest.get(text..text + 2) == Some(b"\r\n");
            at += text + if is_pair { 2 } else { 1 };
            if !std::mem::take(&mut self.has_text) {
                return Some(at);
            }
        }
    }
}

/// The start and the end of the object in a frame.
pub(super) fn object(frame: &[u8]) -> Option<(usize, usize)> {
    let start = frame.iter().position(|byte| *byte == b'{')?;
    let end = frame.iter().rposition(|byte| *byte == b'}')?;
    (start < end).then_some((start, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(framing: Framing, pieces: &[&[u8]]) -> (Vec<String>, String) {
        let mut frames = Frames::new(framing);
        let mut found = Vec::new();
        for piece in pieces {
            let note = |frame: &[u8]| {
                found.push(String::from_utf8_lossy(frame).into_owned());
                Ok(())
            };
            frames.feed(piece, note).unwrap();
        }
        (found, String::from_utf8_lossy(&frames.take_rest()).into_owned())
    }

    #[test]
    fn events_end_at_blank_lines_with_every_kind_of_line_end() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = "data: a\ndata: b\n\n: c\n\ndata: d".replace('\n', end);
            let (found, rest) = cut(Framing::Events, &[stream.as_bytes()]);
            let expected =
                ["data: a\ndata: b\n\n", ": c\n\n"].map(|frame| frame.replace('\n', end));
            assert_eq!(found, expected, "{end:?}");
            assert_eq!(rest, "data: d");
        }
    }

    #[test]
    fn lines_keep_their_line_ends() {
        let (found, rest) = cut(Framing::Lines, &[b"{\"a\":1}\r\n\n{\"b\"", b":2}\n{"]);
        assert_eq!(found, ["{\"a\":1}\r\n", "\n", "{\"b\":2}\n"]);
        assert_eq!(rest, "{");
    }

    #[test]
    fn items_of_a_list_come_with_what_stands_before_them() {
        let list = "[{\"a\":[{\"}\\\"]\":1}]}\r\n,\r\n{\"b\":2} ]\n";
        let (found, rest) = cut(Framing::Items, &[list.as_bytes()]);
        assert_eq!(found, ["[{\"a\":[{\"}\\\"]\":1}]}", "\r\n,\r\n{\"b\":2}"]);
        assert_eq!(rest, " ]\n");
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_wherever_a_stream_is_cut(
            stream in "[a:\r\n{}\\[\\],\"\\\\]{0,40}",
            cuts in proptest::collection::vec(0usize..40, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&stream.as_bytes()[from..cut]);
                from = cut;
            }
            pieces.push(&stream.as_bytes()[from..]);
            for framing in [Framing::Events, Framing::Lines, Framing::Items] {
                let (found, rest) = cut(framing, &pieces);
                prop_assert_eq!(found.concat() + &rest, stream.as_str());
            }
        }
    }
}
