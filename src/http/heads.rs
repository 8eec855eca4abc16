//! Rewrites requests' heads in passing so that they do not ask for another protocol.
//!
//! No client gets another protocol here, and one that asks for it is served as if it had not (RFC
//! 9110 7.8): the JDK's HTTP client asks for HTTP/2 with every request that it sends in the clear.
//! actix-http instead closes a connection after `Connection: Upgrade` without saying so in its
//! answer, so that the next request on it is lost, and reads everything after `Upgrade: websocket`
//! as one endless body, whatever `Content-Length` says. A service sees neither in time, so the
//! words are changed before actix-http reads them.
//!
//! It owns where heads begin and end among the bytes of a connection, however these are split. It
//! refuses nothing: malformed bytes are left to actix-http, which ends the connection.
//!
//! The one thing to know: a letter is replaced, no byte is added or removed. actix-http alone
//! decides what a request is and where its body ends; at worst a word would stay that should not,
//! or one letter of a client's own body would change.

/// The replacement of `upgrade` in `Connection`; the client's case is kept.
pub(super) const UPGRADE: &str = "xpgrade";
/// The replacement of `websocket` in `Upgrade`; the client's case is kept.
pub(super) const WEBSOCKET: &str = "xebsocket";

/// The length of the longest header name that matters here.
const LONGEST: usize = "transfer-encoding".len();

/// The parser's state for one connection.
#[derive(Debug)]
pub(super) struct Heads {
    place: Place,
    /// The name of the present header, as far as it may matter.
    name: Vec<u8>,
    /// The `Content-Length` of the present head.
    length: u64,
    /// Whether it announces a chunked body.
    is_chunked: bool,
}

/// The place of the next byte.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Before a request line, where empty lines are allowed (RFC 9112 2.2).
    Between,
    /// In a request line, or in a value that does not matter.
    Line,
    /// At the beginning of a header or in its name; or at the end of a head.
    Name,
    /// In a list whose words with this first letter are changed, at the beginning of a word or in
    /// it.
    List { letter: u8, begins: bool },
    /// In `Content-Length`.
    Length,
    /// In the body after a head.
    Body(Body),
}

/// The place of the next byte in a body.
#[derive(Debug, Clone, Copy)]
enum Body {
    /// In a body with this many bytes left.
    Whole(u64),
    /// In the size of a chunk.
    Size(u64),
    /// After the size of a chunk, up to the end of its line.
    Extension(u64),
    /// In a chunk with this many bytes left.
    Chunk(u64),
    /// After a chunk, up to the end of its line.
    ChunkEnd,
    /// After the last chunk, at the beginning of a line or in it.
    Trailer { begins: bool },
}

impl Heads {
    /// The state of a new connection.
    pub fn new() -> Self {
        let name = Vec::with_capacity(LONGEST + 1);
        Self { place: Place::Between, name, length: 0, is_chunked: false }
    }

