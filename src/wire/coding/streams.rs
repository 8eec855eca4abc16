//! One interface for the decompression libraries.
//!
//! It owns their settings. The one thing to know: while a library fills the whole output, it is
//! called again without input.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, InBuffer, Operation, OutBuffer};

use super::{Broken, Coding};

/// The largest window of zstd, as a power of two (RFC 9659).
const ZSTD_WINDOW: u32 = 23;
/// The window of gzip, as a power of two: the largest there is.
const GZIP_WINDOW: u8 = 15;

/// Decompresses one stream.
pub(super) trait StreamDecoder: Send {
    /// Reads some of `input` and writes as much to `output` as possible.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Broken>;
}

/// The result of a step.
pub(super) struct Progress {
    pub read: usize,
    pub written: usize,
    /// Whether the stream has ended and all of it is written.
    pub has_ended: bool,
}

struct Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>);

struct Zstd(zstd::stream::raw::Decoder<'static>);

/// Begins a stream, whose first byte is known.
pub(super) fn begin(coding: Coding, first: u8) -> Result<Box<dyn StreamDecoder>, Broken> {
    Ok(match coding {
        Coding::Gzip => Box::new(Decompress::new_gzip(GZIP_WINDOW)),
        // The low half of zlib's first byte is 8. No compressor begins a bare stream with it: it
        // would announce a stored block whose padding is not zero.
        Coding::Deflate => Box::new(Decompress::new(first & 0x0f == 8)),
        Coding::Brotli => {
            let memory = || (StandardAlloc::default(), StandardAlloc::default());
            let ((first, second), (third, _)) = (memory(), memory());
            // Strict: no windows beyond the 16 MiB that HTTP allows.
            Box::new(Brotli(Box::new(BrotliState::new_strict(first, second, third))))
        }
        Coding::Zstd => {
            let mut decoder = zstd::stream::raw::Decoder::new().map_err(Broken::new)?;
            decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW)).map_err(Broken::new)?;
            Box::new(Zstd(decoder))
        }
    })
}

impl StreamDecoder for Decompress {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Broken> {
        let (before_in, before_out) = (self.total_in(), self.total_out());
        let status = self.decompress(input, output, FlushDecompress::None).map_err(Broken::new)?;
        let length =
            |total: u64, before: u64| usize::try_from(total - before).unwrap_or(usize::MAX);
        Ok(Progress {
            read: length(self.total_in(), before_in),
            written: length(self.total_out(), before_out),
            has_ended: matches!(status, Status::StreamEnd),
        })
    }
}

impl StreamDecoder for Brotli {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Broken> {
        let (mut read, mut written) = (0, 0);
        let result = BrotliDecompressStream(
            &mut input.len(),
            &mut read,
            input,
            &mut output.len(),
            &mut written,
            output,
            &mut 0,
            &mut self.0,
        );
        match result {
            BrotliResult::ResultSuccess => Ok(Progress { read, written, has_ended: true }),
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {
                Ok(Progress { read, written, has_ended: false })
            }
            BrotliResult::ResultFailure => Err(Broken::new("it is not brotli")),
        }
    }
}

impl StreamDecoder for Zstd {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Broken> {
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(output);
        let left = self.0.run(&mut input, &mut output).map_err(Broken::new)?;
        Ok(Progress { read: input.pos(), written: output.pos(), has_ended: left == 0 })
    }
}
