//! What the client's dialect needs to write the answer.
//!
//! It is not part of the question: no backend reads it, and requests that differ only in it are
//! identical.

use serde_json::{Map, Value};

use super::ReasoningField;

/// How the client's dialect writes the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnswerShape {
    /// Whether a stream ends with the token counts: OpenAI's `stream_options.include_usage`.
    pub stream_usage: bool,
    /// Whether calls are written in the form before tools: OpenAI's `function_call`, one call at
    /// most.
    pub old_functions: bool,
    /// Request fields that the answer repeats, in the client's own form.
    pub echo: Map<String, Value>,
    /// The names of the fields in which a chat client of OpenAI's kind reads the model's reasoning.
    pub reasoning: ReasoningField,
    /// The tools whose calls are not written as those of a plain function, by the name that the
    /// model knows.
    pub forms: Vec<(String, CallForm)>,
    /// The request in the client's own form, if the answer will be stored.
    pub input: Option<Vec<Value>>,
    /// Whether the signatures of reasoning are included so that they come back: OpenAI's
    /// `include: ["reasoning.encrypted_content"]`.
    pub with_signatures: bool,
    /// Whether the client reads the model's reasoning: Gemini's `includeThoughts`.
    pub shows_thoughts: bool,
    /// Whether a stream is a JSON list instead of server-sent events: Gemini's without `alt=sse`.
    pub is_list: bool,
}

/// The client's form of a tool that is not a plain function with the name that the model knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallForm {
    /// The client's name for it.
    pub name: String,
    /// The group of the tool.
    pub namespace: Option<String>,
    /// The form of its calls.
    pub kind: CallKind,
}

/// The form of a tool's calls for a client; the model sees every call as one of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Arguments in JSON.
    Function,
    /// Plain text.
    FreeText,
    /// A command for the client's own shell.
    LocalShell,
}
