//! How each dialect writes a conversation and its settings.

use serde_json::{Map, Value, json};

use super::talk::{Choice, Dialect, STRANGE, Talk, Turn, Wish, name, parameters, picture};

/// Writes what was said.
pub fn messages(dialect: Dialect, talk: &Talk, body: &mut Map<String, Value>) {
    let mut writer = Writer { dialect, pictures: 0, calls: 0, list: Vec::new() };
    match (&talk.system, dialect) {
        (None, _) => {}
        (Some(text), Dialect::Anthropic) => {
            body.insert("system".to_owned(), json!(text));
        }
        (Some(text), Dialect::Gemini) => {
            body.insert("systemInstruction".to_owned(), json!({"parts": [{"text": text}]}));
        }
        (Some(text), Dialect::Responses) => {
            body.insert("instructions".to_owned(), json!(text));
        }
        (Some(text), Dialect::Native | Dialect::Chat | Dialect::Ollama) => {
            writer.list.push(json!({"role": "system", "content": text}));
        }
    }
    for turn in &talk.turns {
        match turn {
            Turn::User { text, pictures, addresses } => writer.user(text, *pictures, *addresses),
            Turn::Said(text) if dialect == Dialect::Gemini => {
                writer.list.push(json!({"role": "model", "parts": [{"text": text}]}));
            }
            Turn::Said(text) => writer.list.push(json!({"role": "assistant", "content": text})),
            Turn::Called { text, calls } => writer.called(text.as_deref(), calls),
        }
    }
    let key = match dialect {
        Dialect::Responses => "input",
        Dialect::Gemini => "contents",
        Dialect::Native | Dialect::Chat | Dialect::Ollama | Dialect::Anthropic => "messages",
    };
    body.insert(key.to_owned(), Value::Array(writer.list));
}

struct Writer {
    dialect: Dialect,
    pictures: usize,
    calls: usize,
    list: Vec<Value>,
}

impl Writer {
    fn user(&mut self, text: &str, pictures: usize, addresses: usize) {
        let images: Vec<String> = (0..pictures).map(|_| self.next_picture()).collect();
        let links = std::iter::repeat_n("https://example.org/a.png", addresses);
        let content = match self.dialect {
            Dialect::Native => json!(text),
            Dialect::Ollama => {
                self.list.push(json!({"role": "user", "content": text, "images": images}));
                return;
            }
            Dialect::Gemini => {
                let inline = images
                    .iter()
                    .map(|data| json!({"inlineData": {"mimeType": "image/png", "data": data}}));
                let files =
                    links.map(|url| json!({"fileData": {"mimeType": "image/png", "fileUri": url}}));
                let parts = [json!({"text": text})].into_iter().chain(inline).chain(files);
                let parts: Vec<Value> = parts.collect();
                self.list.push(json!({"role": "user", "parts": parts}));
                return;
            }
            Dialect::Chat => {
                let urls = images.iter().map(|data| format!("data:image/png;base64,{data}"));
                let urls = urls.chain(links.map(str::to_owned));
                let parts = urls.map(|url| json!({"type": "image_url", "image_url": {"url": url}}));
                [json!({"type": "text", "text": text})].into_iter().chain(parts).collect()
            }
            Dialect::Responses => {
                let urls = images.iter().map(|data| format!("data:image/png;base64,{data}"));
                let urls = urls.chain(links.map(str::to_owned));
                let parts = urls.map(|url| json!({"type": "input_image", "image_url": url}));
                [json!({"type": "input_text", "text": text})].into_iter().chain(parts).collect()
            }
            Dialect::Anthropic => {
                let inline = images
                    .iter()
                    .map(|data| json!({"type": "base64", "media_type": "image/png", "data": data}));
                let sources = inline.chain(links.map(|url| json!({"type": "url", "url": url})));
                let parts = sources.map(|source| json!({"type": "image", "source": source}));
                [json!({"type": "text", "text": text})].into_iter().chain(parts).collect()
            }
        };
        self.list.push(json!({"role": "user", "content": content}));
    }

    fn next_picture(&mut self) -> String {
        self.pictures += 1;
        picture(self.pictures - 1)
    }

