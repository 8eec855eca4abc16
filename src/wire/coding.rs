//! Content codings (RFC 9110 8.4): decompression, incrementally.
//!
//! It owns the names of codings and the order in which they are undone. It rejects streams that are
//! broken, that continue after their end, or that consist of too many concatenated ones, and it
//! never writes more than the output buffer holds: the caller decides how large a small body may
//! become.
//!
//! The one thing to know: the output is complete only if [`Decoder::finish`] confirms it.

mod streams;

use std::fmt;

use streams::{Progress, StreamDecoder};

/// The supported codings, as a header lists them.
pub const NAMES: &str = "gzip, deflate, br, zstd";

/// The most codings of one body; clients send one, and each takes memory.
const MOST_CODINGS: usize = 4;
/// The most concatenated streams in one coding, as parallel compressors write them. Each costs time
/// to begin, even an empty one.
const MOST_STREAMS: usize = 1024;
/// The buffer size between two codings.
const BUFFER: usize = 8 * 1024;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950; bare RFC 1951 is accepted too, since many send it under that name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, with windows of up to 8 MiB, as RFC 9659 asks.
    Zstd,
}

/// Why a list of codings is not supported.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// An unknown coding; the name is short and printable.
    Unknown(String),
    /// Too many codings.
    TooMany,
}

/// The error of a coded stream.
#[derive(Debug)]
pub struct Broken(Box<str>);

/// Decodes a stack of codings.
pub struct Decoder {
    /// The coding that was applied last comes last.
    layers: Vec<Layer>,
}

/// One coding of the stack.
struct Layer {
    coding: Coding,
    stream: Option<Box<dyn StreamDecoder>>,
    /// The bytes to decode, and how many of them were.
    input: Vec<u8>,
    taken: usize,
    /// Whether there may be more output without more input.
    has_output: bool,
    /// Whether the current stream has ended.
    has_ended: bool,
    streams: usize,
}

/// The codings of a body, in the order in which they were applied, from the values of
/// `Content-Encoding`.
///
/// # Errors
///
/// If one of them is unknown, or there are too many.
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

    /// Whether streams may be concatenated.
    fn repeats(self) -> bool {
        match self {
            Self::Gzip | Self::Zstd => true,
            Self::Deflate | Self::Brotli => false,
        }
    }
}

impl Decoder {
    /// A decoder for these codings, in the order in which they were applied.
    #[must_use]
    pub fn new(codings: &[Coding]) -> Self {
        Self { layers: codings.iter().map(|coding| Layer::new(*coding)).collect() }
    }

    /// Reads from `source`, advancing it past what was read, and writes to `output`. Returns how
    /// much was written: 0 only if all of `source` was read and there is nothing to write, or if
    /// `output` is empty.
    ///
    /// # Errors
    ///
    /// If the stream is broken; it must not be read any further then.
    pub fn read(&mut self, source: &mut &[u8], output: &mut [u8]) -> Result<usize, Broken> {
        read(&mut self.layers, source, output)
    }

    /// Confirms that the stream is complete.
    ///
    /// # Errors
    ///
    /// If it was cut off.
    pub fn finish(&self) -> Result<(), Broken> {
        let is_whole = |layer: &Layer| layer.has_ended && layer.taken == layer.input.len();
        if self.layers.iter().all(is_whole) { Ok(()) } else { Err(Broken::new("it was cut off")) }
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
            stream: None,
            input: Vec::new(),
            taken: 0,
            has_output: false,
            has_ended: false,
            streams: 0,
        }
    }

    /// Decodes the bytes at hand.
    fn step(&mut self, output: &mut [u8]) -> Result<Progress, Broken> {
        let input = self.input.get(self.taken..).unwrap_or_default();
        let is_new = self.stream.is_none() || (self.has_ended && !input.is_empty());
        let stream = match &mut self.stream {
            Some(stream) if !is_new => stream,
            stream => {
                if self.streams > 0 && !self.coding.repeats() {
                    return Err(Broken::new("it continues after its end"));
                }
                self.streams += 1;
                if self.streams > MOST_STREAMS {
                    return Err(Broken::new("it consists of too many streams"));
                }
                self.has_ended = false;
                stream.insert(streams::begin(
                    self.coding,
                    input.first().copied().unwrap_or_default(),
                )?)
            }
        };
        let progress = stream.step(input, output)?;
        self.taken += progress.read;
        self.has_ended |= progress.has_ended;
        self.has_output = !self.has_ended && progress.written == output.len();
        Ok(progress)
    }
}

fn read(layers: &mut [Layer], source: &mut &[u8], output: &mut [u8]) -> Result<usize, Broken> {
    let Some((layer, below)) = layers.split_first_mut() else {
        return Ok(copy(source, output));
    };
    if output.is_empty() {
        return Ok(0);
    }
    loop {
        let has_input = layer.input.len() > layer.taken;
        if has_input || layer.has_output {
            let progress = layer.step(output)?;
            if progress.written > 0 {
                return Ok(progress.written);
            }
            if has_input && progress.read == 0 && !progress.has_ended {
                return Err(Broken::new("it cannot be decoded"));
            }
            continue;
        }
        layer.input.resize(BUFFER, 0);
        let filled = read(below, source, &mut layer.input)?;
        layer.input.truncate(filled);
        layer.taken = 0;
        if filled == 0 {
            return Ok(0);
        }
    }
}

/// Copies uncoded bytes.
fn copy(source: &mut &[u8], output: &mut [u8]) -> usize {
    let length = source.len().min(output.len());
    if let (Some((bytes, rest)), Some(output)) =
        (source.split_at_checked(length), output.get_mut(..length))
    {
        output.copy_from_slice(bytes);
        *source = rest;
    }
    length
}

/// The printable part of a client's name for a coding, for a message.
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
