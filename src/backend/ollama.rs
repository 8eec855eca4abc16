//! Ollama's native `/api/chat`, streamed as newline-delimited JSON.
//!
//! It owns the shapes of Ollama's requests, lines and errors. It refuses by name what Ollama has no word for and
//! what would change the result: several answers, images at addresses, arguments that are no object.
//!
//! The one thing to know: an answer is streamed upstream even when the client wants it whole, because headers
//! come only with the first token, and that is how a model that loads is told from a model that hangs. A line
//! with `error` may follow a status of 200, and a stream may end without `done`; neither is a success.

mod beside;
mod encode;
mod fill;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Backend, DecodeError, Decoder, MAX_PIECE, Rejection, RejectionClass, Target, UpstreamRequest,
    blame,
    calls::mint,
    class_of_status, lacking, reason, shorten,
    whole::{nothing, whole},
};
use crate::chat::{
    Api, Ask, ChatEvent, ChatRequest, Completion, Finish, GatewayError, Listing, Model, Naming,
    TokenLogprob, ToolCallPiece, Usage,
};
use crate::policy::Trust;
use crate::wire::ndjson::Lines;

/// Ollama's native API.
#[derive(Debug)]
pub struct Ollama;

impl Backend for Ollama {
    fn api(&self) -> Api {
        Api::Ollama
    }

    fn naming(&self) -> Naming {
        Naming::Tagged
    }

    fn lacks(&self, ask: &Ask) -> Option<&'static str> {
        match ask {
            Ask::Chat(_) | Ask::Embed(_) | Ask::Show(_) => None,
            Ask::CountTokens(_) => Some("count of tokens"),
        }
    }

    fn encode(&self, ask: &Ask, target: Target<'_>) -> Result<UpstreamRequest, GatewayError> {
        let Target { model, api_key, .. } = target;
        match ask {
            Ask::Chat(request) => encode::chat(request, target),
            Ask::Embed(request) => Ok(beside::embed(request, model, api_key)),
            Ask::Show(request) => Ok(beside::show(request, model, api_key)),
            Ask::CountTokens(_) => Err(lacking(self.lacks(ask))),
        }
    }

    /// A chat's template leaves a last assistant message open. A model that is told to think does so first.
    fn goes_on(&self, request: &ChatRequest, _model: &str) -> bool {
        request.effort.is_none()
    }

    fn decoder(&self, ask: &Ask, seed: u64) -> Box<dyn Decoder> {
        match ask {
            Ask::Chat(_) => {
                Box::new(ChatDecoder { lines: Lines::new(MAX_PIECE), calls: 0, seed, done: false })
            }
            Ask::Embed(request) => whole(beside::embeddings, request.input.len()),
            Ask::Show(_) => whole(beside::description, 0),
            Ask::CountTokens(_) => nothing(),
        }
    }

    fn listing(&self, listing: Listing, api_key: Option<&str>) -> Option<UpstreamRequest> {
        Some(beside::listing(listing, api_key))
    }

    fn read_listing(&self, _listing: Listing, body: &[u8]) -> Result<Vec<Model>, DecodeError> {
        beside::models(body)
    }

    fn rejection(&self, status: u16, body: &[u8], model: &str) -> Rejection {
        let said = serde_json::from_slice::<ErrorLine>(body).unwrap_or_default();
        // Whoever is asked to sign in asked for a model that runs elsewhere, whatever it is called here.
        if status == 401 && (said.signin_url.is_some() || is_remote(model)) {
            return signed_out(&said.error, model);
        }
        rejection(status, said.error, model)
    }

    fn unreachable_hint(&self) -> &'static str {
        "is Ollama running? start it with `ollama serve`"
    }
}

fn rejection(status: u16, said: String, model: &str) -> Rejection {
    let class = match class_of_status(status) {
        RejectionClass::BadRequest if said.contains("longer than the context length") => {
            RejectionClass::ContextTooLong
        }
        // Cancelled while loading; somebody else's leaving may have caused it.
        RejectionClass::BadRequest if status == 499 => RejectionClass::Broken,
        class => blame::refine(class, &said.to_ascii_lowercase()),
    };
    let said = shorten(&said);
    let message = match (class == RejectionClass::UnknownModel, said.is_empty()) {
        (true, true) => {
            format!("model '{model}' not found; install it with `ollama pull {model}`")
        }
        (true, false) => format!("{said}; install it with `ollama pull {model}`"),
        (false, true) => format!("status {status}"),
        (false, false) => said,
    };
    Rejection { class, message, retry_after: None }
}

/// Whether Ollama hands the model on to its makers' machines.
fn is_remote(model: &str) -> bool {
    Trust::Local.of_model(model) == Trust::Cloud
}

/// The account elsewhere is missing: that concerns the models that run there, and no other.
fn signed_out(said: &str, model: &str) -> Rejection {
    let said = if said.is_empty() { "unauthorized" } else { said };
    let message = format!(
        "{}: model '{model}' runs at ollama.com; sign in there with `ollama signin`",
        shorten(said)
    );
    Rejection { class: RejectionClass::UnknownModel, message, retry_after: None }
}

