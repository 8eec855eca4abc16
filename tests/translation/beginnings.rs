//! A property of all pairs: the request of a turn begins with that of the turn before, so that what
//! a server remembers of the conversation is of use.
//!
//! What a server reads is compared, byte for byte: the tools, then the system texts, then each
//! message. Only the last message of a turn may go on in the next, where the user goes on. What a
//! reader would get wrong: Anthropic's cache marks are no part of a prompt, and one text is the
//! same in a list or alone.

use bytes::Bytes;
use llm_gateway::backend::carry;
use llm_gateway::backend::{Backend, Quirks, SystemPlace, Target};
use llm_gateway::chat::{Ask, Carry, Endpoint};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::backends;
use super::session::{Session, any_session};
use super::talk::{DIALECTS, Dialect};

/// Models of each backend that are told the same in other words.
fn models(backend: &str) -> &'static [&'static str] {
    match backend {
        "openai" => &["some-model", "mistral-large-latest", "deepseek-chat", "gpt-5"],
        "anthropic" => &["claude-3-5-haiku-20241022", "claude-opus-9", "some-model"],
        "gemini" => &["gemini-2.5-flash", "gemini-3-pro"],
        _ => &["some-model"],
    }
}

fn targets(model: &str) -> [Target<'_>; 2] {
    [SystemPlace::Anywhere, SystemPlace::First].map(|system| Target {
        quirks: Quirks { system, ..Quirks::default() },
        ..Target::new(model, None)
    })
}

/// What a server reads of a request: what comes before the messages, and the messages.
#[derive(Debug)]
struct Read {
    head: [String; 2],
    messages: Vec<Value>,
}

impl Read {
    fn of(body: &[u8]) -> Self {
        let mut body: Value = serde_json::from_slice(body).unwrap();
        same_words(&mut body);
        let head = [&body["tools"], &first(&body, ["system", "systemInstruction", "instructions"])];
        let head = head.map(Value::to_string);
        let messages = first(&body, ["messages", "contents", "input"]);
        Self { head, messages: messages.as_array().unwrap().clone() }
    }

    /// Panics unless `next` begins with it.
    fn begins(&self, next: &Self, way: &str) {
        let context = || format!("{way}:\n{:#}\n{:#}", json!(self.messages), json!(next.messages));
        assert_eq!(self.head, next.head, "{way}");
        assert!(self.messages.len() <= next.messages.len(), "{}", context());
        let Some((last, before)) = self.messages.split_last() else { return };
        for (at, message) in before.iter().enumerate() {
            let [message, same] = [message, &next.messages[at]].map(Value::to_string);
            assert_eq!(message, same, "{}", context());
        }
        assert!(goes_on(last, &next.messages[before.len()]), "{}", context());
    }
}

fn first<const N: usize>(body: &Value, names: [&str; N]) -> Value {
    names.iter().find_map(|name| body.get(*name)).cloned().unwrap_or_default()
}

/// Takes out what is no part of a prompt, and puts texts into lists.
fn same_words(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.shift_remove("cache_control");
            if let Some(content) = fields.get_mut("content").filter(|content| content.is_string()) {
                *content = json!([{"type": "text", "text": content.take()}]);
            }
            fields.values_mut().for_each(same_words);
        }
        Value::Array(list) => list.iter_mut().for_each(same_words),
        _ => {}
    }
}

/// The bytes of each value: the order of their fields counts.
fn written(list: &[Value]) -> Vec<String> {
    list.iter().map(Value::to_string).collect()
}

/// Whether a message is another one from its beginning, perhaps with more behind it.
fn goes_on(message: &Value, next: &Value) -> bool {
    match (message, next) {
        (Value::String(message), Value::String(next)) => next.starts_with(message),
        (Value::Array(list), Value::Array(next)) => match list.split_last() {
            None => true,
            Some((last, before)) => {
                let begins =
                    written(before) == next.get(..before.len()).map_or(Vec::new(), written);
                begins && next.get(before.len()).is_some_and(|next| goes_on(last, next))
            }
        },
        (Value::Object(fields), Value::Object(next)) => {
            fields.keys().eq(next.keys())
                && fields.iter().all(|(name, value)| goes_on(value, &next[name]))
        }
        _ => message == next,
    }
}

/// The endpoint at which a dialect's requests are carried to a backend.
fn endpoint(dialect: Dialect, backend: &str) -> Option<Endpoint> {
    match (dialect, backend) {
        (Dialect::Chat, "openai") => Some(Endpoint::OpenAiChat),
        (Dialect::Responses, "openai") => Some(Endpoint::OpenAiResponses),
        (Dialect::Anthropic, "anthropic" | "openai") => Some(Endpoint::AnthropicMessages),
        (Dialect::Ollama, "ollama") => Some(Endpoint::OllamaChat),
        (Dialect::Gemini, "gemini") => Some(Endpoint::GeminiStream),
        _ => None,
    }
}

fn translated(dialect: Dialect, body: &Value, backend: &dyn Backend, target: Target<'_>) -> Read {
    let ask: Ask = match dialect.coded().decode(body.to_string().as_bytes()) {
        Ok(ask) => ask,
        Err(error) => panic!("{dialect:?} does not take {body}: {}", error.message),
    };
    match backend.encode(&ask, target) {
        Ok(call) => Read::of(&call.body),
        Err(error) => panic!("{dialect:?} to {}: {}: {body}", target.model, error.message),
    }
}

fn carried(
    endpoint: Endpoint,
    body: &Value,
    backend: &dyn Backend,
    target: Target<'_>,
) -> Option<Read> {
    let carry = Carry {
        endpoint,
        body: Bytes::from(body.to_string()),
        changes_state: false,
        headers: Vec::new(),
        query: String::new(),
        stream: true,
        form: 0,
        may_be_plain: true,
        refusal: None,
    };
    let fields = Map::from_iter([("options".to_owned(), json!({"num_ctx": 8192}))]);
    Some(Read::of(&carry::encode(&carry, backend, &fields, target)?.body))
}

fn check(session: &Session) {
    for dialect in DIALECTS {
        let requests = session.requests(dialect);
        for (name, backend) in backends() {
            for target in models(name).iter().copied().flat_map(targets) {
                let way = format!("{dialect:?} to {name}'s {}", target.model);
                let reads = requests.iter().map(|body| translated(dialect, body, backend, target));
                begin(reads, &format!("{way}, translated"));
                if let Some(endpoint) = endpoint(dialect, name) {
                    let reads =
                        requests.iter().filter_map(|body| carried(endpoint, body, backend, target));
                    begin(reads, &format!("{way}, carried"));
                }
            }
        }
    }
}

fn begin(reads: impl Iterator<Item = Read>, way: &str) {
    let mut before: Option<Read> = None;
    for read in reads {
        if let Some(before) = &before {
            before.begins(&read, way);
        }
        before = Some(read);
    }
}

proptest! {
    // Each session is told in every dialect to every kind of provider, so fewer of them do.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: ProptestConfig::default().cases / 4,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_turn_begins_with_the_turn_before(session in any_session()) {
        check(&session);
    }
}
