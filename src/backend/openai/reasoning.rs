//! Sends a model the thinking of its earlier turns.
//!
//! It owns the choice of models that get it: by the operator's setting, else by the model's name.
//! It refuses nothing; the caller reports thinking that is not sent.
//!
//! The one thing to know: the API has no field for thinking. DeepSeek, Kimi and most servers of
//! open models read `reasoning_content`, and refuse a tool call whose thinking is missing. A client
//! that speaks this API sends the fields that it was given, and these are sent on as they came.

use serde_json::{Map, Value, json};

use super::family::Family;
use crate::backend::history::REASONING;
use crate::chat::{Api, ChatRequest, Message, Part};

/// The beginnings of the names of models that are trained to see their thinking before a tool call.
const WANT_THINKING: &[&str] =
    &["deepseek", "kimi", "moonshot", "minimax", "glm-", "gpt-oss", "mimo"];

/// Which thinking is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replay {
    /// Nothing.
    Nothing,
    /// Only the fields that a client of this API sent.
    Own,
    /// Those fields, and the thinking that clients of other APIs sent.
    All,
}

impl Replay {
    /// By the operator's setting, else by the model's name. OpenAI's own models refuse fields that
    /// they do not know.
    pub(super) fn of(told: Option<bool>, model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
        match told {
            Some(false) => Self::Nothing,
            Some(true) => Self::All,
            None if WANT_THINKING.iter().any(|beginning| name.starts_with(beginning)) => Self::All,
            None if Family::of(model) == Family::Other => Self::Own,
            None => Self::Nothing,
        }
    }

    /// Whether some of the conversation's thinking is not sent.
    pub(super) fn loses(self, request: &ChatRequest) -> bool {
        let has = |message: &Message| message.content.iter().any(has_thinking);
        request.messages.iter().any(|message| has(message) && self.fields(message).is_empty())
    }

    /// The fields for an assistant message.
    pub(super) fn fields(self, message: &Message) -> Map<String, Value> {
        let own = message.content.iter().find_map(own);
        match (self, own) {
            (Self::Nothing, _) | (Self::Own, None) => Map::new(),
            (Self::Own | Self::All, Some(own)) => own.clone(),
            (Self::All, None) => {
                let texts = message.content.iter().filter_map(thought);
                let text = texts.collect::<Vec<_>>().join("\n");
                let field = ("reasoning_content".to_owned(), json!(text));
                if text.is_empty() { Map::new() } else { Map::from_iter([field]) }
            }
        }
    }
}

fn has_thinking(part: &Part) -> bool {
    thought(part).is_some() || own(part).is_some()
}

fn thought(part: &Part) -> Option<&str> {
    match part {
        Part::Reasoning { text, .. } if !text.is_empty() => Some(text),
        Part::Reasoning { .. }
        | Part::Text(_)
        | Part::Image(_)
        | Part::ToolCall(_)
        | Part::ToolResult(_)
        | Part::CacheMark(_)
        | Part::Document(_)
        | Part::Foreign(_) => None,
    }
}

/// The fields in which a client of this API sent the thinking.
fn own(part: &Part) -> Option<&Map<String, Value>> {
    match part {
        Part::Foreign(foreign) if foreign.api == Api::OpenAi && foreign.kind == REASONING => {
            foreign.value.as_object()
        }
        Part::Foreign(_)
        | Part::Reasoning { .. }
        | Part::Text(_)
        | Part::Image(_)
        | Part::ToolCall(_)
        | Part::ToolResult(_)
        | Part::CacheMark(_)
        | Part::Document(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::openai::OpenAi;
    use crate::backend::testing::{call, message, result, text, thought, user};
    use crate::backend::{Backend, Quirks, Target};
    use crate::chat::{Ask, Foreign, Role};

    fn encoded(request: &ChatRequest, model: &str, told: Option<bool>) -> (Value, Vec<String>) {
        let quirks = Quirks { reasoning_back: told, ..Quirks::default() };
        let target = Target { quirks, ..Target::new(model, None) };
        let call = OpenAi.encode(&Ask::Chat(request.clone()), target).unwrap();
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        (body["messages"][1].clone(), call.dropped)
    }

    fn with_call(mut parts: Vec<Part>) -> ChatRequest {
        let mut request = user("hi");
        parts.push(call(Some("abc"), "f", "{}"));
        request.messages.push(message(Role::Assistant, parts));
        request.messages.push(message(Role::Tool, vec![result(Some("abc"), "1")]));
        request
    }

    #[test]
    fn models_that_want_their_thinking_get_it_from_every_client() {
        let request = with_call(vec![thought("hm", Some("signed")), text("so")]);
        for (model, told, goes) in [
            ("deepseek-chat", None, true),
            ("moonshotai/Kimi-K2-Thinking", None, true),
            ("MiniMax-M2", None, true),
            ("qwen3", None, false),
            ("qwen3", Some(true), true),
            ("deepseek-chat", Some(false), false),
            ("gpt-5", None, false),
        ] {
            let (message, dropped) = encoded(&request, model, told);
            let expected = if goes { json!("hm") } else { Value::Null };
            assert_eq!(message["reasoning_content"], expected, "{model}");
            assert_eq!(dropped.contains(&"reasoning".to_owned()), !goes, "{model}");
        }
    }

    #[test]
    fn thinking_from_a_client_of_the_same_api_is_sent_as_it_came() {
        let details = json!([{"type": "reasoning.encrypted", "data": "x"}]);
        let value = json!({"reasoning": "hm", "reasoning_details": details});
        let own = Part::Foreign(Foreign {
            api: Api::OpenAi,
            kind: REASONING.into(),
            text: None,
            is_decisive: false,
            value,
        });
        let request = with_call(vec![thought("hm", None), own]);
        for (model, told, goes) in
            [("qwen3", None, true), ("qwen3", Some(false), false), ("gpt-5", None, false)]
        {
            let (message, dropped) = encoded(&request, model, told);
            let expected =
                if goes { (json!("hm"), details.clone()) } else { (Value::Null, Value::Null) };
            let told = (message["reasoning"].clone(), message["reasoning_details"].clone());
            assert_eq!(told, expected, "{model}");
            assert_eq!(message.get("reasoning_content"), None);
            assert_eq!(dropped.contains(&"reasoning".to_owned()), !goes, "{model}");
        }
    }
}
