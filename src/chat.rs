//! The canonical model: requests, answers and errors.
//!
//! Every dialect decodes into these types and every backend encodes from them, so that N dialects
//! and M backends need N + M translations. The module is pure: values only, no clock, no log, no
//! network.
//!
//! The one thing to know: an absent count or setting is `None`, never zero. A setting that the
//! client did not send is left to the provider, and a count that the provider did not send is not
//! invented.

mod ask;
mod carry;
mod chain;
mod error;
pub mod estimate;
mod event;
mod facts;
mod model;
mod part;
mod paths;
mod raw;
mod reason;
mod reasoning_field;
mod request;
mod shape;
mod waiting;

pub use ask::{Ask, EmbedRequest, ShowRequest};
pub use carry::{ApiWord, Carried, Carry, Endpoint, is_list};
pub use chain::{BILLING, Beginning, Chain};
pub use error::{ErrorKind, FieldProblem, GatewayError, Origin};
pub use event::{
    ChatEvent, Completion, Durations, Finish, TokenLogprob, ToolCallPiece, Usage, Whole, later_of,
};
pub use facts::{Ability, Facts};
pub use model::{Listing, LoadBy, Memory, Model, Naming, Offer, untagged};
pub use paths::{CleanPath, PathPattern};
pub use raw::{Lane, Method, ModelAt, RawHead, RawRequest};
pub use reason::{EdgeReason, Reason, RefusalReason};
pub use reasoning_field::ReasoningField;
pub use request::{
    Api, ChatRequest, Document, DocumentSource, Effort, Extra, Foreign, Format, HostedTool, Image,
    ImageSource, Message, Part, Role, Sampling, Tool, ToolCall, ToolChoice, ToolResult,
};
pub use shape::{AnswerShape, CallForm, CallKind};
pub use waiting::{AwaitedLoad, LoadStage, Waiting};
