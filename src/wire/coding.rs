//! Content codings (RFC 9110 8.4): what was compressed on its way, undone piece by piece.
//!
//! It owns the names of codings and the order in which they are undone. It refuses streams that are broken, that go
//! on behind their end, or that consist of absurdly many, and it writes no more at a time than there is room for:
//! how much a small body may become is decided by whoever reads.
//!
//! The one thing to know: what was read is whole only when [`Decoder::finish`] says so.

mod undo;

use std::fmt;

use undo::{Undo, Undone};

/// The codings that are undone, as a header lists them.
pub const NAMES: &str = "gzip, deflate, br, zstd";

/// The most codings that one body may have; clients send one, and each holds memory.
const MOST_CODINGS: usize = 4;
/// The most streams that may follow each other in one coding, as compressors write them that work in parallel. Each
/// costs time to begin, even an empty one.
const MOST_STREAMS: usize = 1024;
/// What is held between two codings.
const BETWEEN: usize = 8 * 1024;

/// How something is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950; RFC 1951 alone is understood too, which many send under that name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, with windows of up to 8 MiB, as RFC 9659 asks.
    Zstd,
}

/// Why a list of codings cannot be undone.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// This one is not known; the name is short and printable.
    Unknown(String),
    /// They are too many.
    TooMany,
}

/// What is wrong with a coded stream.
#[derive(Debug)]
pub struct Broken(Box<str>);

/// Undoes codings.
pub struct Decoder {
    /// The one that was applied last comes last.
    layers: Vec<Layer>,
}

/// One coding that is being undone.
struct Layer {
    coding: Coding,
    undo: Option<Box<dyn Undo>>,
    /// What is still to be undone: bytes, and how many of them were.
    input: Vec<u8>,
    taken: usize,
    /// Whether there may be more to write without more to read.
    owes: bool,
    /// Whether the present stream has ended.
    has_ended: bool,
    streams: usize,
}

/// The codings of a body, in the order in which they were applied, from the values of `Content-Encoding`.
///
/// # Errors
///
/// When one of them is not known, or they are too many.
pub fn codings<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Coding>, Unsupported> {
    let mut codings = Vec::new();
    for name in values.flat_map(|value| value.split(|byte| *byte == b',')) {
        let name = name.trim_ascii();
        if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
            continue;
        }
        codings.push(Coding::named(name).ok_or_else(|| Unsupported::Unknown(shown(name)))?);
    }
    if codings.len() > MOST_CODINGS { Err(Unsupported::TooMany) } else { Ok(codings) }
}

impl Coding {
    fn named(name: &[u8]) -> Option<Self> {
        match name.to_ascii_lowercase().as_slice() {
            // The older name is equivalent (RFC 9110 8.4.1.3).
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            b"br" => Some(Self::Brotli),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Whether streams may follow each other.
    fn repeats(self) -> bool {
        match self {
            Self::Gzip | Self::Zstd => true,
            Self::Deflate | Self::Brotli => false,
        }
    }
}

impl Decoder {
    /// A decoder of what these codings were applied to, in this order.
    #[must_use]
    pub fn new(codings: &[Coding]) -> Self {
        Self { layers: codings.iter().map(|coding| Layer::new(*coding)).collect() }
    }

    /// Reads from `source`, whose beginning is moved behind what was read, and writes to `room`. Says how much was
    /// written: nothing only when all of `source` was read and there is nothing to write, or no room.
    ///
    /// # Errors
    ///
    /// When the stream is broken; it is not to be read any further then.
    pub fn read(&mut self, source: &mut &[u8], room: &mut [u8]) -> Result<usize, Broken> {
        read(&mut self.layers, source, room)
    }

    /// Confirms that what was read is whole.
    ///
    /// # Errors
    ///
    /// When it broke off.
    pub fn finish(&self) -> Result<(), Broken> {
        let is_whole = |layer: &Layer| layer.has_ended && layer.taken == layer.input.len();
        if self.layers.iter().all(is_whole) { Ok(()) } else { Err(Broken::new("it breaks off")) }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.layers.iter().map(|layer| layer.coding)).finish()
    }
}

impl Layer {
    fn new(coding: Coding) -> Self {
        Self {
            coding,
            undo: None,
            input: Vec::new(),
            taken: 0,
            owes: false,
            has_ended: false,
            streams: 0,
        }
    }

    /// Undoes what is at hand.
    fn step(&mut self, room: &mut [u8]) -> Result<Undone, Broken> {
        let input = self.input.get(self.taken..).unwrap_or_default();
        let is_new = self.undo.is_none() || (self.has_ended && !input.is_empty());
        let undo = match &mut self.undo {
            Some(undo) if !is_new => undo,
            undo => {
                if self.streams > 0 && !self.coding.repeats() {
                    return Err(Broken::new("it goes on behind its end"));
                }
                self.streams += 1;
                if self.streams > MOST_STREAMS {
                    return Err(Broken::new("it consists of too many streams"));
                }
                self.has_ended = false;
                undo.insert(undo::begin(self.coding, input.first().copied().unwrap_or_default())?)
            }
        };
        let undone = undo.step(input, room)?;
        self.taken += undone.read;
        self.has_ended |= undone.has_ended;
        self.owes = !self.has_ended && undone.written == room.len();
        Ok(undone)
    }
}

fn read(layers: &mut [Layer], source: &mut &[u8], room: &mut [u8]) -> Result<usize, Broken> {
    let Some((layer, beneath)) = layers.split_first_mut() else {
        return Ok(copy(source, room));
    };
    if room.is_empty() {
        return Ok(0);
    }
    loop {
        let at_hand = layer.input.len() > layer.taken;
        if at_hand || layer.owes {
            let undone = layer.step(room)?;
            if undone.written > 0 {
                return Ok(undone.written);
            }
            if at_hand && undone.read == 0 && !undone.has_ended {
                return Err(Broken::new("it makes no sense"));
            }
            continue;
        }
        layer.input.resize(BETWEEN, 0);
        let filled = read(beneath, source, &mut layer.input)?;
        layer.input.truncate(filled);
        layer.taken = 0;
        if filled == 0 {
            return Ok(0);
        }
    }
}

/// Where there is nothing to undo.
fn copy(source: &mut &[u8], room: &mut [u8]) -> usize {
    let length = source.len().min(room.len());
    if let (Some((bytes, rest)), Some(room)) =
        (source.split_at_checked(length), room.get_mut(..length))
    {
        room.copy_from_slice(bytes);
        *source = rest;
    }
    length
}

/// A name that a client wrote, fit for a message.
fn shown(name: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'`';
    name.iter().filter(|byte| plain(byte)).take(32).copied().map(char::from).collect()
}

impl Broken {
    fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string().into_boxed_str())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

#[cfg(test)]
mod tests;
