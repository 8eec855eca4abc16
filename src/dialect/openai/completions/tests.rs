//! Legacy completions: the default of 16 tokens, rejections by name, the old shape of log
//! probabilities.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{ChatEvent, ErrorKind, Finish, TokenLogprob};
use crate::dialect::openai::tests::{
    altered, answer, any_answer, any_value, decode, end, events_of, failed, refuses, village,
};

fn full() -> Value {
    json!({
        "model": "m", "prompt": ["Once"], "max_tokens": 9, "temperature": 0, "top_p": 1, "n": 1, "best_of": 1,
        "stream": true, "stream_options": {"include_usage": true}, "logprobs": 2, "echo": false,
        "suffix": "", "stop": "\n", "seed": 1, "presence_penalty": 0, "frequency_penalty": 0,
        "logit_bias": {}, "user": "u",
    })
}

fn minimal() -> Value {
    json!({"model": "m", "prompt": "Once"})
}

#[test]
fn a_prompt_is_a_users_message() {
    let request = decode(&OpenAiCompletions, &full());
    assert_eq!(request.messages, [Message::text(Role::User, "Once")]);
    assert_eq!(request.suffix, None, "an empty suffix counts as absent");
    let gap = json!({"model": "m", "prompt": "Once", "suffix": "end"});
    assert_eq!(decode(&OpenAiCompletions, &gap).suffix.as_deref(), Some("end"));
    assert_eq!(request.sampling.max_tokens, Some(9));
    assert_eq!(request.sampling.stop, ["\n"]);
    assert_eq!(request.logprobs, Some(2));
    assert!(request.stream && request.shape.stream_usage);
    let kept: Vec<_> = request.extra.unwrap().fields.keys().cloned().collect();
    assert_eq!(kept, ["user"]);
}

#[test]
fn sixteen_tokens_are_the_default() {
    let request = decode(&OpenAiCompletions, &minimal());
    assert_eq!(request.sampling.max_tokens, Some(16));
    assert_eq!(request.logprobs, None);
}

#[test]
fn unsupported_fields_are_refused_by_name() {
    refuses(
        &OpenAiCompletions,
        &minimal(),
        &[
            (json!({"prompt": null}), "prompt", "missing_required_parameter"),
            (json!({"prompt": []}), "prompt", "invalid_value"),
            (json!({"prompt": {}}), "prompt", "invalid_value"),
            (json!({"prompt": ["a", "b"]}), "prompt", "unsupported_value"),
            (json!({"prompt": [1]}), "prompt", "unsupported_value"),
            (json!({"prompt": [1, 2]}), "prompt", "unsupported_value"),
            (json!({"prompt": [[1, 2]]}), "prompt", "unsupported_value"),
            (json!({"echo": true}), "echo", "unsupported_parameter"),
            (json!({"n": 2}), "n", "unsupported_value"),
            (json!({"best_of": 2}), "best_of", "unsupported_value"),
            (json!({"n": 0}), "n", "invalid_value"),
            (json!({"logprobs": 6}), "logprobs", "invalid_value"),
            (json!({"logprobs": true}), "logprobs", "invalid_type"),
            (json!({"stream_options": {}}), "stream_options", "invalid_value"),
            (json!({"model": null}), "model", "missing_required_parameter"),
        ],
    );
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_whole_completion_has_the_legacy_shape() {
    let request = decode(&OpenAiCompletions, &minimal());
    let text = "The village looks east over Lake Merrow.";
    let details = json!({"cached_tokens": 0});
    assert_eq!(
        read(&answer(&OpenAiCompletions, &request, &village())),
        json!({
            "id": "cmpl-fx01", "object": "text_completion", "created": 1_795_341_600, "model": "m",
            "choices": [{"text": text, "index": 0, "logprobs": null, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 29, "completion_tokens": 10, "total_tokens": 39,
                "prompt_tokens_details": details,
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
        })
    );
}

#[test]
fn a_stream_ends_with_its_reason_the_counts_and_done() {
    let mut request = decode(&OpenAiCompletions, &full());
    let written = events_of(&answer(&OpenAiCompletions, &request, &village()[3..]));
    let choice = |text: &str, reason: Option<&str>| json!([{"text": text, "index": 0, "logprobs": null, "finish_reason": reason}]);
    let choices: Vec<_> = written.iter().map(|event| event["choices"].clone()).collect();
    assert_eq!(
        choices,
        [choice(" Merrow.", None), choice("", Some("stop")), json!([]), Value::Null]
    );
    assert_eq!(written[0]["usage"], Value::Null);
    assert_eq!(written[2]["usage"]["total_tokens"], 39);
    assert_eq!(written[3], "[DONE]");
    request.shape.stream_usage = false;
    let written = answer(&OpenAiCompletions, &request, &village());
    assert!(!written.contains("usage"), "{written}");
}

#[test]
fn log_probabilities_are_parallel_lists_with_offsets_in_characters() {
    let token = |text: &str| TokenLogprob {
        token: text.to_owned(),
        logprob: -0.5,
        bytes: None,
        top: vec![TokenLogprob { token: "x".into(), logprob: -1.5, bytes: None, top: Vec::new() }],
    };
    let events = [
        ChatEvent::Text("Ísto".into()),
        ChatEvent::Logprobs(vec![token("Ís"), token("to")]),
        ChatEvent::Text("!".into()),
        ChatEvent::Logprobs(vec![token("!")]),
        end(Finish::Stop),
    ];
    let mut request = decode(&OpenAiCompletions, &minimal());
    request.logprobs = Some(1);
    let whole = read(&answer(&OpenAiCompletions, &request, &events));
    let top = json!({"x": -1.5});
    assert_eq!(
        whole["choices"][0]["logprobs"],
        json!({
            "tokens": ["Ís", "to", "!"], "token_logprobs": [-0.5, -0.5, -0.5],
            "top_logprobs": [top, top, top], "text_offset": [0, 2, 4],
        })
    );
    request.stream = true;
    let stream = events_of(&answer(&OpenAiCompletions, &request, &events));
    let offsets: Vec<_> = stream
        .iter()
        .filter_map(|event| event["choices"][0]["logprobs"].get("text_offset"))
        .collect();
    assert_eq!(offsets, [&json!([0, 2]), &json!([4])]);
}

#[test]
fn nothing_follows_a_failure_midway() {
    let request = decode(&OpenAiCompletions, &full());
    let error = GatewayError::upstream(ErrorKind::Timeout, "too late");
    let written = events_of(&failed(&OpenAiCompletions, &request, &village()[..1], &error));
    assert_eq!(written.len(), 2);
    assert_eq!(written[1]["error"]["code"], "timeout");
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = OpenAiCompletions.decode(&body);
    }

    #[test]
    fn no_wrong_value_causes_a_panic(place in any::<usize>(), by in any_value()) {
        let _ = OpenAiCompletions.decode(altered(&full(), place, by).to_string().as_bytes());
    }

    #[test]
    fn joined_pieces_are_the_whole_answer(events in any_answer()) {
        let mut request = decode(&OpenAiCompletions, &minimal());
        let whole = read(&answer(&OpenAiCompletions, &request, &events));
        request.stream = true;
        let stream = events_of(&answer(&OpenAiCompletions, &request, &events));
        let joined: String = stream.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
        prop_assert_eq!(&joined, whole["choices"][0]["text"].as_str().unwrap());
        prop_assert_eq!(stream.last().unwrap(), "[DONE]");
    }
}
