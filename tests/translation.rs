//! A property of all pairs: whatever a client asks in any dialect reaches any kind of provider, or
//! is refused by name.
//!
//! `talk` holds what can be wanted, `render` how each dialect says it, `told` what is looked for in
//! the call that the backend builds: texts in order, calls with their arguments and results,
//! pictures, tools, schemas and settings. What only tunes may be missing when it is named as
//! dropped. `bytes` feeds nonsense to everything that reads. `beginnings` has `session`s grow, whose
//! every request must begin with the one before.
//!
//! To search for longer than a test run allows: `PROPTEST_CASES=100000 cargo test --release --test
//! translation`.

#![cfg(test)]

#[path = "translation/beginnings.rs"]
mod beginnings;
#[path = "translation/bytes.rs"]
mod bytes;
#[path = "translation/render.rs"]
mod render;
#[path = "translation/session.rs"]
mod session;
#[path = "translation/talk.rs"]
mod talk;
#[path = "translation/told.rs"]
mod told;

use llm_gateway::backend::{Backend, Target};
use llm_gateway::chat::{ErrorKind, GatewayError};
use llm_gateway::provider::settings::BackendName;
use proptest::prelude::*;
use serde_json::{Value, json};

use talk::{Choice, DIALECTS, Dialect, STRANGE, Talk, Wish, any_talk, name, parameters, picture};
use told::{Told, place};

/// Every backend by its name.
fn backends() -> [(&'static str, &'static dyn Backend); 4] {
    BackendName::ALL.map(|name| (name.as_str(), name.spoken()))
}

/// One way from a client to a provider.
struct Way<'a> {
    dialect: Dialect,
    backend: &'a str,
    talk: &'a Talk,
    body: &'a Value,
    dropped: &'a [String],
}

proptest! {
    // A failure is printed whole; a file of seeds would not outlive the next change of the
    // strategy.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_arrives_or_is_refused_by_name(talk in any_talk()) {
        for dialect in DIALECTS {
            let said = dialect.say(&talk);
            let ask = match dialect.coded().decode(said.to_string().as_bytes()) {
                Ok(ask) => ask,
                Err(error) => panic!("{dialect:?} does not take {said}: {}", error.message),
            };
            for (name, backend) in backends() {
                match backend.encode(&ask, Target::new("some-model", None)) {
                    Ok(call) => {
                        let body: Value = serde_json::from_slice(&call.body).unwrap();
                        let dropped = &call.dropped[..];
                        let way = Way { dialect, backend: name, talk: &talk, body: &body, dropped };
                        way.check();
                    }
                    Err(error) => check_refusal(dialect, name, &talk, &error),
                }
            }
        }
    }
}

/// A refusal names what was asked for, and that this provider has no word for.
fn check_refusal(dialect: Dialect, backend: &str, talk: &Talk, error: &GatewayError) {
    assert_eq!(error.kind, ErrorKind::InvalidRequest);
    let field = error.message.split(':').next().unwrap_or_default();
    let is_due = match field {
        "logprobs" => talk.logprobs && dialect.tells("logprobs") && backend == "anthropic",
        "image_url" => talk.has_address() && backend == "ollama",
        _ => false,
    };
    assert!(is_due, "{dialect:?} to {backend}: {}", error.message);
}