/// Reads the lines of one answer.
struct ChatDecoder {
    lines: Lines,
    /// Tool calls seen so far, which numbers them.
    calls: u32,
    seed: u64,
    done: bool,
}

impl Decoder for ChatDecoder {
    fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let Self { lines, calls, seed, done } = self;
        lines.feed(bytes, |line| read_line(line, calls, *seed, done, events))
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let rest = self.lines.take_rest();
        if !rest.iter().all(u8::is_ascii_whitespace) {
            // A last line without its end is whole when it parses, as a unary answer is.
            match read_line(&rest, &mut self.calls, self.seed, &mut self.done, events) {
                Ok(()) => {}
                Err(DecodeError::Malformed(_)) if !self.done => return Err(DecodeError::Cut),
                Err(error) => return Err(error),
            }
        }
        if self.done { Ok(()) } else { Err(DecodeError::Cut) }
    }
}

fn read_line(
    line: &[u8],
    calls: &mut u32,
    seed: u64,
    done: &mut bool,
    events: &mut Vec<ChatEvent>,
) -> Result<(), DecodeError> {
    if *done {
        return Ok(());
    }
    let line: Line = serde_json::from_slice(line)?;
    if let Some(error) = line.error {
        return Err(DecodeError::Reported(rejection(500, error, "")));
    }
    let message = match (line.message, line.response) {
        (Some(message), _) => message,
        (None, Some(content)) => {
            LineMessage { content, thinking: line.thinking, tool_calls: Vec::new() }
        }
        (None, None) => {
            return Err(DecodeError::Malformed("a line without `message`".to_owned()));
        }
    };
    if !message.thinking.is_empty() {
        events.push(ChatEvent::Reasoning(message.thinking));
    }
    if !message.content.is_empty() {
        events.push(ChatEvent::Text(message.content));
    }
    if !line.logprobs.is_empty() {
        events
            .push(ChatEvent::Logprobs(line.logprobs.into_iter().map(TokenLogprob::from).collect()));
    }
    for call in message.tool_calls {
        let index = *calls;
        *calls = calls.saturating_add(1);
        events.push(ChatEvent::ToolCall(ToolCallPiece {
            index,
            id: Some(call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| mint(seed, index))),
            name: Some(call.function.name),
            arguments: call
                .function
                .arguments
                .map_or_else(|| "{}".to_owned(), |raw| raw.get().to_owned()),
        }));
    }
    if line.done {
        let finish = match line.done_reason.as_deref() {
            Some("load") => Finish::Load,
            Some("unload") => Finish::Unload,
            reason => match reason::finish(reason.unwrap_or_default(), None)? {
                // Some leave the reason out: the line says that it is the last.
                None | Some(Finish::Stop | Finish::ToolCalls) if *calls > 0 => Finish::ToolCalls,
                None | Some(Finish::ToolCalls) => Finish::Stop,
                // The arguments of a call may be cut by the limit, so the limit is what counts.
                Some(finish) => finish,
            },
        };
        *done = true;
        let usage = Usage {
            prompt: line.prompt_eval_count,
            completion: line.eval_count,
            ..Usage::default()
        };
        events.push(ChatEvent::Done(Completion { finish, stop_sequence: None, usage }));
    }
    Ok(())
}

/// One line of an answer. Unknown fields are Ollama's to add.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    message: Option<LineMessage>,
    /// Instead of `message` where a gap was to be filled, `thinking` likewise.
    #[serde(default)]
    response: Option<String>,
    #[serde(default)]
    thinking: String,
    #[serde(default)]
    done: bool,
    #[serde(default)]
    done_reason: Option<String>,
    #[serde(default)]
    prompt_eval_count: Option<u64>,
    #[serde(default)]
    eval_count: Option<u64>,
    #[serde(default)]
    logprobs: Vec<LineLogprob>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct LineMessage {
    #[serde(default)]
    content: String,
    #[serde(default)]
    thinking: String,
    #[serde(default)]
    tool_calls: Vec<LineCall>,
}

#[derive(Deserialize)]
struct LineCall {
    #[serde(default)]
    id: Option<String>,
    function: LineFunction,
}

#[derive(Deserialize)]
struct LineFunction {
    name: String,
    #[serde(default)]
    arguments: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct LineLogprob {
    token: String,
    logprob: f64,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    #[serde(default)]
    top_logprobs: Vec<LineLogprob>,
}

impl From<LineLogprob> for TokenLogprob {
    fn from(line: LineLogprob) -> Self {
        Self {
            token: line.token,
            logprob: line.logprob,
            bytes: line.bytes,
            top: line.top_logprobs.into_iter().map(Self::from).collect(),
        }
    }
}

#[derive(Default, Deserialize)]
struct ErrorLine {
    error: String,
    #[serde(default)]
    signin_url: Option<String>,
}

#[cfg(test)]
mod tests;
