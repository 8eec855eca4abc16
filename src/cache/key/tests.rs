//! Any change of the request, its caller or its candidates changes the key; fields that shape the
//! answer do not.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::chat::{
    Api, Effort, Extra, Format, Image, ImageSource, Message, Part, Role, Sampling, ShowRequest,
    Tool, ToolCall, ToolChoice, ToolResult,
};

type Change = fn(&mut ChatRequest);

const SCOPE: Scope<'_> = Scope { caller: Some("a"), policy: None };
const RUNNER: Runner<'_> = Runner {
    provider: "p",
    backend: "ollama",
    base_url: "http://h",
    model: "m",
    manner: "",
    part: None,
};

/// One change for every field that counts; each makes a different request.
const CHANGES: [Change; 33] = [
    |chat| chat.messages.push(Message::text(Role::User, "more")),
    |chat| chat.messages.push(Message::text(Role::Assistant, "more")),
    |chat| chat.messages.push(Message { name: Some("n".into()), ..Message::text(Role::User, "") }),
    |chat| chat.messages.push(of(Part::Reasoning { text: "more".into(), signature: None })),
    |chat| chat.messages.push(of(Part::Reasoning { text: "more".into(), signature: some("s") })),
    |chat| chat.messages.push(of(picture("data"))),
    |chat| chat.messages.push(of(picture("other"))),
    |chat| chat.messages.push(of(call("1", "{}"))),
    |chat| chat.messages.push(of(call("1", "{ }"))),
    |chat| chat.messages.push(of(result(false))),
    |chat| chat.messages.push(of(result(true))),
    |chat| chat.dropped.push("mirostat".into()),
    |chat| chat.suffix = some("end"),
    |chat| chat.is_prompt = true,
    |chat| chat.sampling.max_tokens = Some(77),
    |chat| chat.sampling.temperature = Some(0.07),
    |chat| chat.sampling.top_p = Some(0.07),
    |chat| chat.sampling.top_k = Some(77),
    |chat| chat.sampling.min_p = Some(0.07),
    |chat| chat.sampling.presence_penalty = Some(0.07),
    |chat| chat.sampling.frequency_penalty = Some(0.07),
    |chat| chat.sampling.repeat_penalty = Some(0.07),
    |chat| chat.sampling.seed = Some(77),
    |chat| chat.sampling.stop.push("stop".into()),
    |chat| chat.tools.push(tool(None)),
    |chat| chat.tools.push(tool(Some(true))),
    |chat| chat.tool_choice = ToolChoice::Named("t".into()),
    |chat| chat.parallel_tool_calls = Some(false),
    |chat| chat.format = Format::Json,
    |chat| chat.effort = Some(Effort::Budget(77)),
    |chat| chat.logprobs = Some(7),
    |chat| chat.n = Some(7),
    |chat| chat.extra = Some(extra(Api::OpenAi)),
];

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn of(part: Part) -> Message {
    Message { role: Role::User, content: vec![part], name: None }
}

fn picture(base64: &str) -> Part {
    let source =
        ImageSource::Inline { media_type: "image/png".to_owned(), base64: base64.to_owned() };
    Part::Image(Image { source, detail: None })
}

fn call(id: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: some(id), name: "t".into(), arguments: arguments.into() })
}

fn result(is_error: bool) -> Part {
    Part::ToolResult(ToolResult { call_id: some("1"), name: None, content: vec![], is_error })
}

fn tool(strict: Option<bool>) -> Tool {
    Tool { name: "t".into(), strict, ..Tool::default() }
}

fn extra(api: Api) -> Extra {
    let fields: Map<_, _> = [("think".to_owned(), json!(1))].into_iter().collect();
    Extra { api, fields }
}

fn question(chat: &ChatRequest) -> Key {
    Key::question(&Ask::Chat(chat.clone()), SCOPE).unwrap()
}

fn all_distinct(keys: &[Key]) -> bool {
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    distinct.len() == keys.len()
}

prop_compose! {
    fn any_chat()(
        texts in prop::collection::vec("[a-c\"\\\\,{}\\[\\]]{0,4}", 1..4),
        max_tokens in prop::option::of(1_u32..3),
        temperature in prop::option::of(prop::sample::select(vec![0.0, 0.5])),
        seed in prop::option::of(-1_i64..2),
        stop in prop::collection::vec("[a-b\",]{0,2}", 0..3),
    ) -> ChatRequest {
        let messages = texts.iter().map(|text| Message::text(Role::User, text.as_str())).collect();
        let sampling = Sampling { max_tokens, temperature, seed, stop, ..Sampling::default() };
        ChatRequest { messages, sampling, ..ChatRequest::default() }
    }
}