    fn called(&mut self, text: Option<&str>, calls: &[(usize, String, String)]) {
        let first = self.calls;
        self.calls += calls.len();
        let id = |index: usize| format!("call_{}", first + index);
        let numbered = || calls.iter().enumerate();
        match self.dialect {
            // It knows no calls: only what was said beside them.
            Dialect::Native => {
                self.list.extend(text.map(|text| json!({"role": "assistant", "content": text})));
            }
            Dialect::Chat => {
                let calls = numbered().map(|(index, (tool, at, _))| {
                    let arguments = json!({"at": at}).to_string();
                    json!({"id": id(index), "type": "function",
                        "function": {"name": name(*tool), "arguments": arguments}})
                });
                let calls: Vec<Value> = calls.collect();
                self.list.push(json!({"role": "assistant", "content": text, "tool_calls": calls}));
                self.list.extend(numbered().map(|(index, (_, _, result))| {
                    json!({"role": "tool", "tool_call_id": id(index), "content": result})
                }));
            }
            Dialect::Responses => {
                self.list.extend(text.map(|text| json!({"role": "assistant", "content": text})));
                self.list.extend(numbered().map(|(index, (tool, at, _))| {
                    json!({"type": "function_call", "call_id": id(index), "name": name(*tool),
                        "arguments": json!({"at": at}).to_string()})
                }));
                self.list.extend(numbered().map(|(index, (_, _, result))| {
                    json!({"type": "function_call_output", "call_id": id(index), "output": result})
                }));
            }
            Dialect::Ollama => {
                // Its clients know no ids: results stand in the order of the calls.
                let calls = calls.iter().map(|(tool, at, _)| {
                    json!({"function": {"name": name(*tool), "arguments": {"at": at}}})
                });
                let calls: Vec<Value> = calls.collect();
                let text = text.unwrap_or_default();
                self.list.push(json!({"role": "assistant", "content": text, "tool_calls": calls}));
                self.list.extend(
                    numbered()
                        .map(|(_, (_, _, result))| json!({"role": "tool", "content": result})),
                );
            }
            Dialect::Gemini => self.called_at_google(text, calls, first),
            Dialect::Anthropic => {
                let said = text.map(|text| json!({"type": "text", "text": text}));
                let used = numbered().map(|(index, (tool, at, _))| {
                    json!({"type": "tool_use", "id": id(index), "name": name(*tool), "input": {"at": at}})
                });
                let content: Vec<Value> = said.into_iter().chain(used).collect();
                self.list.push(json!({"role": "assistant", "content": content}));
                let results = numbered().map(|(index, (_, _, result))| {
                    json!({"type": "tool_result", "tool_use_id": id(index), "content": result})
                });
                let content: Vec<Value> = results.collect();
                self.list.push(json!({"role": "user", "content": content}));
            }
        }
    }
}

impl Writer {
    fn called_at_google(
        &mut self,
        text: Option<&str>,
        calls: &[(usize, String, String)],
        first: usize,
    ) {
        let id = |index: usize| format!("call_{}", first + index);
        let said = text.map(|text| json!({"text": text}));
        let called = calls.iter().enumerate().map(|(index, (tool, at, _))| {
            json!({"functionCall": {"id": id(index), "name": name(*tool), "args": {"at": at}}})
        });
        let parts: Vec<Value> = said.into_iter().chain(called).collect();
        self.list.push(json!({"role": "model", "parts": parts}));
        let results = calls.iter().enumerate().map(|(index, (tool, _, result))| {
            let response = json!({"result": result});
            json!({"functionResponse": {"id": id(index), "name": name(*tool), "response": response}})
        });
        self.list.push(json!({"role": "user", "parts": results.collect::<Vec<_>>()}));
    }
}

/// Writes how it is to be answered.
pub fn settings(dialect: Dialect, talk: &Talk, body: &mut Map<String, Value>) {
    match dialect {
        Dialect::Native => {
            body.insert("max_tokens".to_owned(), json!(talk.max_tokens));
            body.insert("temperature".to_owned(), json!(talk.temperature));
            return;
        }
        Dialect::Chat => chat(talk, body),
        Dialect::Responses => responses(talk, body),
        Dialect::Ollama => ollama(talk, body),
        Dialect::Anthropic => anthropic(talk, body),
        Dialect::Gemini => gemini(talk, body),
    }
    body.insert(STRANGE.to_owned(), json!(talk.is_strange.then_some("strange")));
    let choice = match (dialect, talk.choice) {
        (_, Choice::Auto) | (Dialect::Native | Dialect::Ollama | Dialect::Gemini, _) => Value::Null,
        (Dialect::Chat | Dialect::Responses, Choice::None) => json!("none"),
        (Dialect::Chat | Dialect::Responses, Choice::Required) => json!("required"),
        (Dialect::Chat, Choice::First) => {
            json!({"type": "function", "function": {"name": name(0)}})
        }
        (Dialect::Responses, Choice::First) => json!({"type": "function", "name": name(0)}),
        (Dialect::Anthropic, Choice::None) => json!({"type": "none"}),
        (Dialect::Anthropic, Choice::Required) => json!({"type": "any"}),
        (Dialect::Anthropic, Choice::First) => json!({"type": "tool", "name": name(0)}),
    };
    body.insert("tool_choice".to_owned(), choice);
}

fn tools(talk: &Talk) -> impl Iterator<Item = (String, Value)> {
    (0..talk.tools).map(|tool| (name(tool), parameters(tool)))
}

fn nested((name, parameters): (String, Value)) -> Value {
    json!({"type": "function", "function": {"name": name, "parameters": parameters}})
}

