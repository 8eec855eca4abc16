//! Sessions of agents: conversations that grow, and how each dialect says them so far.
//!
//! A session asks before each answer of the model. What it asked before is asked again as it was,
//! but for a mark of Anthropic's clients, which moves to the last message.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::talk::{Dialect, picture};

/// Names that providers take, and names that have to be changed to become like them.
const TOOLS: [&str; 6] =
    ["files_read", "files.read", "files/read", "tide-table", "look up", "look_up"];

/// A whole session.
#[derive(Debug, Clone)]
pub struct Session {
    /// System texts before the conversation.
    pub instructions: usize,
    /// The tools in the client's order.
    pub tools: Vec<usize>,
    pub events: Vec<Event>,
}

/// What happens in it.
#[derive(Debug, Clone)]
pub enum Event {
    /// A system text midway.
    System,
    User {
        parts: usize,
        has_picture: bool,
    },
    Answer(Answer),
}

/// What the model says; results of its calls follow at once.
#[derive(Debug, Clone)]
pub struct Answer {
    has_thought: bool,
    has_text: bool,
    /// Whether the provider ran a tool of its own.
    has_search: bool,
    calls: Vec<Call>,
}

#[derive(Debug, Clone)]
struct Call {
    tool: usize,
    /// Whether its id is one that no provider takes.
    is_odd: bool,
    is_error: bool,
    has_picture: bool,
}

pub fn any_session() -> impl Strategy<Value = Session> {
    let call = (0..TOOLS.len(), prop::bool::weighted(0.2), any::<bool>(), any::<bool>()).prop_map(
        |(tool, is_odd, is_error, has_picture)| Call { tool, is_odd, is_error, has_picture },
    );
    let answer = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), vec(call, 0..3))
        .prop_map(|(has_thought, has_text, has_search, calls)| {
            let has_text = has_text || calls.is_empty();
            Answer { has_thought, has_text, has_search, calls }
        });
    let user = (1usize..3, prop::bool::weighted(0.3))
        .prop_map(|(parts, has_picture)| Event::User { parts, has_picture });
    let round = (user, prop::bool::weighted(0.3), answer).prop_map(|(user, is_late, answer)| {
        let late = is_late.then_some(Event::System);
        let is_called = !answer.calls.is_empty();
        // What was called is answered before the user goes on.
        let last = is_called
            .then(|| Event::Answer(Answer { calls: Vec::new(), has_text: true, ..answer.clone() }));
        [user]
            .into_iter()
            .chain(late)
            .chain([Event::Answer(answer)])
            .chain(last)
            .collect::<Vec<_>>()
    });
    let tools = prop::sample::subsequence((0..TOOLS.len()).collect::<Vec<_>>(), 0..=TOOLS.len());
    (0usize..3, tools.prop_shuffle(), vec(round, 1..4)).prop_map(|(instructions, tools, rounds)| {
        Session { instructions, tools, events: rounds.into_iter().flatten().collect() }
    })
}

impl Session {
    /// The requests, in order.
    pub fn requests(&self, dialect: Dialect) -> Vec<Value> {
        let asks = self.events.iter().enumerate();
        let asks = asks.filter(|(_, event)| matches!(event, Event::Answer(_)));
        asks.map(|(at, _)| self.request(dialect, &self.events[..at])).collect()
    }

