//! The heads of requests as they go by, made harmless where they ask for another protocol.
//!
//! Nobody gets another protocol here, and whoever asks for one is to be served as if it had not (RFC 9110 7.8): the
//! HTTP client of the JDK asks for HTTP/2 with every request that it sends in the clear. actix-http instead closes a
//! connection after `Connection: Upgrade`, which its answer does not say, so that the next request on it is lost, and
//! takes everything behind `Upgrade: websocket` for one endless body, whatever `Content-Length` says. A service sees
//! neither in time, so the words are changed before actix-http reads them.
//!
//! It owns where heads begin and end among the bytes of a connection, however these are cut. It refuses nothing: what
//! is malformed is left to actix-http, which ends the connection.
//!
//! The one thing to know: a letter is replaced, no byte is added or taken. What a request is and where its body ends
//! is decided by actix-http alone; at worst a word would stand that should not, or a client's own body have a letter
//! of its changed.

/// What stands in `Connection` in place of `upgrade`, in the case that the client wrote it.
pub(super) const UPGRADE: &str = "xpgrade";
/// What stands in `Upgrade` in place of `websocket`, in the case that the client wrote it.
pub(super) const WEBSOCKET: &str = "xebsocket";

/// The longest name that means something here.
const LONGEST: usize = "transfer-encoding".len();

/// What is known of the requests of one connection.
#[derive(Debug)]
pub(super) struct Heads {
    place: Place,
    /// The name of the present header, as far as it may mean something.
    name: Vec<u8>,
    /// The length that the present head announces.
    length: u64,
    /// Whether it announces chunks.
    is_chunked: bool,
}

/// Where the next byte stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Before a request line, where empty lines may stand (RFC 9112 2.2).
    Between,
    /// In a request line, or in a value that says nothing.
    Line,
    /// At the beginning of a header or in its name; or at the end of a head.
    Name,
    /// In a list whose words with this first letter are changed, at the beginning of a word or in it.
    List { letter: u8, begins: bool },
    /// In `Content-Length`.
    Length,
    /// In what follows a head.
    Body(Body),
}

/// Where the next byte stands in a body.
#[derive(Debug, Clone, Copy)]
enum Body {
    /// So much is to come.
    Whole(u64),
    /// In the size of a chunk.
    Size(u64),
    /// Behind the size of a chunk, up to the end of its line.
    Extension(u64),
    /// In a chunk of which so much is to come.
    Chunk(u64),
    /// Behind a chunk, up to the end of its line.
    ChunkEnd,
    /// Behind the last chunk, at the beginning of a line or in it.
    Trailer { begins: bool },
}

impl Heads {
    /// A connection on which nothing has come yet.
    pub fn new() -> Self {
        let name = Vec::with_capacity(LONGEST + 1);
        Self { place: Place::Between, name, length: 0, is_chunked: false }
    }

    /// Takes note of the next bytes, and changes letters in them.
    pub fn pass(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip(bytes);
            let Some((_, rest)) = bytes.split_at_mut_checked(skipped) else { return };
            let Some((byte, rest)) = rest.split_first_mut() else { return };
            self.place = self.step(byte);
            bytes = rest;
        }
    }

    /// Takes note of those first bytes that end nothing, and says how many they are.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        match &mut self.place {
            Place::Line => bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()),
            Place::Body(body) => body.skip(bytes.len()),
            Place::Between | Place::Name | Place::List { .. } | Place::Length => 0,
        }
    }

    /// Takes note of one byte, and says where the next one stands.
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
                    // The bit that tells small letters from capitals stays.
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
            // Of all codings actix-http takes chunks alone, and then no length beside them.
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
    /// Takes note of those of so many first bytes that end nothing, and says how many they are.
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

    /// Takes note of one byte, and says where the next one stands; `None` behind the body.
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