fn chat(talk: &Talk, body: &mut Map<String, Value>) {
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    set("tools", tools(talk).map(nested).collect());
    set("max_completion_tokens", json!(talk.max_tokens));
    set("temperature", json!(talk.temperature));
    set("top_p", json!(talk.top_p));
    set("seed", json!(talk.seed));
    set("presence_penalty", json!(talk.penalty));
    set("stop", json!(talk.stop));
    set("reasoning_effort", json!(talk.effort));
    set("logprobs", json!(talk.logprobs));
    set(
        "response_format",
        match talk.format {
            Wish::Text => Value::Null,
            Wish::Json => json!({"type": "json_object"}),
            Wish::Schema => json!({"type": "json_schema",
            "json_schema": {"name": "s", "schema": talk.schema()}}),
        },
    );
}

fn responses(talk: &Talk, body: &mut Map<String, Value>) {
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    let flat =
        |(name, parameters)| json!({"type": "function", "name": name, "parameters": parameters});
    set("tools", tools(talk).map(flat).collect());
    set("max_output_tokens", json!(talk.max_tokens.map(|limit| limit.max(16))));
    set("temperature", json!(talk.temperature));
    set("top_p", json!(talk.top_p));
    set("reasoning", talk.effort.map_or(Value::Null, |effort| json!({"effort": effort})));
    set(
        "text",
        match talk.format {
            Wish::Text => Value::Null,
            Wish::Json => json!({"format": {"type": "json_object"}}),
            Wish::Schema => {
                json!({"format": {"type": "json_schema", "name": "s", "schema": talk.schema()}})
            }
        },
    );
}

fn ollama(talk: &Talk, body: &mut Map<String, Value>) {
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    set("tools", tools(talk).map(nested).collect());
    let mut options = json!({"num_predict": talk.max_tokens, "temperature": talk.temperature,
        "top_p": talk.top_p, "top_k": talk.top_k, "seed": talk.seed,
        "presence_penalty": talk.penalty, "stop": talk.stop});
    options.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    set("options", options);
    set(
        "think",
        talk.effort.map_or(Value::Null, |effort| match effort {
            "none" => json!(false),
            level => json!(level),
        }),
    );
    set("logprobs", json!(talk.logprobs));
    set(
        "format",
        match talk.format {
            Wish::Text => Value::Null,
            Wish::Json => json!("json"),
            Wish::Schema => talk.schema(),
        },
    );
}

fn anthropic(talk: &Talk, body: &mut Map<String, Value>) {
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    let tool = |(name, parameters)| json!({"name": name, "input_schema": parameters});
    set("tools", tools(talk).map(tool).collect());
    set("max_tokens", json!(talk.max_tokens.unwrap_or(1000)));
    set("temperature", json!(talk.temperature));
    set("top_p", json!(talk.top_p));
    set("top_k", json!(talk.top_k));
    set("stop_sequences", json!(talk.stop));
    set(
        "thinking",
        match talk.effort {
            None => Value::Null,
            Some("none") => json!({"type": "disabled"}),
            Some(_) => json!({"type": "adaptive"}),
        },
    );
    set(
        "output_config",
        match talk.format {
            Wish::Text | Wish::Json => Value::Null,
            Wish::Schema => {
                json!({"format": {"type": "json_schema", "schema": talk.schema()}})
            }
        },
    );
}

fn gemini(talk: &Talk, body: &mut Map<String, Value>) {
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    let tool = |(name, parameters)| json!({"name": name, "parametersJsonSchema": parameters});
    let declarations: Vec<Value> = tools(talk).map(tool).collect();
    set("tools", json!([{"functionDeclarations": declarations}]));
    let calling = match talk.choice {
        Choice::Auto => json!({"mode": "AUTO"}),
        Choice::None => json!({"mode": "NONE"}),
        Choice::Required => json!({"mode": "ANY"}),
        Choice::First => json!({"mode": "ANY", "allowedFunctionNames": [name(0)]}),
    };
    set("toolConfig", json!({"functionCallingConfig": calling}));
    let thinking = talk.effort.map(|effort| match effort {
        "none" => json!({"thinkingBudget": 0}),
        "minimal" | "low" | "medium" | "high" => json!({"thinkingLevel": effort}),
        _ => json!({"thinkingLevel": "HIGH"}),
    });
    let (media_type, schema) = match talk.format {
        Wish::Text => (None, None),
        Wish::Json => (Some("application/json"), None),
        Wish::Schema => (Some("application/json"), Some(talk.schema())),
    };
    let mut config = json!({"maxOutputTokens": talk.max_tokens, "temperature": talk.temperature,
        "topP": talk.top_p, "topK": talk.top_k, "seed": talk.seed, "presencePenalty": talk.penalty,
        "stopSequences": talk.stop, "responseLogprobs": talk.logprobs, "thinkingConfig": thinking,
        "responseMimeType": media_type, "responseJsonSchema": schema});
    config.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    set("generationConfig", config);
}
