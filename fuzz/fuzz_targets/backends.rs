//! Any bytes, read by every backend, whole and cut in two: where they are cut must not matter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_gateway::backend::{Backend, DecodeError};
use llm_gateway::chat::{Ask, ChatEvent, ChatRequest, EmbedRequest};
use llm_gateway::provider::settings::BackendName;

fuzz_target!(|bytes: &[u8]| {
    let [which, place, body @ ..] = bytes else { return };
    let backend = BackendName::ALL[usize::from(*which) % BackendName::ALL.len()].spoken();
    let input = vec!["a".to_owned()];
    let asks = [
        Ask::Chat(ChatRequest::default()),
        Ask::Embed(EmbedRequest { input, ..EmbedRequest::default() }),
        Ask::CountTokens(ChatRequest::default()),
    ];
    let ask = &asks[usize::from(*which) / 4 % asks.len()];
    let (one, other) = body.split_at(usize::from(*place).min(body.len()));
    let whole = read(backend, ask, &[body]);
    let cut = read(backend, ask, &[one, other]);
    assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
});

fn read(
    backend: &dyn Backend,
    ask: &Ask,
    pieces: &[&[u8]],
) -> (Vec<ChatEvent>, Result<(), DecodeError>) {
    let mut decoder = backend.decoder(ask, 5);
    let mut events = Vec::new();
    for piece in pieces {
        if let Err(error) = decoder.feed(piece, &mut events) {
            return (events, Err(error));
        }
    }
    let ended = decoder.finish(&mut events);
    (events, ended)
}
