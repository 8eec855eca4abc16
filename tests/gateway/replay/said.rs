//! What a client of each API reads out of an answer, whole or streamed.
//!
//! It reads as such a client would, and only what all APIs can express: text, thinking, calls of
//! tools, why it ended, tokens, and what went wrong.

use serde_json::{Value, json};

use crate::client;

/// An API in which chats are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Native,
    Chat,
    Completions,
    Responses,
    Messages,
    OllamaChat,
    OllamaGenerate,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Said {
    pub status: u16,
    pub retry_after: Option<String>,
    pub text: String,
    pub reasoning: String,
    /// Id, name and arguments.
    pub calls: Vec<(String, String, Value)>,
    pub finish: Option<String>,
    /// Of the prompt and of the answer.
    pub usage: (Option<u64>, Option<u64>),
    pub error: Option<String>,
    pub ended_properly: bool,
}

impl Api {
    pub const ALL: [Self; 7] = [
        Self::Native,
        Self::Chat,
        Self::Completions,
        Self::Responses,
        Self::Messages,
        Self::OllamaChat,
        Self::OllamaGenerate,
    ];

    pub fn path(self) -> &'static str {
        match self {
            Self::Native => "/v1/chat",
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::OllamaChat => "/api/chat",
            Self::OllamaGenerate => "/api/generate",
        }
    }

    /// A request for all that the API can report.
    pub fn body(self, model: &str, is_streamed: bool, thinks: bool) -> Value {
        let mut body = json!({ "model": model, "stream": is_streamed });
        let (field, prompt) = match self {
            Self::Native | Self::Chat | Self::Messages | Self::OllamaChat => {
                ("messages", json!([{ "role": "user", "content": "hi" }]))
            }
            Self::Completions | Self::OllamaGenerate => ("prompt", json!("hi")),
            Self::Responses => ("input", json!("hi")),
        };
        body[field] = prompt;
        if is_streamed && matches!(self, Self::Chat | Self::Completions) {
            body["stream_options"] = json!({ "include_usage": true });
        }
        if self == Self::Messages {
            body["max_tokens"] = 4096.into();
            if thinks {
                body["thinking"] = json!({ "type": "enabled", "budget_tokens": 1024 });
            }
        }
        body
    }

    pub fn has_calls(self) -> bool {
        !matches!(self, Self::Native | Self::Completions | Self::OllamaGenerate)
    }

    pub fn shows_reasoning(self) -> bool {
        !matches!(self, Self::Native | Self::Completions)
    }

    /// The status that other APIs use for this one's.
    pub fn status(self, said: u64) -> u64 {
        if self == Self::Messages && said == 529 { 503 } else { said }
    }
}

impl Said {
    /// Sends a request and reads the answer to its end.
    pub async fn read(api: Api, is_streamed: bool, url: &str, body: &Value) -> Self {
        let answer = client::stream(url, body).await;
        let status = answer.status;
        let retry_after = answer.header("retry-after").map(str::to_owned);
        let pieces = answer.rest().await;
        let ended_properly = pieces.ended_properly;
        let mut said = Self { status, retry_after, ended_properly, ..Self::default() };
        let is_ndjson = matches!(api, Api::OllamaChat | Api::OllamaGenerate);
        if status != 200 || !is_streamed {
            said.document(api, &serde_json::from_str(&pieces.text()).unwrap_or_default());
        } else if is_ndjson {
            for line in pieces.text().lines() {
                said.document(api, &serde_json::from_str(line).unwrap());
            }
        } else {
            for (_, data) in pieces.events().iter().filter(|(_, data)| data != "[DONE]") {
                said.event(api, &serde_json::from_str(data).unwrap());
            }
        }
        for (_, _, arguments) in &mut said.calls {
            if let Value::String(text) = arguments {
                *arguments = serde_json::from_str(text).unwrap();
            }
        }
        said
    }

    /// A whole answer, a whole failure, or a line of Ollama's.
    fn document(&mut self, api: Api, whole: &Value) {
        self.failure(whole);
        match api {
            Api::Native => self.native(whole),
            Api::Chat | Api::Completions => self.choice(whole, "message"),
            Api::Responses => self.response(whole),
            Api::Messages => {
                for block in whole["content"].as_array().into_iter().flatten() {
                    self.block(block);
                }
                self.stopped(&whole["stop_reason"], &whole["usage"]);
            }
            Api::OllamaChat | Api::OllamaGenerate => self.line(whole),
        }
    }

    fn event(&mut self, api: Api, event: &Value) {
        self.failure(event);
        match api {
            Api::Native => self.native(event),
            Api::Chat | Api::Completions => self.choice(event, "delta"),
            Api::Responses => match event["type"].as_str().unwrap() {
                "response.output_text.delta" => add(&mut self.text, &event["delta"]),
                "response.completed" | "response.incomplete" => {
                    let text = std::mem::take(&mut self.text);
                    self.response(&event["response"]);
                    assert_eq!(self.text, text, "the pieces are the whole");
                }
                "response.failed" => {
                    let error = &event["response"]["error"]["message"];
                    self.error = error.as_str().map(str::to_owned);
                }
                _ => {}
            },
            Api::Messages => match event["type"].as_str().unwrap() {
                "message_start" => self.usage.0 = inputs(&event["message"]["usage"]),
                "content_block_start" => self.block(&event["content_block"]),
                "content_block_delta" => self.delta(&event["delta"]),
                "message_delta" => self.stopped(&event["delta"]["stop_reason"], &event["usage"]),
                _ => {}
            },
            Api::OllamaChat | Api::OllamaGenerate => self.line(event),
        }
    }

