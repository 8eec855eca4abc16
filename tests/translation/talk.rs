//! Conversations that a client may want, and how each dialect says them.
//!
//! A [`Talk`] holds only what can be looked for again: every text, picture, id and argument is
//! another one, numbered by its place. A dialect without a word for something leaves it out of its
//! request, which [`Dialect::tells`] says.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Talk {
    pub system: Option<String>,
    pub turns: Vec<Turn>,
    pub tools: usize,
    pub choice: Choice,
    pub format: Wish,
    pub stop: Vec<String>,
    pub max_tokens: Option<u32>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u32>,
    pub seed: Option<i64>,
    pub penalty: Option<f64>,
    pub effort: Option<&'static str>,
    pub logprobs: bool,
    pub is_strange: bool,
}

/// One turn of the conversation.
#[derive(Debug, Clone)]
pub enum Turn {
    User {
        text: String,
        pictures: usize,
        addresses: usize,
    },
    Said(String),
    /// Text, calls with their argument, results.
    Called {
        text: Option<String>,
        calls: Vec<(usize, String, String)>,
    },
}

/// Which tool is to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Auto,
    None,
    Required,
    First,
}

/// The shape of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Text,
    Json,
    Schema,
}

/// The dialects that speak of conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Native,
    Chat,
    Responses,
    Ollama,
    Anthropic,
    Gemini,
}

pub const DIALECTS: [Dialect; 6] = [
    Dialect::Native,
    Dialect::Chat,
    Dialect::Responses,
    Dialect::Ollama,
    Dialect::Anthropic,
    Dialect::Gemini,
];

/// A field that nobody knows.
pub const STRANGE: &str = "xStrangeField";

/// Any conversation whose tools fit it.
pub fn any_talk() -> impl Strategy<Value = Talk> {
    // Letters that JSON, headers and templates like to stumble over.
    let words = || "[a-zA-Zäß🌊\"\\\\{}<> \n]{0,12}";
    let turn = prop_oneof![
        4 => (words(), 0usize..3, prop::bool::weighted(0.05)).prop_map(|(text, pictures, linked)| {
            Turn::User { text, pictures, addresses: usize::from(linked) }
        }),
        2 => words().prop_map(Turn::Said),
        3 => (option::of(words()), vec((0usize..3, words(), words()), 1..3))
            .prop_map(|(text, calls)| Turn::Called { text, calls }),
    ];
    let choice = prop_oneof![
        4 => Just(Choice::Auto),
        1 => Just(Choice::None),
        1 => Just(Choice::Required),
        1 => Just(Choice::First),
    ];
    let format = prop_oneof![3 => Just(Wish::Text), 1 => Just(Wish::Json), 1 => Just(Wish::Schema)];
    let number = |low: u32, high: u32| option::of((low..high).prop_map(|n| f64::from(n) / 4.0));
    let effort = option::weighted(0.3, prop::sample::select(vec!["none", "low", "medium", "high"]));
    (
        (option::of(words()), vec(turn, 0..5), words(), 0usize..3, choice, format),
        (vec("[a-z]{1,4}", 0..4), option::of(1u32..9000), number(0, 4), number(1, 4)),
        (option::of(1u32..50), option::of(1i64..1 << 31), number(1, 4), effort),
        (prop::bool::weighted(0.1), any::<bool>()),
    )
        .prop_map(|(said, tuned, more, (logprobs, is_strange))| {
            let (system, mut turns, last, tools, choice, format) = said;
            let (stop, max_tokens, temperature, top_p) = tuned;
            let (top_k, seed, penalty, effort) = more;
            turns.push(Turn::User { text: last, pictures: 0, addresses: 0 });
            let has_calls = turns.iter().any(|turn| matches!(turn, Turn::Called { .. }));
            let tools = if has_calls { 3 } else { tools };
            let choice = if tools == 0 { Choice::Auto } else { choice };
            let talk = Talk {
                system,
                turns,
                tools,
                choice,
                format,
                stop,
                max_tokens,
                temperature,
                top_p,
                top_k,
                seed,
                penalty,
                effort,
                logprobs,
                is_strange,
            };
            talk.numbered()
        })
}

