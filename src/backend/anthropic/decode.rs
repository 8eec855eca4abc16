//! Reads the events of an answer, or a whole answer, from Anthropic and from servers that imitate
//! it.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::errors;
use crate::backend::DecodeError;
use crate::backend::calls::{Calls, Fragment};
use crate::backend::document::parse;
use crate::backend::finish_reason::finish;
use crate::backend::lenient::{arguments, count, optional, text};
use crate::backend::stream::Reader;
use crate::backend::tool_names::ToolNames;
use crate::chat::{ChatEvent, ChatRequest, Completion, Finish, Usage, later_of};
use crate::wire::signature::REDACTED;

/// The state of reading one answer.
pub(super) struct Messages {
    names: ToolNames,
    calls: Calls,
    /// The block that began last, and whether it is a tool call; other blocks have JSON deltas too.
    block: Option<(Option<u64>, bool)>,
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
            block: None,
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
                    self.begin(event.index, block, events)?;
                }
            }
            "content_block_delta" => {
                if let Some(delta) = event.delta {
                    self.delta(event.index, delta, events)?;
                }
            }
            "content_block_stop" => self.end_block(event.index, events)?,
            "message_delta" => {
                self.count(event.usage);
                if let Some(delta) = event.delta {
                    self.stop(delta.stop_reason, delta.stop_sequence)?;
                }
            }
            "message_stop" => self.complete(events)?,
            // A whole answer to a streamed request; it is cut if it has no stop reason.
            "message" => {
                self.count(event.usage);
                for block in blocks(event.content.as_deref())? {
                    self.begin(None, block, events)?;
                    self.end_block(None, events)?;
                }
                self.stop(event.stop_reason, event.stop_sequence)?;
                if self.stop.is_some() {
                    self.complete(events)?;
                }
            }
            // `ping`, and events that are added later.
            _ => {}
        }
        Ok(())
    }

    fn begin(
        &mut self,
        index: Option<u64>,
        block: Block,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        let is_call = block.kind.as_deref() == Some("tool_use");
        self.block = Some((index, is_call));
        match block.kind.as_deref() {
            Some("text") | None => events.extend(block.text.map(ChatEvent::Text)),
            Some("thinking") => {
                events.extend(block.thinking.map(ChatEvent::Reasoning));
                events.extend(block.signature.map(ChatEvent::Signature));
            }
            Some("redacted_thinking") => {
                let marked = block.data.map(|data| format!("{REDACTED}{data}"));
                events.extend(marked.map(ChatEvent::Signature));
            }
            Some("tool_use") => {
                let name = block.name.map(|name| self.names.inbound(name));
                // Streams begin with an empty object, some with the real one; it counts only if no
                // JSON deltas follow.
                let fallback = Some(block.input).filter(|input| !input.trim().is_empty());
                let call =
                    Fragment { index, id: block.id, name, arguments: String::new(), fallback };
                self.calls.open(call, events)?;
            }
            // The provider's own tools and their results.
            Some(_) => {}
        }
        Ok(())
    }

    fn delta(
        &mut self,
        index: Option<u64>,
        delta: Delta,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        events.extend(delta.text.map(ChatEvent::Text));
        events.extend(delta.thinking.map(ChatEvent::Reasoning));
        events.extend(delta.signature.map(ChatEvent::Signature));
        if let Some(arguments) = delta.partial_json
            && self.is_call(index)
        {
            let piece = Fragment { index, arguments, ..Fragment::default() };
            self.calls.take_piece(piece, true, events)?;
        }
        Ok(())
    }

    /// Whether a delta of this block belongs to a tool call.
    fn is_call(&self, index: Option<u64>) -> bool {
        match self.block {
            Some((current, is_call))
                if index.is_none() || current.is_none() || index == current =>
            {
                is_call
            }
            Some(_) | None => index.is_some() && self.calls.is_open(index),
        }
    }

    fn end_block(
        &mut self,
        index: Option<u64>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), DecodeError> {
        if self.is_call(index) { self.calls.close(index, events) } else { Ok(()) }
    }

    fn count(&mut self, counts: Option<Counts>) {
        if let Some(counts) = counts {
            self.counts.update(&counts);
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

    fn complete(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        self.calls.end(events)?;
        // The event marks the end; some imitators leave out the stop reason.
        let (finish, stop_sequence) = match self.stop.take() {
            Some(Stop { finish, sequence }) => (finish, sequence),
            None => (Finish::Stop, None),
        };
        let finish = self.calls.finish(finish);
        self.done = true;
        let usage = self.counts.usage();
        events.push(ChatEvent::Done(Completion { finish, stop_sequence, usage }));
        Ok(())
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
        let kind = event.kind.take();
        // Only an event that may be an error is parsed a second time.
        let is_odd = event.error.is_some() || kind.as_deref().is_none_or(|kind| kind == "error");
        if is_odd && let Some(error) = self.failure_in(&parse(data)?) {
            return Err(error);
        }
        let kind = kind.unwrap_or_else(|| String::from_utf8_lossy(name).into_owned());
        self.event(&kind, event, events)
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn failure_in(&self, body: &Value) -> Option<DecodeError> {
        errors::ERRORS.in_band(body).map(DecodeError::Reported)
    }

    fn end(&mut self, _events: &mut Vec<ChatEvent>) -> Result<(), DecodeError> {
        Err(DecodeError::Cut)
    }
}

/// One event, or a whole answer. Every field may be missing or `null`.
#[derive(Deserialize)]
struct Event {
    #[serde(default, rename = "type", deserialize_with = "text")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "count")]
    index: Option<u64>,
    #[serde(default, deserialize_with = "optional")]
    message: Option<Start>,
    #[serde(default)]
    content_block: Option<Block>,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default, deserialize_with = "optional")]
    usage: Option<Counts>,
    #[serde(default)]
    error: Option<Box<RawValue>>,
    #[serde(default)]
    content: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "text")]
    stop_reason: Option<String>,
    #[serde(default, deserialize_with = "text")]
    stop_sequence: Option<String>,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default, deserialize_with = "optional")]
    usage: Option<Counts>,
}

