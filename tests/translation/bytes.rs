//! Nonsense for everything that reads: no bytes make it panic, and where they are cut never
//! matters.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use llm_gateway::backend::{Backend, DecodeError};
use llm_gateway::chat::{Ask, ChatEvent, ChatRequest, EmbedRequest, ShowRequest};
use llm_gateway::dialect::DIALECTS;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::backends;

/// Everything that providers were recorded to say, with the backend that reads it.
static SAID: LazyLock<Vec<(&'static dyn Backend, Vec<u8>)>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upstream");
    let mut said = Vec::new();
    for (name, backend) in backends() {
        let cases = fs::read_dir(root.join(name)).unwrap().map(|case| case.unwrap().path());
        let bodies = cases
            .flat_map(|case| ["body.json", "body.ndjson", "body.sse"].map(|body| case.join(body)));
        said.extend(bodies.filter_map(|body| Some((backend, fs::read(body).ok()?))));
    }
    said
});

/// What a backend makes of these pieces.
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

/// The same bytes in pieces.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Bytes with some of them replaced, left out or said twice.
fn spoiled(mut bytes: Vec<u8>, changes: &[(Index, u8, u8)]) -> Vec<u8> {
    for (at, how, byte) in changes {
        let at = at.index(bytes.len().max(1));
        match how {
            0 if at < bytes.len() => bytes[at] = *byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at.min(bytes.len()), *byte),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn asks() -> [Ask; 4] {
    let input = vec!["a".to_owned()];
    [
        Ask::Chat(ChatRequest::default()),
        Ask::Embed(EmbedRequest { input, ..EmbedRequest::default() }),
        Ask::Show(ShowRequest::default()),
        Ask::CountTokens(ChatRequest::default()),
    ]
}

/// Fragments of which requests and answers are made, so that chance gets somewhere.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\\u",
        "d83d",
        "null",
        "true",
        "1e999",
        "-0",
        "\n",
        "\r\n",
        "\n\n",
        "data: ",
        "event: ",
        "[DONE]",
        "\"messages\"",
        "\"role\"",
        "\"user\"",
        "\"content\"",
        "\"type\"",
        "\"text\"",
        "\"tool_calls\"",
        "\"choices\"",
        "\"delta\"",
        "\"message\"",
        "\"done\"",
        "\"candidates\"",
        "\"parts\"",
        "\"model\"",
        "\u{2028}",
        "é",
    ]);
    let fragment = prop_oneof![
        8 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(fragment, 0..60).prop_map(|fragments| fragments.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_makes_a_dialect_panic(body in any_bytes()) {
        for dialect in DIALECTS {
            if let Err(error) = dialect.decode(&body) {
                let told = dialect.error(&error, "r");
                prop_assert!((400..500).contains(&told.status), "{}", told.status);
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&told.body).is_ok());
            }
        }
    }

    #[test]
    fn no_answer_makes_a_backend_panic_and_cuts_never_matter(
        body in any_bytes(),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        for (_, backend) in backends() {
            for ask in asks() {
                let whole = read(backend, &ask, &[&body]);
                prop_assert_eq!(read(backend, &ask, &cut(&body, &cuts)), whole);
            }
            for status in [400, 404, 429, 500, 503] {
                backend.rejection(status, &body, "m");
            }
        }
    }

    #[test]
    fn a_spoiled_answer_is_read_the_same_however_it_is_cut(
        which in any::<Index>(),
        changes in vec((any::<Index>(), 0u8..4, any::<u8>()), 0..4),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let (own, body) = which.get(&SAID);
        let body = spoiled(body.clone(), &changes);
        let ask = &asks()[0];
        let whole = read(*own, ask, &[&body]);
        prop_assert_eq!(read(*own, ask, &cut(&body, &cuts)), whole);
        // Some other provider's words are nonsense here, and no worse.
        for (_, other) in backends() {
            let whole = read(other, ask, &[&body]);
            prop_assert_eq!(read(other, ask, &cut(&body, &cuts)), whole);
        }
    }
}