impl Talk {
    /// Puts a number before every text, so that no two are alike and none is empty.
    fn numbered(mut self) -> Self {
        let mut number = 0;
        let mut mark = |text: &mut String| {
            number += 1;
            *text = format!("<{number}>{}", text.trim_end());
        };
        self.system.iter_mut().for_each(&mut mark);
        for turn in &mut self.turns {
            match turn {
                Turn::User { text, .. } | Turn::Said(text) => mark(text),
                Turn::Called { text, calls } => {
                    text.iter_mut().for_each(&mut mark);
                    for (_, argument, result) in calls {
                        mark(argument);
                        mark(result);
                    }
                }
            }
        }
        self
    }

    /// Every text of the conversation, in order.
    pub fn texts(&self, dialect: Dialect) -> Vec<&str> {
        let mut texts: Vec<&str> = self.system.iter().map(String::as_str).collect();
        for turn in &self.turns {
            match turn {
                Turn::User { text, .. } | Turn::Said(text) => texts.push(text),
                Turn::Called { text, calls } => {
                    texts.extend(text.as_deref());
                    if dialect != Dialect::Native {
                        texts.extend(calls.iter().map(|(_, _, result)| result.as_str()));
                    }
                }
            }
        }
        texts
    }

    /// The name and argument of every call, in order.
    pub fn calls(&self) -> Vec<(String, Value)> {
        let turns = self.turns.iter().filter_map(|turn| match turn {
            Turn::Called { calls, .. } => Some(calls),
            Turn::User { .. } | Turn::Said(_) => None,
        });
        turns.flatten().map(|(tool, argument, _)| (name(*tool), json!({"at": argument}))).collect()
    }

    pub fn pictures(&self) -> usize {
        let turns = self.turns.iter().map(|turn| match turn {
            Turn::User { pictures, .. } => *pictures,
            Turn::Said(_) | Turn::Called { .. } => 0,
        });
        turns.sum()
    }

    pub fn has_address(&self) -> bool {
        self.turns.iter().any(|turn| matches!(turn, Turn::User { addresses: 1.., .. }))
    }

    pub fn schema(&self) -> Value {
        json!({"type": "object", "properties": {"answer": {"type": "string"}},
            "required": ["answer"], "additionalProperties": false})
    }
}

/// The name of a tool.
pub fn name(tool: usize) -> String {
    ["look_up", "tide-table", "f"][tool].to_owned()
}

/// What a tool takes.
pub fn parameters(tool: usize) -> Value {
    json!({"type": "object", "properties": {"at": {"type": "string", "description": name(tool)}}})
}

/// Another picture for each number: the beginning of a PNG and the number.
pub fn picture(number: usize) -> String {
    format!("iVBORw0KGgoAAAANSUhEUgAA{number:04}")
}

impl Dialect {
    pub fn coded(self) -> &'static dyn llm_gateway::dialect::Dialect {
        match self {
            Self::Native => &llm_gateway::dialect::Native,
            Self::Chat => &llm_gateway::dialect::OpenAiChat,
            Self::Responses => &llm_gateway::dialect::OpenAiResponses,
            Self::Ollama => &llm_gateway::dialect::Ollama::Chat,
            Self::Anthropic => &llm_gateway::dialect::Anthropic,
            Self::Gemini => &llm_gateway::dialect::Gemini::Generate,
        }
    }

    /// Whether the dialect has a word for the field of that name, one of OpenAI's where there is
    /// one.
    pub fn tells(self, field: &str) -> bool {
        match self {
            Self::Native => matches!(field, "max_tokens" | "temperature"),
            Self::Chat => !matches!(field, "top_k"),
            Self::Responses => !matches!(field, "top_k" | "seed" | "penalty" | "stop" | "logprobs"),
            Self::Ollama => !matches!(field, "tool_choice" | "address"),
            Self::Anthropic => !matches!(field, "seed" | "penalty" | "logprobs" | "json"),
            Self::Gemini => true,
        }
    }

    /// The request.
    pub fn say(self, talk: &Talk) -> Value {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!("some-model"));
        super::render::messages(self, talk, &mut body);
        super::render::settings(self, talk, &mut body);
        body.retain(|_, value| !value.is_null());
        Value::Object(body)
    }
}