/// The content of a whole answer: blocks, or from some imitators one text.
fn blocks(content: Option<&RawValue>) -> Result<Vec<Block>, DecodeError> {
    match content.map(RawValue::get) {
        None => Ok(Vec::new()),
        Some(text) if text.starts_with('"') => {
            Ok(vec![Block { text: Some(parse(text.as_bytes())?), ..Block::default() }])
        }
        Some(list) => {
            let blocks: Vec<Option<Block>> = parse(list.as_bytes())?;
            Ok(blocks.into_iter().flatten().collect())
        }
    }
}

#[derive(Deserialize, Default)]
struct Block {
    #[serde(default, rename = "type", deserialize_with = "text")]
    kind: Option<String>,
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
    #[serde(default, deserialize_with = "arguments")]
    input: String,
}

/// The fields of every kind of delta; no two kinds have a field in common.
#[derive(Deserialize)]
struct Delta {
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

/// Token counts, which come in parts: the prompt's at the start, the answer's at the end, both
/// cumulative.
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
    #[serde(default, deserialize_with = "optional")]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct OutputDetails {
    #[serde(default, deserialize_with = "count")]
    thinking_tokens: Option<u64>,
}

impl Counts {
    fn update(&mut self, later: &Self) {
        for (count, later) in [
            (&mut self.input_tokens, later.input_tokens),
            (&mut self.cache_read_input_tokens, later.cache_read_input_tokens),
            (&mut self.cache_creation_input_tokens, later.cache_creation_input_tokens),
            (&mut self.output_tokens, later.output_tokens),
        ] {
            *count = later_of(*count, later);
        }
        let thinking_tokens = later_of(self.thinking_tokens(), later.thinking_tokens());
        self.output_tokens_details = Some(OutputDetails { thinking_tokens });
    }

    fn thinking_tokens(&self) -> Option<u64> {
        self.output_tokens_details.as_ref().and_then(|told| told.thinking_tokens)
    }

    fn usage(&self) -> Usage {
        let read = self.cache_read_input_tokens;
        let written = self.cache_creation_input_tokens;
        let cached = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
        Usage {
            // The input tokens do not include those read from the cache or written to it.
            prompt: self.input_tokens.map(|tokens| tokens.saturating_add(cached)),
            completion: self.output_tokens,
            cached: read,
            cache_written: written,
            reasoning: self.thinking_tokens(),
            durations: None,
        }
    }
}
