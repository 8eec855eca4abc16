//! Requests of clients of `/v1/embeddings`, and the answers for them.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::chat::{ChatEvent, Completion, Finish, Usage};
use crate::dialect::openai::tests::{head, refusal};

fn asked(body: &Value) -> Ask {
    OpenAiEmbeddings.decode(body.to_string().as_bytes()).unwrap()
}

fn written(ask: &Ask, vectors: Vec<Vec<f32>>) -> Value {
    let mut encoder = OpenAiEmbeddings.encoder(ask, head());
    let mut out = Vec::new();
    let usage = Usage { prompt: Some(1), ..Usage::default() };
    let done = Completion { finish: Finish::Stop, stop_sequence: None, usage };
    for event in [ChatEvent::Whole(Whole::Embeddings(vectors)), ChatEvent::Done(done)] {
        encoder.event(event, Duration::ZERO, &mut out).unwrap();
    }
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn one_text_and_a_list_of_texts_are_read() {
    let Ask::Embed(one) = asked(&json!({"model": "m", "input": "a", "dimensions": 8})) else {
        panic!("not an embedding")
    };
    assert_eq!((one.input, one.dimensions, one.as_base64), (vec!["a".to_owned()], Some(8), false));
    let body = json!({"model": "m", "input": ["a", "b"], "encoding_format": "base64", "user": "u"});
    let Ask::Embed(two) = asked(&body) else { panic!("not an embedding") };
    assert_eq!((two.input.len(), two.as_base64), (2, true));
    assert_eq!(two.extra.unwrap().fields["user"], "u");
}

#[test]
fn input_that_cannot_be_embedded_is_refused_by_name() {
    for (input, code) in [
        (json!([1, 2]), "unsupported_value"),
        (json!([[1, 2], [3]]), "unsupported_value"),
        (json!(""), "invalid_value"),
        (json!([]), "invalid_value"),
        (json!(["a", ""]), "invalid_value"),
        (json!({"a": 1}), "invalid_type"),
        (json!(null), "missing_required_parameter"),
        (json!(vec!["a"; 2049]), "invalid_value"),
    ] {
        let body = json!({"model": "m", "input": input});
        let expected = ("input".to_owned(), code.to_owned());
        assert_eq!(refusal(&OpenAiEmbeddings, &body), expected, "{body:.80}");
    }
    let body = json!({"model": "m", "input": "a", "encoding_format": "int8"});
    assert_eq!(refusal(&OpenAiEmbeddings, &body).0, "encoding_format");
}

#[test]
fn vectors_are_written_as_numbers_or_as_base64_of_little_endian_floats() {
    let golden = |file: &str| serde_json::from_str::<Value>(file).unwrap();
    let mut ask = json!({"model": "embed-test-1", "input": "a"});
    let floats = golden(include_str!("../../../../tests/fixtures/dialect/openai/embeddings.json"));
    assert_eq!(written(&asked(&ask), vec![vec![0.5, -0.25, 0.125]]), floats);
    ask["encoding_format"] = "base64".into();
    let base64 =
        golden(include_str!("../../../../tests/fixtures/dialect/openai/embeddings-base64.json"));
    assert_eq!(written(&asked(&ask), vec![vec![0.5, -0.25, 0.125]]), base64);
}
