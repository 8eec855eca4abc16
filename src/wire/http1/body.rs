//! Bodies of responses: which bytes belong to one, and where it ends.

use super::error::FramingError;
use super::{Piece, Then};

/// The longest chunk-size line, with its extensions.
const MAX_CHUNK_LINE: u32 = 4 * 1024;
/// The longest trailer section.
const MAX_TRAILERS: u32 = 16 * 1024;
/// The hexadecimal digits of 64 bits.
const MAX_DIGITS: u32 = 16;

/// A body, as far as it has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// No body, whatever the head says.
    None,
    /// A body of known length.
    Sized {
        /// The bytes that are still to come.
        left: u64,
    },
    /// A body in chunks.
    Chunked(Chunks),
    /// A body that ends when the connection closes.
    UntilClose,
}

/// The state of the chunk parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunks {
    place: Place,
    /// How many bytes of the current chunk are still to come.
    left: u64,
    /// Bytes of the current line, or of the trailers.
    seen: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Place {
    /// In the size; before its first digit, `seen` is 0.
    Size,
    /// In white space after the size.
    Blank,
    /// In the extensions, which are ignored.
    Extension,
    /// Before the line feed after the size.
    SizeFeed,
    Data,
    /// Before the line end after the data.
    DataReturn,
    DataFeed,
    /// At the beginning of a trailer line, or of the empty line that ends the trailers.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerFeed,
    /// Before the last line feed.
    LastFeed,
    End,
}

impl Body {
    pub(super) fn sized(length: u64) -> Self {
        Self::Sized { left: length }
    }

    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks { place: Place::Size, left: 0, seen: 0 })
    }

    /// Moves the bytes of the body to the front of `bytes`. Without bytes, it returns whether more
    /// will come.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Piece {
        let length = bytes.len();
        let end = |kept: usize| Piece { kept, then: Then::End { surplus: length - kept } };
        match self {
            Self::None => end(0),
            Self::Sized { left } => match usize::try_from(*left) {
                Ok(rest) if rest <= length => {
                    *left = 0;
                    end(rest)
                }
                Ok(_) | Err(_) => {
                    *left = left.saturating_sub(length as u64);
                    Piece { kept: length, then: Then::More }
                }
            },
            Self::Chunked(chunks) => chunks.take(bytes),
            Self::UntilClose => Piece { kept: length, then: Then::More },
        }
    }
}

impl Chunks {
    fn take(&mut self, bytes: &mut [u8]) -> Piece {
        let (mut read, mut kept) = (0, 0);
        let then = loop {
            if self.place == Place::End {
                break Then::End { surplus: bytes.len() - read };
            }
            if self.place == Place::Data {
                let there = bytes.len() - read;
                let part = usize::try_from(self.left).map_or(there, |left| left.min(there));
                // If no bytes were dropped before, none are moved.
                if kept < read {
                    bytes.copy_within(read..read + part, kept);
                }
                (read, kept) = (read + part, kept + part);
                self.left = self.left.saturating_sub(part as u64);
                if self.left == 0 {
                    self.place = Place::DataReturn;
                }
            }
            let Some(byte) = bytes.get(read) else { break Then::More };
            read += 1;
            match self.step(*byte) {
                Ok(place) => self.place = place,
                Err(error) => break Then::Broken(error),
            }
        };
        Piece { kept, then }
    }

    /// The state after a byte that is not data.
    fn step(&mut self, byte: u8) -> Result<Place, FramingError> {
        let in_trailers = self.place >= Place::Trailer;
        self.seen += 1;
        match in_trailers {
            true if self.seen > MAX_TRAILERS => return Err(FramingError::BadTrailer),
            false if self.seen > MAX_CHUNK_LINE => return Err(FramingError::BadChunkSize),
            true | false => {}
        }
        match self.place {
            Place::Size => self.size(byte),
            Place::Blank | Place::Extension => match (self.place, byte) {
                (_, b'\r') => Ok(Place::SizeFeed),
                (Place::Blank, b' ' | b'\t') => Ok(Place::Blank),
                (Place::Blank, b';') => Ok(Place::Extension),
                (Place::Extension, byte) if is_text(byte) => Ok(Place::Extension),
                _ => Err(FramingError::BadChunkSize),
            },
            Place::SizeFeed => match (byte, self.left) {
                (b'\n', 0) => {
                    self.seen = 0;
                    Ok(Place::Trailer)
                }
                (b'\n', _) => Ok(Place::Data),
                _ => Err(FramingError::BadChunkSize),
            },
            Place::DataReturn if byte == b'\r' => Ok(Place::DataFeed),
            Place::DataFeed if byte == b'\n' => {
                self.seen = 0;
                Ok(Place::Size)
            }
            Place::Data | Place::DataReturn | Place::DataFeed => Err(FramingError::BadChunkEnd),
            Place::Trailer
            | Place::TrailerName
            | Place::TrailerValue
            | Place::TrailerFeed
            | Place::LastFeed
            | Place::End => self.trailer(byte).ok_or(FramingError::BadTrailer),
        }
    }

    fn size(&mut self, byte: u8) -> Result<Place, FramingError> {
        let digit = char::from(byte).to_digit(16);
        match (byte, digit) {
            (_, Some(digit)) if self.seen <= MAX_DIGITS => {
                self.left = self.left << 4 | u64::from(digit);
                Ok(Place::Size)
            }
            // A size has at least one digit.
            (b'\r', None) if self.seen > 1 => Ok(Place::SizeFeed),
            (b' ' | b'\t', None) if self.seen > 1 => Ok(Place::Blank),
            (b';', None) if self.seen > 1 => Ok(Place::Extension),
            _ => Err(FramingError::BadChunkSize),
        }
    }

    /// Trailers are dropped, but they must have the syntax of fields.
    fn trailer(&self, byte: u8) -> Option<Place> {
        match (self.place, byte) {
            (Place::Trailer, b'\r') => Some(Place::LastFeed),
            (Place::Trailer | Place::TrailerName, byte) if is_token(byte) => {
                Some(Place::TrailerName)
            }
            (Place::TrailerName, b':') => Some(Place::TrailerValue),
            (Place::TrailerValue, b'\r') => Some(Place::TrailerFeed),
            (Place::TrailerValue, byte) if is_text(byte) => Some(Place::TrailerValue),
            (Place::TrailerFeed, b'\n') => Some(Place::Trailer),
            (Place::LastFeed, b'\n') => Some(Place::End),
            _ => None,
        }
    }
}

/// Whether a byte is allowed in a field's value: RFC 9110, section 5.5.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

/// Whether a byte is allowed in a field's name: RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
