//! Any bytes as an answer of a provider: however they are cut, the same is handed on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_gateway::wire::coding::{Coding, Decoder};
use llm_gateway::wire::http1::{Answer, Piece, Then};

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, bool) {
    let (mut answer, mut held, mut all) = (Answer::new(false), Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let Piece { kept, then } = answer.take(&mut held);
        held.truncate(kept);
        match then {
            Then::Again => {}
            Then::More => all.append(&mut held),
            Then::End { .. } | Then::Broken(_) => {
                all.append(&mut held);
                return (all, answer.is_reusable());
            }
        }
    }
    (all, answer.is_reusable())
}

fuzz_target!(|data: &[u8]| {
    let whole = read(std::iter::once(data));
    assert_eq!(whole, read(data.chunks(1)));
    assert_eq!(whole, read(data.chunks(7)));
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
        let (mut decoder, mut source, mut room) = (Decoder::new(&[coding]), data, [0; 4096]);
        let mut read = 0;
        while let Ok(written @ 1..) = decoder.read(&mut source, &mut room) {
            read += written;
            if read > 1 << 20 {
                break;
            }
        }
    }
});
