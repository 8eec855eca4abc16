//! Writes server-sent events, one after the other.
//!
//! The one thing to know: compact JSON contains no line breaks, so one `data:` line is enough, and
//! no text from a caller can end an event.

use bytes::Bytes;
use serde::Serialize;

/// The bytes of some events.
#[derive(Debug, Default)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    /// Adds an event.
    pub(super) fn add(&mut self, event: &str, content: &impl Serialize) {
        let before = self.0.len();
        self.0.extend_from_slice(format!("event: {event}\ndata: ").as_bytes());
        match serde_json::to_writer(&mut self.0, content) {
            Ok(()) => self.0.extend_from_slice(b"\n\n"),
            Err(error) => {
                log::error!("an event for the console cannot be written: {error}");
                self.0.truncate(before);
            }
        }
    }

    /// The bytes; `None` if there are none.
    pub(super) fn finish(self) -> Option<Bytes> {
        (!self.0.is_empty()).then(|| Bytes::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_end_an_event() {
        let mut frames = Frames::default();
        assert!(Frames::default().finish().is_none());
        frames.add("request", &"a\n\nevent: forged\r\ndata: x");
        frames.add("error", &1);
        let written = frames.finish().unwrap();
        let expected = "event: request\ndata: \"a\\n\\nevent: forged\\r\\ndata: x\"\n\nevent: error\ndata: 1\n\n";
        assert_eq!(written, expected);
    }
}
