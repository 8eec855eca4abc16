//! Properties for any bytes and any cuts.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Answer, Piece, Then};

/// The output for some bytes, and how it ended: with a surplus of 0, since bytes after the end may
/// be cut off.
#[derive(Debug, PartialEq)]
struct Outcome {
    bytes: Vec<u8>,
    last: Then,
    status: Option<u16>,
    is_reusable: bool,
}

/// Feeds a response piece by piece, as a connection does.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut answer = Answer::new(false);
    let (mut bytes, mut head) = (Vec::new(), Vec::new());
    let mut last = Then::Again;
    for piece in pieces {
        head.extend_from_slice(piece);
        let Piece { kept, then } = answer.take(&mut head);
        head.truncate(kept);
        last = then;
        if then != Then::Again {
            bytes.append(&mut head);
        }
        if matches!(then, Then::End { .. } | Then::Broken(_)) {
            break;
        }
    }
    if let Then::End { surplus } = &mut last {
        *surplus = 0;
    }
    Outcome { bytes, last, status: answer.status(), is_reusable: answer.is_reusable() }
}

/// Parts of responses, so that random sequences are often valid and mostly almost valid.
fn parts() -> impl Strategy<Value = Vec<u8>> {
    let part = select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 103 Early Hints\r\n",
        "HTTP/1.0 500 x\r\n",
        "HTTP/1.1 204 x\r\n",
        "content-length: 5\r\n",
        "content-length: 7\r\n",
        "transfer-encoding: chunked\r\n",
        "connection: close\r\n",
        "connection: keep-alive\r\n",
        "a: b\r\n",
        " folded\r\n",
        "\r\n",
        "\n",
        "\r",
        "hello",
        "5\r\nhello\r\n",
        "3;x=\"y\"\r\nabc\r\n",
        "0\r\n",
        "0\r\ntrailer: 1\r\n\r\n",
        "\0",
    ]);
    let begun = prop_oneof![
        1 => Just(""),
        3 => Just("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        2 => Just("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        2 => Just("HTTP/1.1 102 x\r\n\r\nHTTP/1.1 404 x\r\na: b\r\n"),
    ];
    (begun, vec(part, 0..12)).prop_map(|(begun, parts)| {
        let mut bytes = begun.as_bytes().to_vec();
        parts.iter().for_each(|part| bytes.extend_from_slice(part.as_bytes()));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_output_is_the_same_for_any_cut(
        bytes in parts(),
        sizes in vec(1_usize..9, 1..20),
    ) {
        let mut rest = bytes.as_slice();
        let mut sizes = sizes.iter().cycle();
        let pieces = std::iter::from_fn(|| {
            let size = (*sizes.next()?).min(rest.len());
            let (piece, behind) = rest.split_at(size);
            rest = behind;
            (!piece.is_empty()).then_some(piece)
        });
        let cut = read(pieces);
        prop_assert_eq!(&cut, &read(std::iter::once(bytes.as_slice()).filter(|all| !all.is_empty())));
        prop_assert_eq!(&cut, &read(bytes.chunks(1)));
    }

    #[test]
    fn any_bytes_are_parsed_without_a_panic_and_never_grow(bytes in vec(any::<u8>(), 0..300)) {
        let length = bytes.len();
        for begun in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"] {
            let mut answer = begun.as_bytes().to_vec();
            answer.extend_from_slice(&bytes);
            let Piece { kept, then } = Answer::new(false).take(&mut answer);
            let surplus = if let Then::End { surplus } = then { surplus } else { 0 };
            prop_assert!(kept + surplus <= begun.len() + length);
        }
    }

    #[test]
    fn a_chunked_body_is_the_content_of_its_chunks(chunks in vec(vec(any::<u8>(), 1..50), 0..20)) {
        let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let head = bytes.len();
        for chunk in &chunks {
            bytes.extend_from_slice(format!("{:X};ext\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\nHTTP/1.1 200 OK\r\n");
        let mut outcome = read(std::iter::once(bytes.as_slice()));
        prop_assert_eq!(outcome.bytes.split_off(head), chunks.concat());
        prop_assert_eq!(outcome.last, Then::End { surplus: 0 });
    }
}