    fn request(&self, dialect: Dialect, events: &[Event]) -> Value {
        let mut said = Said { dialect, list: Vec::new(), number: 0, calls: 0 };
        let mut body = Map::new();
        body.insert("model".to_owned(), json!("some-model"));
        let texts: Vec<String> = (0..self.instructions).map(|at| format!("be {at}")).collect();
        match dialect {
            Dialect::Anthropic if self.instructions > 0 => {
                let block = |text| json!({"type": "text", "text": text});
                // Another one in every call.
                let bill = format!("x-anthropic-billing-header: cch={};", events.len());
                let texts = [bill].into_iter().chain(texts);
                body.insert("system".to_owned(), texts.map(block).collect());
            }
            Dialect::Gemini if self.instructions > 0 => {
                let parts: Vec<Value> = texts.iter().map(|text| json!({"text": text})).collect();
                body.insert("systemInstruction".to_owned(), json!({"parts": parts}));
            }
            _ => texts.into_iter().for_each(|text| said.message("system", json!(text))),
        }
        events.iter().for_each(|event| said.event(event));
        if dialect == Dialect::Anthropic {
            mark(&mut said.list);
            body.insert("max_tokens".to_owned(), json!(100));
        }
        let key = match dialect {
            Dialect::Responses => "input",
            Dialect::Gemini => "contents",
            Dialect::Native | Dialect::Chat | Dialect::Ollama | Dialect::Anthropic => "messages",
        };
        body.insert(key.to_owned(), Value::Array(said.list));
        if dialect != Dialect::Native && !self.tools.is_empty() {
            body.insert("tools".to_owned(), self.offered(dialect));
        }
        Value::Object(body)
    }

    fn offered(&self, dialect: Dialect) -> Value {
        let schema = |tool: usize| {
            json!({"type": "object", "required": ["z"], "properties": {
            "z": {"type": "string", "description": "last, but first"},
            "a": {"type": "number", "minimum": tool}}})
        };
        let tools = self.tools.iter().map(|tool| (TOOLS[*tool], schema(*tool)));
        let tools = tools.map(|(name, schema)| match dialect {
            Dialect::Anthropic => {
                json!({"name": name, "description": name, "input_schema": schema})
            }
            Dialect::Gemini => json!({"name": name, "parametersJsonSchema": schema}),
            Dialect::Responses => json!({"type": "function", "name": name, "parameters": schema}),
            Dialect::Native | Dialect::Chat | Dialect::Ollama => json!({"type": "function",
                "function": {"name": name, "description": name, "parameters": schema}}),
        });
        let tools: Vec<Value> = tools.collect();
        match dialect {
            Dialect::Gemini => json!([{"functionDeclarations": tools}]),
            _ => Value::Array(tools),
        }
    }
}

/// Claude Code marks the last block of the last message, and no longer the one before.
fn mark(messages: &mut [Value]) {
    if let Some(Value::Array(blocks)) = messages.last_mut().map(|last| &mut last["content"])
        && let Some(Value::Object(block)) = blocks.last_mut()
    {
        // Not at the end, where taking it out would move nothing.
        block.shift_insert(0, "cache_control".to_owned(), json!({"type": "ephemeral"}));
    }
}

/// The conversation so far.
struct Said {
    dialect: Dialect,
    list: Vec<Value>,
    /// How much was said, so that no two texts are alike.
    number: usize,
    calls: usize,
}

impl Said {
    fn words(&mut self, what: &str) -> String {
        self.number += 1;
        format!("{what} {}", self.number)
    }