    /// Parses the next bytes, and changes letters in them.
    pub fn pass(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip(bytes);
            let Some((_, rest)) = bytes.split_at_mut_checked(skipped) else { return };
            let Some((byte, rest)) = rest.split_first_mut() else { return };
            self.place = self.step(byte);
            bytes = rest;
        }
    }

    /// Skips the leading bytes that end nothing, and returns how many they are.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        match &mut self.place {
            Place::Line => bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()),
            Place::Body(body) => body.skip(bytes.len()),
            Place::Between | Place::Name | Place::List { .. } | Place::Length => 0,
        }
    }

    /// Parses one byte, and returns the place of the next one.
    fn step(&mut self, byte: &mut u8) -> Place {
        match (self.place, *byte) {
            (Place::Between, b'\r' | b'\n') => Place::Between,
            (Place::Between, _) => Place::Line,
            (Place::Name, b'\n') if self.name.is_empty() => self.end(),
            (Place::Line | Place::Name | Place::List { .. } | Place::Length, b'\n') => {
                self.name.clear();
                Place::Name
            }
            (Place::Line, _) => Place::Line,
            (Place::Name, b'\r') => Place::Name,
            (Place::Name, b':') => self.named(),
            (Place::Name, letter) => {
                if self.name.len() <= LONGEST {
                    self.name.push(letter);
                }
                Place::Name
            }
            (Place::List { letter, .. }, b',') => Place::List { letter, begins: true },
            (list @ Place::List { .. }, b' ' | b'\t' | b'\r') => list,
            (Place::List { letter, begins }, first) => {
                if begins && first.eq_ignore_ascii_case(&letter) {
                    // Keeps the bit for upper or lower case.
                    *byte = b'X' | (first & 0x20);
                }
                Place::List { letter, begins: false }
            }
            (Place::Length, digit) => {
                if let Some(digit) = char::from(digit).to_digit(10) {
                    self.length = self.length.saturating_mul(10).saturating_add(digit.into());
                }
                Place::Length
            }
            (Place::Body(body), byte) => body.step(byte).map_or(Place::Between, Place::Body),
        }
    }

    /// A header's name has ended.
    fn named(&mut self) -> Place {
        let is = |name: &str| self.name.eq_ignore_ascii_case(name.as_bytes());
        if is("connection") {
            Place::List { letter: b'u', begins: true }
        } else if is("upgrade") {
            Place::List { letter: b'w', begins: true }
        } else if is("content-length") {
            Place::Length
        } else {
            // actix-http accepts only the chunked coding, and then no length beside it.
            self.is_chunked |= is("transfer-encoding");
            Place::Line
        }
    }

    /// A head has ended.
    fn end(&mut self) -> Place {
        let length = std::mem::take(&mut self.length);
        match (std::mem::take(&mut self.is_chunked), length) {
            (true, _) => Place::Body(Body::Size(0)),
            (false, 0) => Place::Between,
            (false, length) => Place::Body(Body::Whole(length)),
        }
    }
}

impl Body {
    /// Skips those of the `bytes` leading bytes that end nothing, and returns how many they are.
    fn skip(&mut self, bytes: usize) -> usize {
        match self {
            Self::Whole(left) | Self::Chunk(left) => {
                let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                let skipped = left.saturating_sub(1).min(bytes);
                *left -= skipped;
                usize::try_from(skipped).unwrap_or(usize::MAX)
            }
            Self::Size(_) | Self::Extension(_) | Self::ChunkEnd | Self::Trailer { .. } => 0,
        }
    }

    /// Parses one byte, and returns the place of the next one; `None` after the body.
    fn step(self, byte: u8) -> Option<Self> {
        let next = match (self, byte) {
            (Self::Whole(..=1), _) => return None,
            (Self::Whole(left), _) => Self::Whole(left - 1),
            (Self::Size(0) | Self::Extension(0), b'\n') => Self::Trailer { begins: true },
            (Self::Size(size) | Self::Extension(size), b'\n') => Self::Chunk(size),
            (Self::Size(size), digit) => match char::from(digit).to_digit(16) {
                Some(digit) => Self::Size(size.saturating_mul(16).saturating_add(digit.into())),
                None => Self::Extension(size),
            },
            (Self::Extension(size), _) => Self::Extension(size),
            (Self::Chunk(..=1), _) => Self::ChunkEnd,
            (Self::Chunk(left), _) => Self::Chunk(left - 1),
            (Self::ChunkEnd, b'\n') => Self::Size(0),
            (Self::ChunkEnd, _) => Self::ChunkEnd,
            (Self::Trailer { begins: true }, b'\n') => return None,
            (Self::Trailer { .. }, b'\n') => Self::Trailer { begins: true },
            (Self::Trailer { begins }, b'\r') => Self::Trailer { begins },
            (Self::Trailer { .. }, _) => Self::Trailer { begins: false },
        };
        Some(next)
    }
}

#[cfg(test)]
mod tests;
