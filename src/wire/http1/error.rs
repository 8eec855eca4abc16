//! Errors in the framing of a response.

use std::fmt;

/// Why a response has no unambiguous end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// It does not begin as HTTP/1.0 or 1.1.
    NotHttp,
    /// The status line or a field is malformed, or a line is folded.
    MalformedHead,
    /// The head is longer than [`super::MAX_HEAD`], or has more than 96 fields.
    HeadTooLarge,
    /// Status 101, although no upgrade was requested.
    SwitchedProtocols,
    /// `Content-Length` is not a number.
    BadLength,
    /// Two lengths that differ.
    TwoLengths,
    /// A length and a transfer coding.
    LengthAndCoding,
    /// A transfer coding other than `chunked` alone.
    TransferCoding,
    /// The chunk-size line is malformed or too long, or its size does not fit 64 bits.
    BadChunkSize,
    /// A chunk is longer than its size says.
    BadChunkEnd,
    /// The trailer section is malformed or too long.
    BadTrailer,
}

impl fmt::Display for FramingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotHttp => "it does not begin as HTTP/1.1",
            Self::MalformedHead => "its head is malformed",
            Self::HeadTooLarge => "its head is too large",
            Self::SwitchedProtocols => "it switched to a protocol that was not requested",
            Self::BadLength => "its content-length is not a number",
            Self::TwoLengths => "it gives two lengths",
            Self::LengthAndCoding => "it gives a length and a transfer-encoding",
            Self::TransferCoding => "its transfer-encoding is not `chunked`",
            Self::BadChunkSize => "the size of a chunk is malformed",
            Self::BadChunkEnd => "a chunk is longer than its size",
            Self::BadTrailer => "its trailer is malformed",
        })
    }
}

impl std::error::Error for FramingError {}
