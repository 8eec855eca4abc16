//! Reading the chunks of an answer, or a whole one, from OpenAI and its imitators.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::fill::Lists;
use super::refusal;
use crate::backend::DecodeError;
use crate::backend::calls::Calls;
use crate::backend::names::ToolNames;
use crate::backend::reason::finish;
use crate::backend::stream::{Reader, count, parse, text};
use crate::chat::{ChatEvent, ChatRequest, Completion, Finish, TokenLogprob, Usage};

/// The state of reading one answer.
pub(super) struct Chunks {
    names: ToolNames,
    calls: Calls,
    /// What tells the call being written from the next one.
    current: Option<Current>,
    /// The reason the answer ended, once known.
    finish: Option<Finish>,
    usage: Usage,
    done: bool,
}

/// The call being written.
struct Current {
    index: Option<u64>,
    id: Option<String>,
    /// Arguments that came before the name, which begins a call.
    held: Option<String>,
}

impl Chunks {
    pub(super) fn new(request: &ChatRequest, seed: u64) -> Self {
        Self {
            names: ToolNames::new(request),
            calls: Calls::new(seed),
            current: None,
            finish: None,
            usage: Usage::default(),
            done: false,
        }
    }

    fn choice(&mut self, choice: Choice, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        // Whole answers say `message`, pieces `delta`.
        if let Some(delta) = choice.delta.or(choice.message) {
            self.delta(delta, events)?;
        }
        events.extend(choice.text.map(ChatEvent::Text));
        let tokens = match choice.logprobs {
            Some(Logprobs::Entries { content: Some(tokens) }) => {
                tokens.into_iter().map(TokenLogprob::from).collect()
            }
            Some(Logprobs::Lists(lists)) => lists.into_tokens(),
            Some(Logprobs::Entries { content: None }) | None => Vec::new(),
        };
        if !tokens.is_empty() {
            events.push(ChatEvent::Logprobs(tokens));
        }
        if let Some(reason) = choice.finish_reason {
            self.finish = finish(&reason, None)?.or(self.finish);
        }
        Ok(())
    }

    fn delta(&mut self, delta: Delta, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        // A refusal is text to whoever reads it, and the canonical model has no other place for it.
        let reasoning = delta.reasoning_content.or(delta.reasoning);
        events.extend(reasoning.map(ChatEvent::Reasoning));
        events.extend([delta.content, delta.refusal].into_iter().flatten().map(ChatEvent::Text));
        for fragment in delta.tool_calls.into_iter().flatten() {
            self.fragment(fragment, events)?;
        }
        Ok(())
    }

