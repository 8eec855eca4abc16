//! Writing an answer as one JSON document at its end.
//!
//! The one thing to know: a whole answer that fails is replaced by the error, so nothing is written
//! about the failure here.

use std::time::Duration;

use super::Encoder;
use crate::chat::{ChatEvent, Completion, GatewayError, Usage, Whole};

/// Collects one answer, and writes it when it is complete.
pub(super) trait Collector: Send {
    /// Takes an event before the last.
    fn add(&mut self, event: ChatEvent);

    /// Appends the complete answer.
    fn write(&mut self, completion: &Completion, out: &mut Vec<u8>);
}

/// Writes a collected answer as one document.
pub(super) struct AtEnd<C>(pub(super) C);

impl<C: Collector> Encoder for AtEnd<C> {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn event(
        &mut self,
        event: ChatEvent,
        _at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        match event.done() {
            Some(completion) => self.0.write(completion, out),
            None => self.0.add(event),
        }
        Ok(())
    }

    fn failure(&mut self, _error: &GatewayError, _out: &mut Vec<u8>) {}
}

/// Writes the result of a request that is not a chat. `body` gets the result, its token counts and
/// the time it took, and returns `None` for a result of another kind, which is a defect.
pub(super) fn single(
    body: impl Fn(Whole, &Usage, Duration) -> Option<Vec<u8>> + Send + 'static,
) -> Box<dyn Encoder> {
    Box::new(Single { result: None, body })
}

/// The encoder for a request that another dialect read, which is a defect: it writes nothing and
/// fails.
pub(super) fn misdirected() -> Box<dyn Encoder> {
    single(|_, _, _| None)
}

struct Single<F> {
    result: Option<Whole>,
    body: F,
}

impl<F> Encoder for Single<F>
where
    F: Fn(Whole, &Usage, Duration) -> Option<Vec<u8>> + Send,
{
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn event(
        &mut self,
        event: ChatEvent,
        at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        match event {
            ChatEvent::Whole(result) => self.result = Some(result),
            ChatEvent::Done(completion) => {
                let result = self.result.take();
                let body = result.and_then(|result| (self.body)(result, &completion.usage, at));
                let body =
                    body.ok_or_else(|| GatewayError::internal("not the result asked for"))?;
                out.extend_from_slice(&body);
            }
            ChatEvent::Text(_)
            | ChatEvent::Reasoning(_)
            | ChatEvent::Signature(_)
            | ChatEvent::ToolCall(_)
            | ChatEvent::Logprobs(_)
            | ChatEvent::Carried(_) => {}
        }
        Ok(())
    }

    fn failure(&mut self, _error: &GatewayError, _out: &mut Vec<u8>) {}
}
