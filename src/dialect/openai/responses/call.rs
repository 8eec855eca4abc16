//! A tool call while it grows, in the client's form of that tool.
//!
//! It owns the three forms: JSON arguments, free text, a command for the client's shell. Each has
//! its own kind of item, and the first two have their own events.
//!
//! The one thing to know: a model calls only functions; [`CallForm`] has the client's form of a
//! call.

use serde_json::{Map, Value, json};

use super::free_text::FreeText;
use crate::chat::{CallForm, CallKind};

/// A call of a tool.
pub(super) struct Call {
    call_id: String,
    name: String,
    namespace: Option<String>,
    content: Content,
}

/// The content of a call so far.
enum Content {
    Arguments(String),
    Text(FreeText),
    Command(String),
}

/// An event about a call, without the fields that all events have.
pub(super) type Event = (&'static str, Value);

impl Call {
    /// A call of the tool that the model knows as `name`.
    pub(super) fn new(call_id: String, name: String, forms: &[(String, CallForm)]) -> Self {
        let form = form_of(&name, forms);
        let kind = form.map_or(CallKind::Function, |form| form.kind);
        let content = match kind {
            CallKind::Function => Content::Arguments(String::new()),
            CallKind::FreeText => Content::Text(FreeText::default()),
            CallKind::LocalShell => Content::Command(String::new()),
        };
        let namespace = form.and_then(|form| form.namespace.clone());
        let name = form.map_or(name, |form| form.name.clone());
        Self { call_id, name, namespace, content }
    }

    /// The prefix of such items' ids.
    pub(super) fn prefix(&self) -> &'static str {
        match &self.content {
            Content::Arguments(_) => "fc",
            Content::Text(_) => "ctc",
            Content::Command(_) => "lsh",
        }
    }

    /// Adds more of the arguments; returns the event for it.
    pub(super) fn add(&mut self, more: &str) -> Option<Event> {
        match &mut self.content {
            Content::Arguments(arguments) => {
                arguments.push_str(more);
                delta_event("response.function_call_arguments.delta", more)
            }
            Content::Text(text) => {
                delta_event("response.custom_tool_call_input.delta", &text.add(more))
            }
            Content::Command(arguments) => {
                arguments.push_str(more);
                None
            }
        }
    }

    /// Ends the call; returns the events for it.
    pub(super) fn end(&mut self) -> Vec<Event> {
        match &mut self.content {
            Content::Arguments(arguments) => {
                // An empty text is not JSON, and breaks clients that parse it.
                let rest = if arguments.is_empty() { "{}" } else { "" };
                arguments.push_str(rest);
                let done = json!({"name": self.name, "arguments": arguments});
                let delta = delta_event("response.function_call_arguments.delta", rest);
                delta.into_iter().chain([("response.function_call_arguments.done", done)]).collect()
            }
            Content::Text(text) => {
                let delta = delta_event("response.custom_tool_call_input.delta", &text.end());
                let done = ("response.custom_tool_call_input.done", json!({"input": text.text()}));
                delta.into_iter().chain([done]).collect()
            }
            Content::Command(_) => Vec::new(),
        }
    }

    /// The item in the API's form.
    pub(super) fn value(&self, id: &str, status: &str) -> Value {
        let (kind, field, content) = match &self.content {
            Content::Arguments(arguments) => ("function_call", "arguments", json!(arguments)),
            Content::Text(text) => ("custom_tool_call", "input", json!(text.text())),
            Content::Command(arguments) => {
                return json!({
                    "id": id, "type": "local_shell_call", "call_id": self.call_id,
                    "action": action(arguments), "status": status,
                });
            }
        };
        let mut item = json!({
            "id": id, "type": kind, "call_id": self.call_id, "name": self.name,
            field: content, "status": status,
        });
        if let (Some(namespace), Some(item)) = (&self.namespace, item.as_object_mut()) {
            item.insert("namespace".to_owned(), json!(namespace));
        }
        item
    }
}

/// Finds the form, also by the longer names that models make of a namespace and a name.
fn form_of<'a>(name: &str, forms: &'a [(String, CallForm)]) -> Option<&'a CallForm> {
    let is_long = |form: &CallForm| {
        let rest = form.namespace.as_ref().and_then(|space| name.strip_prefix(space.as_str()));
        rest.and_then(|rest| rest.strip_suffix(form.name.as_str()))
            .is_some_and(|between| matches!(between, "" | "." | "_" | "__" | "/" | ":"))
    };
    let named = forms.iter().find(|(given, _)| given == name);
    named.or_else(|| forms.iter().find(|(_, form)| is_long(form))).map(|(_, form)| form)
}

fn delta_event(event: &'static str, delta: &str) -> Option<Event> {
    (!delta.is_empty()).then(|| (event, json!({"delta": delta})))
}

/// The command in the arguments, with the fields that the specification requires. A command that is
/// one text is for a shell.
fn action(arguments: &str) -> Value {
    let fields: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
    let command = match fields.get("command") {
        Some(Value::Array(words)) => {
            let word = |word: &Value| word.as_str().map_or_else(|| word.to_string(), str::to_owned);
            words.iter().map(word).collect()
        }
        Some(Value::String(line)) => vec!["bash".to_owned(), "-lc".to_owned(), line.clone()],
        _ => Vec::new(),
    };
    let mut action = json!({"type": "exec", "command": command, "env": {}});
    if let Some(action) = action.as_object_mut() {
        for (key, value) in fields {
            let is_fit = match key.as_str() {
                "env" => value.is_object(),
                "timeout_ms" => value.is_number(),
                "working_directory" | "user" => value.is_string(),
                _ => false,
            };
            if is_fit {
                action.insert(key, value);
            }
        }
    }
    action
}