    fn failure(&mut self, document: &Value) {
        let places = [&document["detail"], &document["error"]["message"], &document["error"]];
        if let Some(message) = places.into_iter().find_map(Value::as_str) {
            self.error = Some(message.to_owned());
        }
    }

    fn native(&mut self, piece: &Value) {
        add(&mut self.text, &piece["content"]);
        add(&mut self.text, &piece["delta"]);
        self.ended(&piece["finish_reason"]);
        self.counted(&piece["usage"], "prompt_tokens", "completion_tokens");
    }

    /// OpenAI's older APIs.
    fn choice(&mut self, piece: &Value, part: &str) {
        let choice = &piece["choices"][0];
        let message = &choice[part];
        add(&mut self.text, &choice["text"]);
        add(&mut self.text, &message["content"]);
        add(&mut self.reasoning, &message["reasoning_content"]);
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let (function, index) = (&call["function"], call["index"].as_u64());
            if index.is_none_or(|index| index as usize == self.calls.len()) {
                let id = call["id"].as_str().unwrap().to_owned();
                let name = function["name"].as_str().unwrap().to_owned();
                self.calls.push((id, name, json!("")));
            }
            self.argue(&function["arguments"]);
        }
        self.ended(&choice["finish_reason"]);
        self.counted(&piece["usage"], "prompt_tokens", "completion_tokens");
    }

    fn response(&mut self, response: &Value) {
        for item in response["output"].as_array().into_iter().flatten() {
            match item["type"].as_str().unwrap() {
                "message" => {
                    let parts = item["content"].as_array().unwrap().iter();
                    parts.for_each(|part| add(&mut self.text, &part["text"]));
                }
                "reasoning" => {
                    let parts = item["summary"].as_array().unwrap().iter();
                    parts.for_each(|part| add(&mut self.reasoning, &part["text"]));
                }
                "function_call" => self.calls.push((
                    item["call_id"].as_str().unwrap().to_owned(),
                    item["name"].as_str().unwrap().to_owned(),
                    item["arguments"].clone(),
                )),
                other => panic!("an item of type {other}"),
            }
        }
        let finish = match response["incomplete_details"]["reason"].as_str() {
            Some("max_output_tokens") => "length",
            Some(reason) => reason,
            None if !self.calls.is_empty() => "tool_calls",
            None => "stop",
        };
        if response["status"] == "completed" || response["status"] == "incomplete" {
            self.finish = Some(finish.to_owned());
        }
        self.counted(&response["usage"], "input_tokens", "output_tokens");
    }

    /// A block of Anthropic's, with or without its content.
    fn block(&mut self, block: &Value) {
        match block["type"].as_str().unwrap() {
            "text" => add(&mut self.text, &block["text"]),
            "thinking" => add(&mut self.reasoning, &block["thinking"]),
            "tool_use" => {
                let [id, name] = ["id", "name"].map(|key| block[key].as_str().unwrap().to_owned());
                let is_empty = block["input"].as_object().unwrap().is_empty();
                let input = if is_empty { json!("") } else { block["input"].clone() };
                self.calls.push((id, name, input));
            }
            other => panic!("a block of type {other}"),
        }
    }

    fn delta(&mut self, delta: &Value) {
        add(&mut self.text, &delta["text"]);
        add(&mut self.reasoning, &delta["thinking"]);
        if delta["type"] == "input_json_delta" {
            self.argue(&delta["partial_json"]);
        }
    }

    fn stopped(&mut self, reason: &Value, usage: &Value) {
        self.ended(reason);
        if usage.is_object() {
            // A real Anthropic sends one half at the beginning.
            let input = inputs(usage).or(self.usage.0).or(Some(0));
            self.usage = (input, usage["output_tokens"].as_u64());
        }
    }

    fn line(&mut self, line: &Value) {
        let message = &line["message"];
        add(&mut self.text, &message["content"]);
        add(&mut self.text, &line["response"]);
        add(&mut self.reasoning, &message["thinking"]);
        add(&mut self.reasoning, &line["thinking"]);
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let name = call["function"]["name"].as_str().unwrap().to_owned();
            let id = call["id"].as_str().unwrap_or_default().to_owned();
            self.calls.push((id, name, call["function"]["arguments"].clone()));
        }
        if line["done"] == true {
            self.ended(&line["done_reason"]);
            // It leaves out what is 0.
            let count = |name: &str| Some(line[name].as_u64().unwrap_or(0));
            self.usage = (count("prompt_eval_count"), count("eval_count"));
        }
    }

    fn argue(&mut self, arguments: &Value) {
        if let Some((_, _, Value::String(so_far))) = self.calls.last_mut() {
            add(so_far, arguments);
        }
    }

    fn ended(&mut self, reason: &Value) {
        if let Some(reason) = reason.as_str() {
            assert_eq!(self.finish, None, "it ends once");
            self.finish = Some(reason.to_owned());
        }
    }

    fn counted(&mut self, usage: &Value, prompt: &str, answer: &str) {
        if usage.is_object() {
            self.usage = (usage[prompt].as_u64(), usage[answer].as_u64());
        }
    }
}

fn add(text: &mut String, piece: &Value) {
    text.push_str(piece.as_str().unwrap_or_default());
}

/// All of Anthropic's prompt tokens; `None` if not reported or 0.
fn inputs(usage: &Value) -> Option<u64> {
    let names = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
    let input: u64 = names.iter().filter_map(|name| usage[*name].as_u64()).sum();
    (input > 0).then_some(input)
}
