//! Server-sent events, split as bytes arrive, by the rules of the WHATWG HTML standard (section
//! 9.2.6).
//!
//! It owns the bytes of one unfinished event. It rejects events above a limit, so that a provider
//! that never sends a blank line cannot fill the memory, and fields whose name is not text: a
//! corrupted line must not be skipped like an unknown field, or a part of an answer would be
//! missing unnoticed. `id` and `retry` are ignored: nothing here reconnects.
//!
//! The one thing to know: browsers discard a last event without its blank line, but
//! [`Events::finish`] delivers it, because some providers end so. Its consumer must find out
//! whether it is complete.

use std::fmt;

use serde::Serialize;

use super::json;

/// The last event of a stream in APIs of OpenAI's kind.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// The byte order mark that may begin a stream.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why bytes could not be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitError {
    /// An event exceeds the limit.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A field's name is not UTF-8.
    NotText,
}

impl fmt::Display for SplitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(formatter, "an event is larger than {limit} bytes"),
            Self::NotText => formatter.write_str("a field's name is not UTF-8"),
        }
    }
}

/// An event with at least one `data` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The last `event` field; empty if there is none.
    pub name: &'a [u8],
    /// The `data` fields, joined by line feeds.
    pub data: &'a [u8],
}

/// Splits bytes into events.
#[derive(Debug)]
pub struct Events {
    /// The unfinished line.
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// Whether a line was read; the first may begin with a byte order mark.
    begun: bool,
    /// Whether the last byte was a carriage return, so that a following line feed belongs to it.
    after_return: bool,
    limit: usize,
}

impl Events {
    /// Events of at most `limit` bytes, the unfinished line included.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            name: Vec::new(),
            data: Vec::new(),
            has_data: false,
            begun: false,
            after_return: false,
            limit,
        }
    }

    /// Passes every event that the new bytes complete to `event`. Stops at the first error of
    /// `event`; the bytes after it are lost.
    ///
    /// # Errors
    ///
    /// `event`'s own, or [`SplitError`] turned into it.
    pub fn feed<E: From<SplitError>>(
        &mut self,
        mut bytes: &[u8],
        mut event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.after_return && !bytes.is_empty() {
            self.after_return = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (head, tail) = bytes.split_at(end);
            self.check(head.len())?;
            if self.line.is_empty() {
                self.whole(head, &mut event)?;
            } else {
                self.line.extend_from_slice(head);
                let line = std::mem::take(&mut self.line);
                self.whole(&line, &mut event)?;
                self.line = line;
                self.line.clear();
            }
            bytes = match tail {
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => tail,
            };
            self.after_return = tail == b"\r";
        }
        self.check(bytes.len())?;
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Delivers the last event if it has no blank line.
    ///
    /// # Errors
    ///
    /// `event`'s own, or [`SplitError`] turned into it.
    pub fn finish<E: From<SplitError>>(
        &mut self,
        mut event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.whole(&line, &mut event)?;
        }
        self.whole(b"", &mut event)
    }

    fn whole<E: From<SplitError>>(
        &mut self,
        line: &[u8],
        event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let first = !std::mem::replace(&mut self.begun, true);
        let line = if first { line.strip_prefix(MARK).unwrap_or(line) } else { line };
        if line.is_empty() {
            return self.dispatch(event);
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            // Comments have an empty field name; unknown fields are ignored.
            _ if std::str::from_utf8(field).is_ok() => {}
            _ => return Err(SplitError::NotText.into()),
        }
        Ok(())
    }

    fn dispatch<E>(&mut self, event: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let result = if self.has_data {
            event(Event { name: &self.name, data: &self.data })
        } else {
            Ok(())
        };
        self.has_data = false;
        self.name.clear();
        self.data.clear();
        result
    }

    fn check(&self, more: usize) -> Result<(), SplitError> {
        let held = self.line.len().saturating_add(self.data.len()).saturating_add(self.name.len());
        if held.saturating_add(more) > self.limit {
            return Err(SplitError::TooLarge { limit: self.limit });
        }
        Ok(())
    }
}

