//! Writing an answer that is one document: the result of a request that is no chat.

use std::time::Duration;

use super::Encoder;
use crate::chat::{ChatEvent, GatewayError, Usage, Whole};

/// Writes `body` of the result, its token counts and the time it took. `body` gives `None` for a result that is not
/// the one that was asked for, which is a defect.
pub(super) fn single(
    body: impl Fn(Whole, &Usage, Duration) -> Option<Vec<u8>> + Send + 'static,
) -> Box<dyn Encoder> {
    Box::new(Single { result: None, body: Box::new(body) })
}

/// The encoder for a request that another dialect read, which is a defect: it writes nothing and fails.
pub(super) fn misdirected() -> Box<dyn Encoder> {
    single(|_, _, _| None)
}

/// The document's text, when the result is the right one.
type Body = Box<dyn Fn(Whole, &Usage, Duration) -> Option<Vec<u8>> + Send>;

struct Single {
    result: Option<Whole>,
    body: Body,
}

impl Encoder for Single {
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