    /// Takes a fragment of a call. Index and id may miss, or be said again on every fragment.
    fn fragment(
        &mut self,
        fragment: Fragment,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        let function = fragment.function.unwrap_or_default();
        let arguments = function.arguments.unwrap_or_default();
        let continues = self.current.as_ref().is_some_and(|current| {
            let same_index = match (fragment.index, current.index) {
                (Some(new), Some(old)) => Some(new == old),
                _ => None,
            };
            let same_id = match (&fragment.id, &current.id) {
                (Some(new), Some(old)) => Some(new == old),
                _ => None,
            };
            match (same_index, same_id) {
                // Some give whole calls that all have index 0.
                (Some(true), Some(false)) => function.name.is_none(),
                (Some(same), _) | (None, Some(same)) => same,
                (None, None) => function.name.is_none() || current.held.is_some(),
            }
        });
        if !continues {
            if self.is_earlier(fragment.index) {
                return Err(DecodeError::Malformed("tool calls interleave".to_owned()));
            }
            self.close(events)?;
            self.current =
                Some(Current { index: fragment.index, id: None, held: Some(String::new()) });
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.id.is_none() {
            current.id = fragment.id;
        }
        if let (Some(held), Some(name)) = (&mut current.held, function.name) {
            let held = std::mem::take(held);
            current.held = None;
            self.calls.begin(current.id.clone(), self.names.inbound(name), events);
            self.calls.add(held, events);
        }
        match &mut current.held {
            Some(held) => held.push_str(&arguments),
            None => self.calls.add(arguments, events),
        }
        Ok(())
    }

    /// Whether `index` belongs to a call that is complete already.
    fn is_earlier(&self, index: Option<u64>) -> bool {
        let current = self.current.as_ref().and_then(|current| current.index);
        matches!((index, current), (Some(index), Some(current)) if index < current)
    }

    fn close(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        if self.current.take().is_some_and(|current| current.held.is_some()) {
            return Err(DecodeError::Malformed("a tool call without a name".to_owned()));
        }
        self.calls.end(events);
        Ok(())
    }
}

impl Reader for Chunks {
    fn piece(
        &mut self,
        _name: &[u8],
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        match data.trim_ascii() {
            b"" => return Ok(()),
            b"[DONE]" => return self.end(events),
            _ => {}
        }
        let chunk: Chunk = parse(data)?;
        // Only what holds no answer is looked at a second time.
        if (chunk.error.is_some() || chunk.choices.is_none())
            && let Some(rejection) = refusal::in_band(&parse(data)?)
        {
            return Err(DecodeError::Reported(rejection));
        }
        // Cumulative where it comes more than once.
        if let Some(usage) = chunk.usage {
            self.usage = Usage::from(usage);
        }
        // One answer is asked for; servers that give more are not listened to.
        let choices = chunk.choices.into_iter().flatten();
        for choice in choices.filter(|choice| choice.index.unwrap_or(0) == 0) {
            self.choice(choice, events)?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        let Some(finish) = self.finish else { return Err(DecodeError::Cut) };
        self.close(events)?;
        let finish = match finish {
            // Some say `stop` though they call, some `tool_calls` though they do not.
            Finish::Stop | Finish::ToolCalls if self.calls.any() => Finish::ToolCalls,
            Finish::ToolCalls => Finish::Stop,
            finish => finish,
        };
        self.done = true;
        events.push(ChatEvent::Done(Completion { finish, stop_sequence: None, usage: self.usage }));
        Ok(())
    }
}

/// One chunk, or a whole answer. Every field may miss or be `null`.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    error: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, deserialize_with = "count")]
    index: Option<u64>,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    message: Option<Delta>,
    /// Instead of both where a gap was to be filled.
    #[serde(default, deserialize_with = "text")]
    text: Option<String>,
    #[serde(default)]
    logprobs: Option<Logprobs>,
    #[serde(default, deserialize_with = "text")]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default, deserialize_with = "content")]
    content: Option<String>,
    #[serde(default, deserialize_with = "text")]
    refusal: Option<String>,
    #[serde(default, deserialize_with = "text")]
    reasoning_content: Option<String>,
    #[serde(default, deserialize_with = "text")]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Fragment>>,
}

#[derive(Deserialize)]
struct Fragment {
    #[serde(default, deserialize_with = "count")]
    index: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default)]
    function: Option<Function>,
}

#[derive(Deserialize, Default)]
struct Function {
    #[serde(default, deserialize_with = "text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "arguments")]
    arguments: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Logprobs {
    Lists(Lists),
    Entries {
        #[serde(default)]
        content: Option<Vec<Token>>,
    },
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    logprob: f64,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    #[serde(default)]
    top_logprobs: Option<Vec<Token>>,
}

impl From<Token> for TokenLogprob {
    fn from(token: Token) -> Self {
        Self {
            token: token.token,
            logprob: token.logprob,
            bytes: token.bytes,
            top: token.top_logprobs.into_iter().flatten().map(Self::from).collect(),
        }
    }
}

#[derive(Deserialize)]
struct Counts {
    #[serde(default, deserialize_with = "count")]
    prompt_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default, deserialize_with = "count")]
    cached_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_write_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    #[serde(default, deserialize_with = "count")]
    reasoning_tokens: Option<u64>,
}

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        let prompt = counts.prompt_tokens_details;
        Self {
            prompt: counts.prompt_tokens,
            completion: counts.completion_tokens,
            cached: prompt.as_ref().and_then(|details| details.cached_tokens),
            cache_written: prompt.and_then(|details| details.cache_write_tokens),
            reasoning: counts
                .completion_tokens_details
                .and_then(|details| details.reasoning_tokens),
        }
    }
}

/// Content is a string, or a list of parts at a few imitators.
fn content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let content = match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    };
    Ok(Some(content).filter(|content| !content.is_empty()))
}

/// Arguments are a string of JSON, or the JSON itself at some imitators.
fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    })
}