    fn message(&mut self, role: &str, content: Value) {
        self.list.push(json!({"role": role, "content": content}));
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::System => self.late(),
            Event::User { parts, has_picture } => self.user(*parts, *has_picture),
            Event::Answer(answer) => self.answer(answer),
        }
    }

    fn late(&mut self) {
        let text = self.words("from now on");
        match self.dialect {
            Dialect::Gemini => self.list.push(json!({"role": "user", "parts": [{"text": text}]})),
            Dialect::Responses => self.message("developer", json!(text)),
            Dialect::Anthropic => {
                self.message("system", json!([{"type": "text", "text": text}]));
            }
            Dialect::Native | Dialect::Chat | Dialect::Ollama => {
                self.message("system", json!(text))
            }
        }
    }

    fn user(&mut self, parts: usize, has_picture: bool) {
        let texts: Vec<String> = (0..parts).map(|_| self.words("please")).collect();
        let data = has_picture.then(|| picture(self.number));
        let url = data.as_ref().map(|data| format!("data:image/png;base64,{data}"));
        let of = |kind: &str| {
            texts.iter().map(|text| json!({"type": kind, "text": text})).collect::<Vec<_>>()
        };
        match self.dialect {
            Dialect::Native => self.message("user", json!(texts.concat())),
            Dialect::Ollama => self.list.push(json!({"role": "user", "content": texts.concat(),
                "images": data.into_iter().collect::<Vec<_>>()})),
            Dialect::Chat if parts == 1 && !has_picture => self.message("user", json!(texts[0])),
            Dialect::Chat => {
                let shown = url.map(|url| json!({"type": "image_url", "image_url": {"url": url}}));
                self.message("user", of("text").into_iter().chain(shown).collect());
            }
            Dialect::Responses => {
                let shown = url.map(|url| json!({"type": "input_image", "image_url": url}));
                self.message("user", of("input_text").into_iter().chain(shown).collect());
            }
            Dialect::Anthropic => {
                let shown = data.map(|data| shown(&data));
                self.message("user", of("text").into_iter().chain(shown).collect());
            }
            Dialect::Gemini => {
                let texts = texts.iter().map(|text| json!({"text": text}));
                let shown =
                    data.map(|data| json!({"inlineData": {"mimeType": "image/png", "data": data}}));
                let parts: Vec<Value> = texts.chain(shown).collect();
                self.list.push(json!({"role": "user", "parts": parts}));
            }
        }
    }

    fn answer(&mut self, answer: &Answer) {
        let thought = answer.has_thought.then(|| self.words("perhaps"));
        let text = answer.has_text.then(|| self.words("it is"));
        let first = self.calls;
        self.calls += answer.calls.len();
        let id = |at: usize, call: &Call| match call.is_odd {
            true => format!("call {} {}", first + at, "of a provider that likes its ids long"),
            false => format!("call_{}", first + at),
        };
        let calls: Vec<(String, &str, &Call)> = answer
            .calls
            .iter()
            .enumerate()
            .map(|(at, call)| (id(at, call), TOOLS[call.tool], call))
            .collect();
        let results: Vec<String> = calls.iter().map(|_| self.words("found")).collect();
        let search = answer.has_search.then(|| self.words("search"));
        match self.dialect {
            Dialect::Native => self.message("assistant", json!(text.unwrap_or_default())),
            Dialect::Chat => self.chat(thought, text, &calls, &results),
            Dialect::Responses => self.responses(thought, text, search, &calls, &results),
            Dialect::Ollama => self.ollama(thought, text, &calls, &results),
            Dialect::Anthropic => self.anthropic(thought, text, search, &calls, &results),
            Dialect::Gemini => self.gemini(thought, text, &calls, &results),
        }
    }

    fn chat(
        &mut self,
        thought: Option<String>,
        text: Option<String>,
        calls: &[(String, &str, &Call)],
        results: &[String],
    ) {
        let mut message = json!({"role": "assistant", "content": text});
        if let Some(thought) = thought {
            message["reasoning_content"] = json!(thought);
        }
        let called = calls.iter().map(|(id, name, _)| {
            json!({"id": id, "type": "function",
            "function": {"name": name, "arguments": arguments().to_string()}})
        });
        let called: Vec<Value> = called.collect();
        if !called.is_empty() {
            message["tool_calls"] = json!(called);
        }
        self.list.push(message);
        for ((id, _, call), result) in calls.iter().zip(results) {
            let text = json!({"type": "text", "text": result});
            let url = format!("data:image/png;base64,{}", picture(0));
            let content = match call.has_picture {
                false => json!(result),
                true => json!([text, {"type": "image_url", "image_url": {"url": url}}]),
            };
            self.list.push(json!({"role": "tool", "tool_call_id": id, "content": content}));
        }
    }

    fn responses(
        &mut self,
        thought: Option<String>,
        text: Option<String>,
        search: Option<String>,
        calls: &[(String, &str, &Call)],
        results: &[String],
    ) {
        self.list.extend(thought.map(|thought| {
            json!({"type": "reasoning", "id": "rs_1",
            "summary": [{"type": "summary_text", "text": thought}]})
        }));
        self.list.extend(search.map(|query| {
            json!({"type": "web_search_call", "id": "ws_1",
            "status": "completed", "action": {"type": "search", "query": query}})
        }));
        self.list.extend(text.map(|text| {
            json!({"type": "message", "role": "assistant",
            "content": [{"type": "output_text", "text": text}]})
        }));
        self.list.extend(calls.iter().map(|(id, name, _)| {
            json!({"type": "function_call",
            "call_id": id, "name": name, "arguments": arguments().to_string()})
        }));
        self.list.extend(calls.iter().zip(results).map(|((id, _, _), result)| {
            json!({"type": "function_call_output", "call_id": id, "output": result})
        }));
    }

    fn ollama(
        &mut self,
        thought: Option<String>,
        text: Option<String>,
        calls: &[(String, &str, &Call)],
        results: &[String],
    ) {
        let mut message = json!({"role": "assistant", "content": text.unwrap_or_default()});
        if let Some(thought) = thought {
            message["thinking"] = json!(thought);
        }
        let called = calls
            .iter()
            .map(|(_, name, _)| json!({"function": {"name": name, "arguments": arguments()}}));
        message["tool_calls"] = called.collect();
        self.list.push(message);
        self.list.extend(calls.iter().zip(results).map(
            |((_, name, _), result)| json!({"role": "tool", "tool_name": name, "content": result}),
        ));
    }

    fn anthropic(
        &mut self,
        thought: Option<String>,
        text: Option<String>,
        search: Option<String>,
        calls: &[(String, &str, &Call)],
        results: &[String],
    ) {
        let thought = thought
            .map(|thought| json!({"type": "thinking", "thinking": thought, "signature": "c2ln"}));
        let searched = search.into_iter().flat_map(|query| [
            json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": query}}),
            json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
                {"type": "web_search_result", "url": "https://example.org", "title": "Tides"}]}),
        ]);
        let text = text.map(|text| json!({"type": "text", "text": text}));
        let called = calls.iter().map(|(id, name, _)| {
            json!({"type": "tool_use", "id": id, "name": name, "input": arguments()})
        });
        self.message(
            "assistant",
            thought.into_iter().chain(searched).chain(text).chain(called).collect(),
        );
        if !calls.is_empty() {
            let results = calls.iter().zip(results).map(|((id, _, call), result)| {
                let mut content = vec![json!({"type": "text", "text": result})];
                content.extend(call.has_picture.then(|| shown(&picture(0))));
                json!({"type": "tool_result", "tool_use_id": id, "is_error": call.is_error, "content": content})
            });
            // What Claude Code says beside results, in a block that nobody else knows.
            let reminder = json!({"type": "reminder", "about": "tides", "text": "do not forget", "more": [1, 2]});
            self.message("user", results.chain([reminder]).collect());
        }
    }

    fn gemini(
        &mut self,
        thought: Option<String>,
        text: Option<String>,
        calls: &[(String, &str, &Call)],
        results: &[String],
    ) {
        let thought = thought.map(|thought| json!({"text": thought, "thought": true}));
        let text = text.map(|text| json!({"text": text}));
        let called = calls
            .iter()
            .map(|(_, name, _)| json!({"functionCall": {"name": name, "args": arguments()}}));
        let parts: Vec<Value> = thought.into_iter().chain(text).chain(called).collect();
        self.list.push(json!({"role": "model", "parts": parts}));
        if !calls.is_empty() {
            let results = calls.iter().zip(results).map(|((_, name, _), result)| {
                json!({"functionResponse": {"name": name, "response": {"result": result}}})
            });
            self.list.push(json!({"role": "user", "parts": results.collect::<Vec<_>>()}));
        }
    }
}

/// Arguments whose order is not that of the alphabet.
fn arguments() -> Value {
    json!({"z": "first", "a": 1.50, "m": {"y": [], "b": null}})
}

fn shown(data: &str) -> Value {
    json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}})
}
