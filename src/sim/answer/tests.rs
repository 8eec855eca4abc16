//! The content of answers, and when they are cut short.

use serde_json::json;

use super::*;
use crate::sim::ask::Message;
use crate::sim::catalog::Catalog;

fn ask(model: &str, question: &str) -> Ask {
    Ask { messages: vec![Message::new("user", question)], ..Ask::empty(model) }
}

fn planned(ask: &Ask) -> Answer {
    let catalog = Catalog::new(["mistral", "qwen3", "llama3.1"]);
    plan(ask, catalog.find(&ask.model).expect("installed"), 1)
}

fn weather() -> Tool {
    let parameters = json!({"type": "object", "required": ["city"],
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}}});
    Tool { name: "get_weather".into(), parameters, seen: String::new() }
}

#[test]
fn the_same_question_gets_the_same_answer_and_any_other_a_different_one() {
    let base = ask("mistral", "why?");
    assert_eq!(planned(&base), planned(&base.clone()));
    let seeded = Ask { seed: Some(5), ..base.clone() };
    for other in [ask("llama3.1", "why?"), ask("mistral", "why not?"), seeded] {
        assert_ne!(planned(&base).content(), planned(&other).content());
    }
    assert_eq!(planned(&base), planned(&ask("Mistral:latest", "why?")));
}

#[test]
fn num_predict_cuts_a_longer_answer_and_leaves_a_shorter_one() {
    let base = ask("mistral", "why?");
    let all = planned(&base);
    let short = planned(&Ask { num_predict: Some(5), ..base.clone() });
    assert_eq!((short.tokens(), short.reason), (5, DoneReason::Length));
    assert!(all.content().starts_with(&short.content()));
    let exact = planned(&Ask { num_predict: Some(all.tokens()), ..base });
    assert_eq!(exact, all);
}

#[test]
fn a_stop_string_ends_the_answer_and_is_left_out() {
    let stopped = planned(&Ask { stop: vec!["zzz".into(), ".".into()], ..ask("mistral", "why?") });
    assert!(!stopped.content().is_empty() && !stopped.content().contains('.'));
    assert_eq!(stopped.reason, DoneReason::Stop);
}

#[test]
fn a_tool_is_called_when_the_user_names_it_and_not_otherwise() {
    let with = |question| Ask { tools: vec![weather()], ..ask("mistral", question) };
    for naming in ["call get_weather now", "Get Weather for Oslo"] {
        let answer = planned(&with(naming));
        let calls = answer.calls();
        assert_eq!(calls.len(), 1, "{naming}");
        assert_eq!(calls[0].arguments, json!({"city": "example"}));
        assert_eq!((answer.content().as_str(), answer.reason), ("", DoneReason::Stop));
    }
    assert!(planned(&with("what is new?")).calls().is_empty());
}

#[test]
fn a_long_word_of_its_name_calls_a_tool_unless_another_is_named_in_full() {
    let forecast = Tool { name: "weather_forecast".into(), ..weather() };
    let called = |question: &str| {
        let tools = vec![weather(), forecast.clone()];
        let answer = planned(&Ask { tools, ..ask("mistral", question) });
        answer.calls().iter().map(|call| call.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(called("How is the WEATHER in Oslo?"), ["get_weather", "weather_forecast"]);
    assert_eq!(called("get_weather, please"), ["get_weather"]);
    assert!(called("get me a rug that is weatherproof").is_empty());
}

#[test]
fn arguments_come_from_the_message() {
    let question = "Create what get_weather says of '你好' and 3";
    let answer = planned(&Ask { tools: vec![weather(), weather()], ..ask("mistral", question) });
    for call in answer.calls() {
        assert_eq!(call.arguments, json!({"city": "你好"}));
    }
    assert_eq!(answer.calls().len(), 2);
}

#[test]
fn after_a_tools_result_the_model_answers_with_text() {
    let mut question = Ask { tools: vec![weather()], ..ask("mistral", "use get_weather") };
    question.messages.push(Message::new("tool", "get_weather says 3 degrees"));
    assert!(planned(&question).calls().is_empty());
    assert!(!planned(&question).content().is_empty());
}

#[test]
fn structured_output_is_json_of_the_right_form() {
    let schema = json!({"type": "object", "properties": {"colour": {"enum": ["red"]}}});
    let content = |format| planned(&Ask { format, ..ask("mistral", "why?") }).content();
    assert_eq!(content(Format::Schema(schema)), r#"{"colour":"red"}"#);
    let free: Value = serde_json::from_str(&content(Format::Json)).expect("JSON");
    assert!(free.is_object());
    let asked = "A joke, as JSON with 'setup' and 'punch_line' keys, 'not this one'.";
    let keyed = planned(&Ask { format: Format::Json, ..ask("mistral", asked) }).content();
    let keyed: Value = serde_json::from_str(&keyed).expect("JSON");
    assert_eq!(keyed.as_object().unwrap().keys().collect::<Vec<_>>(), ["setup", "punch_line"]);
    assert!(keyed["setup"].is_string() && keyed["setup"] != keyed["punch_line"]);
}

#[test]
fn a_thinking_model_thinks_first_unless_the_request_forbids_it() {
    let base = ask("qwen3", "why?");
    assert!(matches!(planned(&base).pieces.first(), Some(Piece::Thinking(_))));
    let quiet = planned(&Ask { think: Some(false), ..base });
    assert_eq!(quiet.thinking(), "");
    assert_eq!(planned(&ask("mistral", "why?")).thinking(), "");
}
