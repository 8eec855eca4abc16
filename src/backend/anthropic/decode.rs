//! Reading the events of an answer, or a whole one, from Anthropic.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::refusal;
use super::thinking::REDACTED;
use crate::backend::DecodeError;
use crate::backend::calls::Calls;
use crate::backend::names::ToolNames;
use crate::backend::reason::finish;
use crate::backend::stream::{Reader, count, parse, text};
use crate::chat::{ChatEvent, ChatRequest, Completion, Finish, Usage};

/// The state of reading one answer.
pub(super) struct Messages {
    names: ToolNames,
    calls: Calls,
    /// Whether the block being read is a call; other blocks have JSON deltas too.
    in_call: bool,
    stop: Option<Stop>,
    counts: Counts,
    done: bool,
}

/// Why the answer stopped.
struct Stop {
    finish: Finish,
    sequence: Option<String>,
}

impl Messages {
    pub(super) fn new(request: &ChatRequest, seed: u64) -> Self {
        Self {
            names: ToolNames::new(request),
            calls: Calls::new(seed),
            in_call: false,
            stop: None,
            counts: Counts::default(),
            done: false,
        }
    }

    fn event(
        &mut self,
        kind: &str,
        event: Event,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        match kind {
            "message_start" => self.count(event.message.and_then(|message| message.usage)),
            "content_block_start" => {
                if let Some(block) = event.content_block {
                    self.begin(block, events);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = event.delta {
                    self.delta(delta, events);
                }
            }
            "content_block_stop" => self.end_block(events),
            "message_delta" => {
                self.count(event.usage);
                if let Some(delta) = event.delta {
                    self.stop(delta.stop_reason, delta.stop_sequence)?;
                }
            }
            "message_stop" => self.complete(events),
            // A whole answer to a streamed request; without a reason to stop it is none.
            "message" => {
                self.count(event.usage);
                for block in event.content.into_iter().flatten() {
                    self.begin(block, events);
                    self.end_block(events);
                }
                self.stop(event.stop_reason, event.stop_sequence)?;
                if self.stop.is_some() {
                    self.complete(events);
                }
            }
            // `ping`, and whatever is added later.
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, block: Block, events: &mut Vec<ChatEvent>) {
        match block.kind.as_str() {
            "text" => events.extend(block.text.map(ChatEvent::Text)),
            "thinking" => {
                events.extend(block.thinking.map(ChatEvent::Reasoning));
                events.extend(block.signature.map(ChatEvent::Signature));
            }
            "redacted_thinking" => {
                let marked = block.data.map(|data| format!("{REDACTED}{data}"));
                events.extend(marked.map(ChatEvent::Signature));
            }
            "tool_use" => {
                self.in_call = true;
                let name = self.names.inbound(block.name.unwrap_or_default());
                self.calls.begin(block.id, name, events);
                // Streams begin with an empty object and add the text of the real one.
                let input = block.input.map(|raw| raw.get().to_owned());
                let input = input.filter(|input| input != "{}" && input != "null");
                self.calls.add(input.unwrap_or_default(), events);
            }
            // The provider's own tools and their results.
            _ => {}
        }
    }

    fn delta(&mut self, delta: Delta, events: &mut Vec<ChatEvent>) {
        match delta.kind.as_str() {
            "text_delta" => events.extend(delta.text.map(ChatEvent::Text)),
            "thinking_delta" => events.extend(delta.thinking.map(ChatEvent::Reasoning)),
            "signature_delta" => events.extend(delta.signature.map(ChatEvent::Signature)),
            "input_json_delta" if self.in_call => {
                self.calls.add(delta.partial_json.unwrap_or_default(), events);
            }
            _ => {}
        }
    }

    fn end_block(&mut self, events: &mut Vec<ChatEvent>) {
        self.in_call = false;
        self.calls.end(events);
    }

    fn count(&mut self, counts: Option<Counts>) {
        if let Some(counts) = counts {
            self.counts.update(counts);
        }
    }

    fn stop(
        &mut self,
        reason: Option<String>,
        sequence: Option<String>,
    ) -> Result<(), DecodeError> {
        let finish = reason.map(|reason| finish(&reason, None)).transpose()?.flatten();
        if let Some(finish) = finish {
            self.stop = Some(Stop { finish, sequence });
        }
        Ok(())
    }

    fn complete(&mut self, events: &mut Vec<ChatEvent>) {
        self.end_block(events);
        // The end is told by the event; some imitators leave the reason out.
        let (finish, stop_sequence) = match self.stop.take() {
            Some(Stop { finish, sequence }) => (finish, sequence),
            None => (Finish::Stop, None),
        };
        let finish = match finish {
            Finish::Stop | Finish::ToolCalls if self.calls.any() => Finish::ToolCalls,
            Finish::ToolCalls => Finish::Stop,
            finish => finish,
        };
        self.done = true;
        let usage = self.counts.usage();
        events.push(ChatEvent::Done(Completion { finish, stop_sequence, usage }));
    }
}

impl Reader for Messages {
    fn piece(
        &mut self,
        name: &[u8],
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        if matches!(data.trim_ascii(), b"" | b"[DONE]") {
            return Ok(());
        }
        let mut event: Event = parse(data)?;
        if let Some(error) = &event.error {
            return Err(DecodeError::Reported(refusal::in_band(error)));
        }
        let kind = match std::mem::take(&mut event.kind) {
            kind if kind.is_empty() => String::from_utf8_lossy(name).into_owned(),
            kind => kind,
        };
        self.event(&kind, event, events)
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn end(&mut self, _events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        Err(DecodeError::Cut)
    }
}

/// One event, or a whole answer.
#[derive(Deserialize)]
struct Event {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    message: Option<Start>,
    #[serde(default)]
    content_block: Option<Block>,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    content: Option<Vec<Block>>,
    #[serde(default, deserialize_with = "text")]
    stop_reason: Option<String>,
    #[serde(default, deserialize_with = "text")]
    stop_sequence: Option<String>,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "text")]
    text: Option<String>,
    #[serde(default, deserialize_with = "text")]
    thinking: Option<String>,
    #[serde(default, deserialize_with = "text")]
    signature: Option<String>,
    #[serde(default, deserialize_with = "text")]
    data: Option<String>,
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    name: Option<String>,
    #[serde(default)]
    input: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "text")]
    text: Option<String>,
    #[serde(default, deserialize_with = "text")]
    thinking: Option<String>,
    #[serde(default, deserialize_with = "text")]
    signature: Option<String>,
    #[serde(default, deserialize_with = "text")]
    partial_json: Option<String>,
    #[serde(default, deserialize_with = "text")]
    stop_reason: Option<String>,
    #[serde(default, deserialize_with = "text")]
    stop_sequence: Option<String>,
}

/// Counts, told in pieces: the start knows the prompt, the end the answer, both cumulative.
#[derive(Deserialize, Default)]
struct Counts {
    #[serde(default, deserialize_with = "count")]
    input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_read_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    output_tokens: Option<u64>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct OutputDetails {
    #[serde(default, deserialize_with = "count")]
    thinking_tokens: Option<u64>,
}

impl Counts {
    fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_read_input_tokens =
            later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.cache_creation_input_tokens =
            later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.output_tokens_details =
            later.output_tokens_details.or(self.output_tokens_details.take());
    }

    fn usage(&self) -> Usage {
        let read = self.cache_read_input_tokens;
        let written = self.cache_creation_input_tokens;
        let cached = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
        Usage {
            // What came from the cache and what went to it is not among the input tokens.
            prompt: self.input_tokens.map(|tokens| tokens.saturating_add(cached)),
            completion: self.output_tokens,
            cached: read,
            cache_written: written,
            reasoning: self.output_tokens_details.as_ref().and_then(|told| told.thinking_tokens),
        }
    }
}
