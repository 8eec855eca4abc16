//! Newline-delimited JSON, split into lines as bytes arrive.
//!
//! It owns the bytes of one unfinished line. It rejects lines above a limit, so that a provider
//! that never sends a line feed cannot fill the memory. It works on bytes: a character that is cut
//! between two reads is complete again when its line is.

use std::fmt;

/// A line grew past the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTooLong {
    /// The limit, in bytes.
    pub limit: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a line is longer than {} bytes", self.limit)
    }
}

/// Splits bytes into lines.
#[derive(Debug)]
pub struct Lines {
    rest: Vec<u8>,
    limit: usize,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { rest: Vec::new(), limit }
    }

    /// Passes every line that the new bytes complete, without its line end, to `line`. Blank lines
    /// are skipped. Stops at the first error of `line`; the bytes after it are lost.
    ///
    /// # Errors
    ///
    /// `line`'s own, or [`LineTooLong`] turned into it.
    pub fn feed<E: From<LineTooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut line: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = bytes.split_at(end);
            bytes = tail.get(1..).unwrap_or_default();
            self.check(head.len())?;
            if self.rest.is_empty() {
                whole(head, &mut line)?;
            } else {
                self.rest.extend_from_slice(head);
                let rest = std::mem::take(&mut self.rest);
                whole(&rest, &mut line)?;
                self.rest = rest;
                self.rest.clear();
            }
        }
        self.check(bytes.len())?;
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes the bytes after the last line end: a last line without one.
    #[must_use]
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }

    fn check(&self, more: usize) -> Result<(), LineTooLong> {
        if self.rest.len().saturating_add(more) > self.limit {
            return Err(LineTooLong { limit: self.limit });
        }
        Ok(())
    }
}

fn whole<E>(line: &[u8], take: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    take(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(pieces: &[&[u8]], limit: usize) -> Result<(Vec<Vec<u8>>, Vec<u8>), LineTooLong> {
        let mut lines = Lines::new(limit);
        let mut whole = Vec::new();
        for piece in pieces {
            lines.feed(piece, |line| {
                whole.push(line.to_vec());
                Ok::<(), LineTooLong>(())
            })?;
        }
        Ok((whole, lines.take_rest()))
    }

    #[test]
    fn line_ends_of_both_kinds_split_and_blank_lines_are_skipped() {
        let (lines, rest) = split(&[b"a\r\n\n  \nb\nc"], 16).unwrap();
        assert_eq!(lines, [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(rest, b"c");
    }

    #[test]
    fn a_line_above_the_limit_is_refused_even_before_it_ends() {
        assert_eq!(split(&[b"1234", b"5678"], 8).unwrap().1, b"12345678");
        assert_eq!(split(&[b"1234", b"56789"], 8), Err(LineTooLong { limit: 8 }));
        assert_eq!(split(&[b"1234", b"56789\n"], 8), Err(LineTooLong { limit: 8 }));
    }

    proptest! {
        #[test]
        fn the_lines_are_the_same_for_any_cut(text in proptest::collection::vec(any::<u8>(), 0..200), cuts in proptest::collection::vec(0usize..200, 0..8)) {
            let whole = split(&[&text], 4096).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&text[from..cut]);
                from = cut;
            }
            pieces.push(&text[from..]);
            prop_assert_eq!(split(&pieces, 4096).unwrap(), whole);
        }
    }
}
