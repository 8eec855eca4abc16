//! Codings and stacks of codings, for any cut of the input and any size of the output.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

fn coded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => {
            written(GzEncoder::new(Vec::new(), Compression::default()), bytes, GzEncoder::finish)
        }
        Coding::Deflate => written(
            ZlibEncoder::new(Vec::new(), Compression::default()),
            bytes,
            ZlibEncoder::finish,
        ),
        Coding::Brotli => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 4096, 5, 20).write_all(bytes).unwrap();
            out
        }
        Coding::Zstd => zstd::bulk::compress(bytes, 3).unwrap(),
    }
}

fn bare(bytes: &[u8]) -> Vec<u8> {
    written(DeflateEncoder::new(Vec::new(), Compression::default()), bytes, DeflateEncoder::finish)
}

fn written<W: Write>(
    mut writer: W,
    bytes: &[u8],
    finish: impl Fn(W) -> std::io::Result<Vec<u8>>,
) -> Vec<u8> {
    writer.write_all(bytes).unwrap();
    finish(writer).unwrap()
}

/// Decodes everything, with the input cut into pieces of `cut` bytes and outputs of `room` bytes;
/// fails as soon as the result exceeds `most` bytes.
fn decoded(
    codings: &[Coding],
    bytes: &[u8],
    cut: usize,
    room: usize,
    most: usize,
) -> Result<Vec<u8>, Broken> {
    let mut decoder = Decoder::new(codings);
    let (mut out, mut room) = (Vec::new(), vec![0; room]);
    for mut piece in bytes.chunks(cut.max(1)) {
        loop {
            let written = decoder.read(&mut piece, &mut room)?;
            if written == 0 {
                assert!(piece.is_empty());
                break;
            }
            out.extend_from_slice(&room[..written]);
            assert!(out.len() <= most, "it becomes more than {most}");
        }
    }
    decoder.finish()?;
    Ok(out)
}

fn text() -> Vec<u8> {
    (0..3000).flat_map(|number| format!("{} ", number * number % 977).into_bytes()).collect()
}

#[test]
fn names_are_read_as_headers_write_them() {
    let read = |values: &[&str]| codings(values.iter().map(|value| value.as_bytes()));
    assert_eq!(read(&[]), Ok(vec![]));
    assert_eq!(read(&["identity", "", " , "]), Ok(vec![]));
    assert_eq!(read(&["GZip", "x-gzip,identity"]), Ok(vec![Coding::Gzip, Coding::Gzip]));
    assert_eq!(read(&["gzip, deflate,br , zstd"]), Ok(ALL.to_vec()));
    assert_eq!(read(&[NAMES, "br"]), Err(Unsupported::TooMany));
    assert_eq!(read(&["gzip, compress"]), Err(Unsupported::Unknown("compress".to_owned())));
    assert_eq!(read(&["a\u{1}`b\u{e9} c"]), Err(Unsupported::Unknown("abc".to_owned())));
    assert_eq!(read(&[&"x".repeat(100)]), Err(Unsupported::Unknown("x".repeat(32))));
}

#[test]
fn every_coding_is_decoded_for_any_cut_and_any_output_size() {
    let text = text();
    for coding in ALL {
        for bytes in [&text[..], b"", b"x", &vec![0; 100_000]] {
            let coded = coded(coding, bytes);
            for (cut, room) in [
                (1, 1),
                (1, 4096),
                (7, 3),
                (100_000, 1),
                (100_000, bytes.len().max(1)),
                (9, 50_000),
            ] {
                let decoded = decoded(&[coding], &coded, cut, room, bytes.len()).unwrap();
                assert!(decoded == bytes, "{coding:?} cut to {cut}, room for {room}");
            }
        }
    }
    assert_eq!(decoded(&[Coding::Deflate], &bare(&text), 5, 100, text.len()).unwrap(), text);
    assert_eq!(decoded(&[], &text, 5, 100, text.len()).unwrap(), text);
}

#[test]
fn streams_may_be_concatenated_if_their_format_allows_it_up_to_a_limit() {
    for coding in ALL {
        let twice = [coded(coding, b"one "), coded(coding, b"two")].concat();
        let often = coded(coding, b"").repeat(MOST_STREAMS + 1);
        let read = decoded(&[coding], &twice, 3, 5, 7).ok();
        assert_eq!(read, coding.repeats().then(|| b"one two".to_vec()), "{coding:?}");
        assert!(decoded(&[coding], &often, 100, 100, 0).is_err(), "{coding:?}");
    }
}

#[test]
fn a_cut_or_continued_or_changed_stream_is_broken() {
    let text = text();
    for coding in ALL {
        let coded = coded(coding, &text);
        for length in (0..coded.len()).step_by(97).chain(coded.len() - 9..coded.len()) {
            let read = decoded(&[coding], &coded[..length], 1000, 1000, text.len());
            assert!(read.is_err(), "{coding:?} broken off at {length} of {}", coded.len());
        }
        let more = [&coded[..], b"x"].concat();
        assert!(decoded(&[coding], &more, 1000, 1000, text.len()).is_err(), "{coding:?}");
        for other in ALL.into_iter().filter(|other| *other != coding) {
            assert!(
                decoded(&[other], &coded, 1000, 1000, 1 << 20).is_err(),
                "{coding:?}, {other:?}"
            );
        }
        assert!(decoded(&[coding], &text, 1000, 1000, 1 << 20).is_err(), "{coding:?}");
    }
    let mut gzip = coded(Coding::Gzip, &text);
    let crc = gzip.len() - 8;
    gzip[crc] ^= 1;
    assert!(decoded(&[Coding::Gzip], &gzip, 1000, 1000, text.len()).is_err());
}

#[test]
fn a_bomb_writes_no_more_than_its_reader_takes() {
    let huge = vec![b' '; 64 << 20];
    for coding in ALL {
        let bomb = coded(coding, &huge);
        assert!(bomb.len() < huge.len() / 500, "{coding:?}");
        let mut decoder = Decoder::new(&[coding]);
        let (mut source, mut room) = (&bomb[..], vec![0; 1000]);
        let mut written = 0;
        while written < 100_000 {
            written += decoder.read(&mut source, &mut room).unwrap();
        }
        assert!(written <= 101_000, "{coding:?}: {written}");
        assert!(decoder.finish().is_err());
    }
}

#[test]
fn windows_larger_than_http_allows_are_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&vec![7; 1 << 20]).unwrap();
    let wide = encoder.finish().unwrap();
    assert!(decoded(&[Coding::Zstd], &wide, 1000, 1000, 1 << 20).is_err());
}

proptest! {
    #[test]
    fn stacked_codings_are_undone_in_reverse_order(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        stack in prop::collection::vec(prop::sample::select(&ALL), 0..=MOST_CODINGS),
        cut in 1..400usize,
        room in 1..400usize,
    ) {
        let coded = stack.iter().fold(bytes.clone(), |bytes, coding| coded(*coding, &bytes));
        prop_assert_eq!(decoded(&stack, &coded, cut, room, bytes.len()).unwrap(), bytes);
    }

    #[test]
    fn no_bytes_cause_a_panic_or_an_endless_loop(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        coding in prop::sample::select(&ALL),
        room in 1..400usize,
    ) {
        let mut decoder = Decoder::new(&[coding]);
        let (mut source, mut room) = (&bytes[..], vec![0; room]);
        for _ in 0..100_000 {
            match decoder.read(&mut source, &mut room) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(_) => return Ok(()),
            }
        }
        prop_assert!(false, "{:?} never ends", bytes);
    }
}
