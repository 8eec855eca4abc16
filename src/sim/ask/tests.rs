//! The bodies that are accepted, and the refusals of others.

use serde_json::json;

use super::*;

fn refused(body: &Value) -> (u16, String) {
    let refusal = Ask::chat(body).expect_err("refused");
    (refusal.status, refusal.text)
}

#[test]
fn a_request_without_options_gets_the_servers_defaults() {
    let body = json!({"model": "mistral", "messages": [{"role": "USER", "content": "hi"}]});
    let ask = Ask::chat(&body).expect("accepted");
    let expected = Ask { messages: vec![Message::new("user", "hi")], ..Ask::empty("mistral") };
    assert_eq!(ask, expected);
    assert!(ask.stream);
}

#[test]
fn options_are_read_as_integers_and_null_is_absent() {
    let options = json!({"num_predict": 7.9, "seed": 3, "num_ctx": 8192, "stop": ["\n", ""],
        "temperature": null, "mirostat": 2});
    let ask = Ask::chat(&json!({"model": "m", "options": options})).expect("accepted");
    assert_eq!((ask.num_predict, ask.seed, ask.num_ctx), (Some(7), Some(3), 8192));
    assert_eq!(ask.stop, ["\n"]);
    let endless = Ask::chat(&json!({"options": {"num_predict": -1, "num_ctx": 0}}));
    let endless = endless.expect("accepted");
    assert_eq!((endless.num_predict, endless.num_ctx), (None, DEFAULT_NUM_CTX));
}

#[test]
fn an_option_of_the_wrong_type_is_refused_with_500() {
    let (status, text) = refused(&json!({"options": {"num_predict": "many"}}));
    assert_eq!((status, text.as_str()), (500, "option \"num_predict\" must be of type integer"));
}

#[test]
fn content_in_parts_and_arguments_in_a_string_are_refused() {
    let (status, text) = refused(&json!({"messages": [{"content": [{"type": "text"}]}]}));
    assert_eq!(status, 400);
    assert!(text.contains("cannot unmarshal array"), "{text}");
    let call = json!({"function": {"name": "f", "arguments": "{}"}});
    let (status, text) =
        refused(&json!({"messages": [{"role": "assistant", "tool_calls": [call]}]}));
    assert_eq!(status, 400);
    assert!(text.contains("cannot unmarshal string"), "{text}");
}

#[test]
fn images_are_plain_base64() {
    let with = |image: &str| json!({"messages": [{"role": "user", "images": [image]}]});
    assert!(Ask::chat(&with("aGVsbG8=")).is_ok());
    assert_eq!(
        refused(&with("data:image/png;base64,aGVsbG8=")).1,
        "illegal base64 data at input byte 4"
    );
    assert_eq!(refused(&with("aGVsbG8")).1, "illegal base64 data at input byte 7");
    assert_eq!(refused(&with("====")).0, 400);
}

#[test]
fn think_is_a_boolean_or_one_of_four_levels() {
    let think = |value: Value| Ask::chat(&json!({"think": value})).map(|ask| ask.think);
    assert_eq!(think(json!(null)), Ok(None));
    assert_eq!(think(json!(false)), Ok(Some(false)));
    assert_eq!(think(json!("high")), Ok(Some(true)));
    assert_eq!(think(json!("hard")).expect_err("refused").status, 400);
}

#[test]
fn format_is_json_or_a_schema() {
    let format = |value: Value| Ask::chat(&json!({"format": value})).map(|ask| ask.format);
    assert_eq!(format(json!("json")), Ok(Format::Json));
    assert_eq!(format(json!("")), Ok(Format::Text));
    assert_eq!(format(json!({"type": "object"})), Ok(Format::Schema(json!({"type": "object"}))));
    assert_eq!(
        format(json!("yaml")).expect_err("refused").text,
        "invalid format: \"yaml\"; expected \"json\" or a valid JSON Schema object"
    );
}

#[test]
fn keep_alive_is_seconds_or_a_duration_and_negative_is_forever() {
    let kept = |value: Value| {
        let body = json!({"keep_alive": value});
        keep_alive(&Fields::new("ChatRequest", &body).expect("an object"))
    };
    assert_eq!(kept(json!(null)), Ok(None));
    assert_eq!(kept(json!(0)), Ok(Some(Duration::ZERO)));
    assert_eq!(kept(json!("0")), Ok(Some(Duration::ZERO)));
    assert_eq!(kept(json!(1.5)), Ok(Some(Duration::from_millis(1500))));
    assert_eq!(kept(json!("1h30m")), Ok(Some(Duration::from_secs(5400))));
    for forever in [json!(-1), json!("-1m"), json!(1e300)] {
        assert_eq!(kept(forever), Ok(Some(FOREVER)));
    }
    assert_eq!(kept(json!("soon")).expect_err("refused").text, "time: invalid duration \"soon\"");
    assert_eq!(kept(json!([])).expect_err("refused").status, 400);
}

#[test]
fn generate_is_a_conversation_of_one_question() {
    let body = json!({"model": "m", "prompt": "def f(", "suffix": "return x", "system": "Code."});
    let ask = Ask::generate(&body).expect("accepted");
    let turns = [Message::new("system", "Code."), Message::new("user", "def f(return x")];
    assert_eq!(ask.messages, turns);
    assert!(ask.fills);
    let raw = Ask::generate(&json!({"prompt": "a", "raw": true, "system": "b"}));
    assert_eq!(raw.expect_err("refused").status, 400);
    assert!(Ask::generate(&json!({"model": "m"})).expect("accepted").messages.is_empty());
}