impl Way<'_> {
    fn check(&self) {
        let told = Told::read(self.backend, self.body);
        self.check_texts(&told.said);
        if self.dialect != Dialect::Native {
            self.check_calls(&told);
            self.check_tools(&told);
            let pictures = (0..self.talk.pictures()).map(picture).collect::<Vec<_>>();
            assert_eq!(told.pictures, pictures, "{self}");
            self.check_format(&told.said);
        }
        self.check_settings();
    }

    fn check_texts(&self, said: &str) {
        let mut rest = said;
        for text in self.talk.texts(self.dialect) {
            match rest.split_once(text) {
                Some((_, after)) => rest = after,
                None => panic!("{text:?} is missing or out of order in {said:?} of {self}"),
            }
        }
    }

    fn check_calls(&self, told: &Told) {
        let calls: Vec<(Value, Value)> =
            told.calls.iter().map(|(_, name, at)| (name.clone(), at.clone())).collect();
        let wanted = self.talk.calls().into_iter().map(|(name, at)| (json!(name), at));
        assert_eq!(calls, wanted.collect::<Vec<_>>(), "{self}");
        let ids: Vec<Value> = told.calls.iter().map(|(id, _, _)| id.clone()).collect();
        assert_eq!(told.results, ids, "results answer their calls: {self}");
        if self.backend == "ollama" {
            return;
        }
        match self.dialect {
            // Its clients give none: those that are made are such as every template takes.
            Dialect::Ollama => {
                let mut made: Vec<&str> = ids.iter().filter_map(Value::as_str).collect();
                let fits =
                    |id: &str| id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric());
                assert!(made.iter().all(|id| fits(id)), "{made:?}: {self}");
                made.sort_unstable();
                made.dedup();
                assert_eq!(made.len(), ids.len(), "each call has its own: {self}");
            }
            _ => {
                let own = (0..ids.len()).map(|index| json!(format!("call_{index}")));
                assert_eq!(ids, own.collect::<Vec<_>>(), "{self}");
            }
        }
    }

    fn check_tools(&self, told: &Told) {
        let choice = match self.dialect.tells("tool_choice") {
            true => self.talk.choice,
            false => Choice::Auto,
        };
        let all = 0..self.talk.tools;
        // Ollama cannot be told to call, or not to: it is offered what may be called.
        let offered = match (self.backend, choice) {
            ("ollama", Choice::None) => 0..0,
            ("ollama", Choice::First) => 0..1,
            _ => all,
        };
        let offered = offered.map(|tool| (json!(name(tool)), parameters(tool)));
        assert_eq!(told.tools, offered.collect::<Vec<_>>(), "{self}");
        let config = &self.body["toolConfig"]["functionCallingConfig"];
        let (mode, first) = match self.backend {
            "openai" => (&self.body["tool_choice"], &self.body["tool_choice"]["function"]["name"]),
            "anthropic" => (&self.body["tool_choice"]["type"], &self.body["tool_choice"]["name"]),
            "gemini" => (&config["mode"], &config["allowedFunctionNames"][0]),
            _ => {
                return if choice == Choice::Required {
                    self.is_named("tool_choice")
                };
            }
        };
        match choice {
            Choice::Auto => {}
            Choice::None => assert!(mode == "none" || mode == "NONE", "{self}"),
            Choice::Required => {
                assert!(mode == "required" || mode == "any" || mode == "ANY", "{self}")
            }
            Choice::First => assert_eq!(first, &name(0), "{self}"),
        }
    }

    fn check_format(&self, said: &str) {
        match self.talk.format {
            Wish::Text => {}
            Wish::Json if !self.dialect.tells("json") => {}
            Wish::Json => {
                let body = self.body;
                let is_told = match self.backend {
                    "openai" => body["response_format"]["type"] == "json_object",
                    "ollama" => body["format"] == "json",
                    "gemini" => body["generationConfig"]["responseMimeType"] == "application/json",
                    _ => said.contains("one JSON object"),
                };
                assert!(is_told, "{self}");
            }
            Wish::Schema => {
                let place = place(self.backend, "schema").unwrap();
                assert_eq!(self.body.pointer(place), Some(&self.talk.schema()), "{self}");
            }
        }
    }

    /// Every setting is in its place, or named as dropped.
    fn check_settings(&self) {
        let talk = self.talk;
        let penalty = talk.penalty.filter(|_| self.dialect.tells("penalty"));
        let limit = match self.dialect {
            Dialect::Responses => talk.max_tokens.map(|limit| limit.max(16)),
            Dialect::Anthropic => talk.max_tokens.or(Some(1000)),
            Dialect::Native | Dialect::Chat | Dialect::Ollama | Dialect::Gemini => talk.max_tokens,
        };
        let hottest = if self.backend == "anthropic" { 1.0 } else { 2.0 };
        let heat = talk.temperature.map(|value| value.min(hottest));
        let heat = match (self.dialect, talk.temperature) {
            // The default says nothing.
            (_, Some(1.0)) if self.backend == "anthropic" => None,
            _ => heat,
        };
        self.is_told("max_tokens", limit.map(|value| json!(value)));
        self.is_told("temperature", heat.map(|value| json!(value)));
        self.is_told("top_p", talk.top_p.map(|value| json!(value)));
        self.is_told("top_k", talk.top_k.map(|value| json!(value)));
        self.is_told("seed", talk.seed.map(|value| json!(value)));
        self.is_told("presence_penalty", penalty.map(|value| json!(value)));
        self.is_told("stop", Some(json!(talk.stop)).filter(|_| !talk.stop.is_empty()));
        if self.dialect != Dialect::Native {
            if talk.effort.is_some_and(|effort| effort != "none") {
                let is_there = self.body.pointer(place(self.backend, "reasoning_effort").unwrap());
                assert!(is_there.is_some() || self.names("reasoning_effort"), "{self}");
            }
            if talk.is_strange && self.body.get(STRANGE).is_none() {
                self.is_named(STRANGE);
            }
        }
        if talk.logprobs && self.dialect.tells("logprobs") {
            self.is_told("logprobs", Some(json!(true)));
        }
    }

    fn is_told(&self, field: &str, value: Option<Value>) {
        let Some(value) = value.filter(|_| self.dialect.tells(field)) else { return };
        let there = place(self.backend, field).and_then(|place| self.body.pointer(place));
        assert!(there == Some(&value) || self.names(field), "{field} {value}: {self}");
    }

    fn is_named(&self, field: &str) {
        assert!(self.names(field), "{field}: {self}");
    }

    fn names(&self, field: &str) -> bool {
        self.dropped.iter().any(|name| name == field)
    }
}

impl std::fmt::Display for Way<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (dialect, backend) = (self.dialect, self.backend);
        write!(formatter, "{dialect:?} to {backend}, {:?} dropped: {}", self.dropped, self.body)
    }
}
