//! What the client's dialect needs again to write the answer.
//!
//! It is no part of what is asked: no backend reads it, and two requests that differ in it only are the same.

use serde_json::{Map, Value};

use super::ReasoningField;

/// How the client's dialect is to write the answer, beyond what is asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnswerShape {
    /// Whether a stream ends with the token counts: OpenAI's `stream_options.include_usage`.
    pub stream_usage: bool,
    /// Whether calls are written as before there were tools: OpenAI's `function_call`, one call at most.
    pub old_functions: bool,
    /// Request fields that the answer repeats, in the client's own form.
    pub echo: Map<String, Value>,
    /// Under which names a chat client of OpenAI's kind reads what the model thought.
    pub reasoning: ReasoningField,
    /// The tools whose calls are not written as those of a plain function, by the name that the model knows.
    pub forms: Vec<(String, CallForm)>,
    /// What was asked, in the client's own form, where the answer is to be remembered.
    pub input: Option<Vec<Value>>,
    /// Whether the proofs of thinking go out with it, to come back: OpenAI's `include: ["reasoning.encrypted_content"]`.
    pub with_proofs: bool,
    /// Whether the client reads what the model thought: Gemini's `includeThoughts`.
    pub shows_thoughts: bool,
    /// Whether a stream is a JSON list and no server-sent events: Gemini's without `alt=sse`.
    pub is_list: bool,
}

/// How a client knows a tool, where that is not as a plain function of the name that the model knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallForm {
    /// The client's name for it.
    pub name: String,
    /// The group that it belongs to.
    pub namespace: Option<String>,
    /// What its calls are.
    pub kind: CallKind,
}

/// What the calls of a tool are to a client; to the model all are calls of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Arguments in JSON.
    Function,
    /// A text.
    FreeText,
    /// A command for the client's own shell.
    LocalShell,
}
