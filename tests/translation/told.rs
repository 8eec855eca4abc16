//! What a provider is told: looked up in the body of the call, in each API's own words.

use serde_json::Value;

/// The conversation of a call, taken apart.
#[derive(Debug, Default)]
pub struct Told {
    /// Every text in order, one after the other, instructions first.
    pub said: String,
    /// Id, name and arguments of every call, in order.
    pub calls: Vec<(Value, Value, Value)>,
    /// The id of the call that each result answers, in order; for Ollama its tool's name.
    pub results: Vec<Value>,
    /// Every picture.
    pub pictures: Vec<String>,
    /// Name and schema of every tool.
    pub tools: Vec<(Value, Value)>,
}

impl Told {
    pub fn read(backend: &str, body: &Value) -> Self {
        let mut told = Self::default();
        match backend {
            "openai" => list(&body["messages"]).for_each(|message| told.openai(message)),
            "ollama" => list(&body["messages"]).for_each(|message| told.ollama(message)),
            "anthropic" => {
                told.text(&body["system"]);
                list(&body["messages"]).for_each(|message| told.anthropic(&message["content"]));
            }
            "gemini" => {
                list(&body["systemInstruction"]["parts"]).for_each(|part| told.gemini(part));
                let parts = list(&body["contents"]).flat_map(|content| list(&content["parts"]));
                parts.for_each(|part| told.gemini(part));
            }
            other => panic!("nobody reads {other} here"),
        }
        told.tools = match backend {
            "anthropic" => list(&body["tools"])
                .map(|tool| (tool["name"].clone(), tool["input_schema"].clone()))
                .collect(),
            "gemini" => list(&body["tools"][0]["functionDeclarations"])
                .map(|tool| (tool["name"].clone(), tool["parametersJsonSchema"].clone()))
                .collect(),
            _ => list(&body["tools"])
                .map(|tool| &tool["function"])
                .map(|tool| (tool["name"].clone(), tool["parameters"].clone()))
                .collect(),
        };
        told
    }

    fn text(&mut self, text: &Value) {
        self.said.push_str(text.as_str().unwrap_or_default());
    }

    fn openai(&mut self, message: &Value) {
        if message["role"] == "tool" {
            self.results.push(message["tool_call_id"].clone());
        }
        self.text(&message["content"]);
        for part in list(&message["content"]) {
            self.text(&part["text"]);
            let url = part["image_url"]["url"].as_str();
            self.pictures.extend(url.and_then(|url| Some(url.split_once("base64,")?.1.to_owned())));
        }
        for call in list(&message["tool_calls"]) {
            let arguments = call["function"]["arguments"].as_str().unwrap();
            let arguments = serde_json::from_str(arguments).unwrap();
            self.calls.push((call["id"].clone(), call["function"]["name"].clone(), arguments));
        }
    }

    fn ollama(&mut self, message: &Value) {
        if message["role"] == "tool" {
            self.results.push(message["tool_name"].clone());
        }
        self.text(&message["content"]);
        self.pictures.extend(list(&message["images"]).map(|one| one.as_str().unwrap().to_owned()));
        for call in list(&message["tool_calls"]) {
            let function = &call["function"];
            let (name, arguments) = (function["name"].clone(), function["arguments"].clone());
            // A result names the tool here.
            self.calls.push((name.clone(), name, arguments));
        }
    }

    fn anthropic(&mut self, content: &Value) {
        self.text(content);
        for block in list(content) {
            match block["type"].as_str().unwrap() {
                "text" => self.text(&block["text"]),
                "image" => {
                    let data = block["source"]["data"].as_str();
                    self.pictures.extend(data.map(str::to_owned));
                }
                "tool_use" => self.calls.push((
                    block["id"].clone(),
                    block["name"].clone(),
                    block["input"].clone(),
                )),
                "tool_result" => {
                    self.results.push(block["tool_use_id"].clone());
                    self.anthropic(&block["content"]);
                }
                other => panic!("a block of {other}"),
            }
        }
    }

    fn gemini(&mut self, part: &Value) {
        self.text(&part["text"]);
        let data = part["inlineData"]["data"].as_str();
        self.pictures.extend(data.map(str::to_owned));
        if let Some(call) = part.get("functionCall") {
            self.calls.push((call["id"].clone(), call["name"].clone(), call["args"].clone()));
        }
        if let Some(result) = part.get("functionResponse") {
            self.results.push(result["id"].clone());
            self.text(&result["response"]["result"]);
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Where each API has a setting, by OpenAI's name for it.
pub fn place(backend: &str, field: &str) -> Option<&'static str> {
    let row = match field {
        "max_tokens" => [
            "/max_tokens",
            "/options/num_predict",
            "/max_tokens",
            "/generationConfig/maxOutputTokens",
        ],
        "temperature" => [
            "/temperature",
            "/options/temperature",
            "/temperature",
            "/generationConfig/temperature",
        ],
        "top_p" => ["/top_p", "/options/top_p", "/top_p", "/generationConfig/topP"],
        "top_k" => ["", "/options/top_k", "/top_k", "/generationConfig/topK"],
        "seed" => ["/seed", "/options/seed", "", "/generationConfig/seed"],
        "presence_penalty" => ["/presence_penalty", "/options/presence_penalty", "", ""],
        "stop" => ["/stop", "/options/stop", "/stop_sequences", "/generationConfig/stopSequences"],
        "schema" => [
            "/response_format/json_schema/schema",
            "/format",
            "/output_config/format/schema",
            "/generationConfig/responseJsonSchema",
        ],
        "reasoning_effort" => {
            ["/reasoning_effort", "/think", "/thinking", "/generationConfig/thinkingConfig"]
        }
        "logprobs" => ["/logprobs", "/logprobs", "", "/generationConfig/responseLogprobs"],
        other => panic!("no field {other}"),
    };
    let column =
        ["openai", "ollama", "anthropic", "gemini"].iter().position(|name| *name == backend);
    Some(row[column.unwrap()]).filter(|place| !place.is_empty())
}
