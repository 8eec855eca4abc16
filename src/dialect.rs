//! What clients speak.
//!
//! A [`Dialect`] is one client-facing way to ask for a chat: it turns a body into a [`ChatRequest`], the events of
//! an answer into bytes, and an error into its own envelope. It is pure and knows neither HTTP nor providers.
//!
//! To add one, write a file here and add its line to [`DIALECTS`]; it names its own paths.

mod native;
mod openai;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::chat::{ChatEvent, ChatRequest, GatewayError, Waiting};

pub use native::Native;
pub use openai::{OpenAiChat, OpenAiCompletions, OpenAiResponses};

/// Every dialect, in the order in which paths are matched.
pub const DIALECTS: &[&dyn Dialect] = &[&Native, &OpenAiChat, &OpenAiCompletions, &OpenAiResponses];

/// One client-facing way to ask for a chat.
pub trait Dialect: Sync {
    /// The name in metrics and logs: one of a closed set.
    fn name(&self) -> &'static str;

    /// The paths that are answered, all by POST.
    fn paths(&self) -> &'static [&'static str];

    /// Whether a body is read as JSON whatever its content type says.
    fn ignores_content_type(&self) -> bool {
        false
    }

    /// Reads a request body.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` or `SchemaMismatch`, naming what would be right.
    fn decode(&self, body: &[u8]) -> Result<ChatRequest, GatewayError>;

    /// Begins to write one answer, streamed or whole as `request` asks.
    fn encoder(&self, request: &ChatRequest, head: AnswerHead) -> Box<dyn Encoder>;

    /// Writes an error that comes instead of an answer.
    fn error(&self, error: &GatewayError, request_id: &str) -> ErrorBody;
}

/// What is known of an answer before its first event.
#[derive(Debug, Clone)]
pub struct AnswerHead {
    /// A random id of the answer.
    pub id: Uuid,
    /// When the answer began.
    pub created: SystemTime,
    /// The provider that answers.
    pub provider: Arc<str>,
    /// The model that runs there.
    pub model: Arc<str>,
}

/// The state of writing one answer.
pub trait Encoder: Send {
    /// The answer's content type.
    fn content_type(&self) -> &'static str;

    /// Appends what the client is to read of `event`, which came `at` after the request's arrival. The encoder of
    /// a whole answer appends nothing before [`ChatEvent::Done`].
    fn event(&mut self, event: ChatEvent, at: Duration, out: &mut Vec<u8>);

    /// Appends what tells a client that a stream failed midway. Nothing follows it.
    fn failure(&mut self, error: &GatewayError, out: &mut Vec<u8>);

    /// Appends a sign of life that changes nothing, saying how many wait ahead and for how long, where the
    /// dialect allows one. Returns whether it does.
    fn heartbeat(&mut self, waiting: Option<Waiting>, out: &mut Vec<u8>) -> bool;
}

/// An error as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    /// The HTTP status.
    pub status: u16,
    /// A JSON document.
    pub body: Vec<u8>,
}

/// A server-sent comment that says where a waiting request stands.
fn comment(waiting: Option<Waiting>, out: &mut Vec<u8>) {
    let text = match waiting {
        None => ": keep-alive\n\n".to_owned(),
        Some(Waiting { ahead, expected }) => {
            let seconds = expected.as_secs_f64().ceil();
            format!(": waiting, {ahead} ahead, about {seconds} s\n\n")
        }
    };
    out.extend_from_slice(text.as_bytes());
}