proptest! {
    #[test]
    fn a_change_of_any_field_changes_the_key(chat in any_chat()) {
        let mut keys = vec![question(&chat)];
        for change in CHANGES {
            let mut changed = chat.clone();
            change(&mut changed);
            keys.push(question(&changed));
        }
        prop_assert!(all_distinct(&keys));
    }

    #[test]
    fn two_requests_share_a_key_exactly_when_they_are_identical(a in any_chat(), b in any_chat()) {
        prop_assert_eq!(question(&a) == question(&b), a == b);
    }

    #[test]
    fn fields_that_only_shape_the_answer_change_nothing(chat in any_chat(), name in "[a-z/]{0,9}") {
        let mut other = chat.clone();
        other.stream = !chat.stream;
        other.model = Some(name.clone());
        other.hint = Some(name);
        other.shape.stream_usage = true;
        other.shape.echo.insert("metadata".into(), json!(1));
        prop_assert_eq!(question(&chat), question(&other));
    }

    #[test]
    fn texts_do_not_run_into_each_other(a in "[ab]{0,3}", b in "[ab]{0,3}", c in "[ab]{0,3}", d in "[ab]{0,3}") {
        let key = |provider: &str, model: &str| {
            question(&ChatRequest::default()).answered_by(Runner { provider, model, ..RUNNER })
        };
        prop_assert_eq!(key(&a, &b) == key(&c, &d), (&a, &b) == (&c, &d));
    }
}

#[test]
fn fields_kept_for_one_api_are_not_those_of_another() {
    let with = |api| ChatRequest { extra: Some(extra(api)), ..ChatRequest::default() };
    assert_ne!(question(&with(Api::OpenAi)), question(&with(Api::Ollama)));
}

#[test]
fn embeddings_differ_by_text_and_length_and_from_chats() {
    let key = |embed: EmbedRequest| Key::question(&Ask::Embed(embed), SCOPE).unwrap();
    let plain = || EmbedRequest { input: vec!["ab".into()], ..EmbedRequest::default() };
    let keys = [
        key(plain()),
        key(EmbedRequest { input: vec!["a".into(), "b".into()], ..plain() }),
        key(EmbedRequest { dimensions: Some(7), ..plain() }),
        key(EmbedRequest { extra: Some(extra(Api::OpenAi)), ..plain() }),
        question(&ChatRequest::default()),
    ];
    assert!(all_distinct(&keys));
    assert_eq!(key(plain()), key(EmbedRequest { as_base64: true, model: some("x"), ..plain() }));
}

#[test]
fn callers_and_policies_have_answers_of_their_own() {
    let ask = Ask::Chat(ChatRequest::default());
    let key = |caller, policy| Key::question(&ask, Scope { caller, policy }).unwrap();
    let local = Some(DataPolicy::Local);
    let keys = [
        key(Some("a"), None),
        key(Some("b"), None),
        key(None, None),
        key(Some("a"), local),
        key(None, local),
    ];
    assert!(all_distinct(&keys));
}

#[test]
fn an_answers_key_names_one_model_at_one_provider() {
    let question = question(&ChatRequest::default());
    let keys = [
        question,
        question.answered_by(RUNNER),
        question.answered_by(Runner { provider: "q", ..RUNNER }),
        question.answered_by(Runner { backend: "openai", ..RUNNER }),
        question.answered_by(Runner { base_url: "http://other", ..RUNNER }),
        question.answered_by(Runner { model: "n", ..RUNNER }),
        question.answered_by(Runner { manner: "terse", ..RUNNER }),
        question.in_flight(&[RUNNER], Priority::Interactive),
    ];
    assert!(all_distinct(&keys));
}

#[test]
fn a_calls_key_covers_all_candidates_whichever_equal_comes_first() {
    let question = question(&ChatRequest::default());
    let (other, large) = (Runner { provider: "q", ..RUNNER }, Runner { model: "n", ..RUNNER });
    let key = |runners: &[Runner<'_>]| question.in_flight(runners, Priority::Interactive);
    assert_eq!(key(&[RUNNER, other]), key(&[other, RUNNER]));
    let keys = [
        key(&[RUNNER]),
        key(&[RUNNER, other]),
        key(&[RUNNER, large]),
        key(&[large, RUNNER]),
        question.in_flight(&[RUNNER], Priority::Batch),
    ];
    assert!(all_distinct(&keys));
}

#[test]
fn questions_about_models_have_no_key() {
    assert_eq!(Key::question(&Ask::Show(ShowRequest::default()), SCOPE), None);
    assert_eq!(Key::question(&Ask::CountTokens(ChatRequest::default()), SCOPE), None);
}