/// Appends an event with `data` as JSON, and with a name unless `name` is empty.
pub fn write(name: &str, data: &impl Serialize, out: &mut Vec<u8>) {
    if !name.is_empty() {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    json::write(out, data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Read = Vec<(String, String)>;

    fn read(pieces: &[&[u8]], limit: usize) -> Result<Read, SplitError> {
        let mut events = Events::new(limit);
        let mut found = Vec::new();
        let mut note = |event: Event<'_>| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            found.push((text(event.name), text(event.data)));
            Ok::<(), SplitError>(())
        };
        for piece in pieces {
            events.feed(piece, &mut note)?;
        }
        events.finish(&mut note)?;
        Ok(found)
    }

    fn data(stream: &str) -> Vec<String> {
        read(&[stream.as_bytes()], 64).unwrap().into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn all_three_line_ends_end_lines() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = "data: a\n\ndata: b\ndata: c\n\n".replace('\n', end);
            assert_eq!(data(&stream), ["a", "b\nc"], "{end:?}");
        }
        assert_eq!(data("data: a\r\n\rdata: b\n\r\n"), ["a", "b"]);
    }

    #[test]
    fn one_space_after_the_colon_is_removed_and_none_is_needed() {
        assert_eq!(data("data:a\n\ndata:  b \n\ndata\n\ndata:\n\n"), ["a", " b ", "", ""]);
    }

    #[test]
    fn comments_unknown_fields_and_events_without_data_are_skipped() {
        assert_eq!(data(": x\n\nid: 1\nretry: 5\n\nevent: e\n\nDATA: x\n data: y\n\n"), [""; 0]);
    }

    #[test]
    fn a_damaged_field_is_not_skipped() {
        for stream in [&b"da\xffta: a\n\n"[..], b"\xffdata: a", b"data\xff\n", b"i\xffd: 1\n"] {
            assert_eq!(read(&[stream], 64), Err(SplitError::NotText), "{stream:?}");
        }
        assert_eq!(data("dät: x\n\ndata: a\n\n"), ["a"]);
    }

    #[test]
    fn names_belong_to_one_event_only() {
        let found = read(&[b"event: a\nevent: b\ndata: 1\n\ndata: 2\n\n"], 64).unwrap();
        assert_eq!(found, [("b".into(), "1".into()), (String::new(), "2".into())]);
    }

    #[test]
    fn a_byte_order_mark_is_dropped_at_the_start_only() {
        assert_eq!(data("\u{feff}data: a\n\n\u{feff}data: b\n\n"), ["a"]);
    }

    #[test]
    fn the_last_event_is_delivered_without_its_blank_line_or_line_end() {
        assert_eq!(data("data: a\n\ndata: b"), ["a", "b"]);
        assert_eq!(data("data: a\n\ndata: b\n"), ["a", "b"]);
    }

    #[test]
    fn an_event_above_the_limit_is_refused_before_it_ends() {
        let refused = Err(SplitError::TooLarge { limit: 12 });
        assert_eq!(read(&[b"data: 123456"], 12).unwrap().len(), 1);
        assert_eq!(read(&[b"data: 123456", b"7"], 12), refused);
        assert_eq!(read(&[b"data: 12\n", b"data: 34\n", b"data: 5678\n"], 12), refused);
        assert_eq!(read(&[b": a long comment"], 12), refused);
    }

    proptest! {
        #[test]
        fn the_events_are_the_same_for_any_cut(
            lines in proptest::collection::vec("(data|event|id|: x|\u{feff})?:? ?[aé]{0,3}(\r|\n|\r\n){1,2}", 0..12),
            cuts in proptest::collection::vec(0usize..120, 0..8),
        ) {
            let stream = lines.concat().into_bytes();
            let whole = read(&[&stream], 4096).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&stream[from..cut]);
                from = cut;
            }
            pieces.push(&stream[from..]);
            prop_assert_eq!(read(&pieces, 4096).unwrap(), whole);
        }
    }
}
