//! Tells whether a text that comes in pieces is a whole JSON document so far.
//!
//! The one thing to know: it only counts brackets outside of strings. The parser of the whole text
//! finds all other mistakes.

/// The state of the scan.
#[derive(Debug, Default)]
pub(super) struct JsonScan {
    /// Whether there is anything but white space.
    pub(super) has_text: bool,
    depth: u32,
    in_text: bool,
    is_escaped: bool,
    /// Whether all brackets are closed.
    pub(super) is_whole: bool,
}

impl JsonScan {
    /// Scans more of the text.
    pub(super) fn look_at(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.take(byte));
    }

    fn take(&mut self, byte: u8) {
        if byte.is_ascii_whitespace() && !self.in_text {
            return;
        }
        self.has_text = true;
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.in_text => self.is_escaped = true,
            b'"' => self.in_text = !self.in_text,
            _ if self.in_text => {}
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                self.is_whole = false;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.is_whole = self.depth == 0;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_whole_when_its_brackets_are_closed() {
        for (pieces, is_whole) in [
            (&["{\"x\":", "[1]}"][..], true),
            (&["{\"x\": \"}", "\"}"], true),
            (&["{\"x\": \"\\", "\"}\"}"], true),
            (&["{\"x\": [1}"], false),
            (&["{}{"], false),
            (&["{\"x\": \"}"], false),
            (&["12"], false),
            (&[" "], false),
        ] {
            let mut scan = JsonScan::default();
            pieces.iter().for_each(|piece| scan.look_at(piece));
            assert_eq!(scan.is_whole, is_whole, "{pieces:?}");
        }
    }
}
