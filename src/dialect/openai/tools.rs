//! Tools, the choice among them, and the format of the answer.
//!
//! It owns two forms of the same things: chat completions nest them (`function: {name}`), responses do not. It
//! refuses tools that the provider would run itself, and free-form ones, by name.
//!
//! The one thing to know: `allowed_tools` becomes a shorter list of tools, since offering only those means the
//! same to every provider.

use serde_json::Value;

use super::{INVALID_VALUE, UNSUPPORTED_VALUE, request::shown};
use crate::chat::{Format, Tool, ToolChoice};
use crate::wire::fields::{Fields, Object, take};

/// How a route writes tools.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `{type, function: {name}}`: chat completions.
    Nested,
    /// `{type, name}`: responses.
    Flat,
}

/// Takes `tools` and `tool_choice`.
pub(super) fn tools(fields: &mut Fields, body: &mut Object, form: Form) -> (Vec<Tool>, ToolChoice) {
    let list = fields.list(body, "tools").unwrap_or_default();
    let mut tools: Vec<Tool> = fields.within("tools", |fields| {
        let items = list.into_iter().enumerate();
        items.filter_map(|(index, item)| tool(fields, index, item, form)).collect()
    });
    let choice = match take(body, "tool_choice") {
        None => ToolChoice::Auto,
        Some(Value::String(word)) => mode(fields, "tool_choice", &word),
        Some(Value::Object(object)) => fields
            .within("tool_choice", |fields| object_choice(fields, object, &mut tools, form))
            .unwrap_or_default(),
        Some(_) => {
            fields.problem("tool_choice", "string_type", "should be a word or an object");
            ToolChoice::Auto
        }
    };
    check_choice(fields, "tool_choice", &choice, &tools);
    (tools, choice)
}

/// Notes a choice that no tool can satisfy.
pub(super) fn check_choice(fields: &mut Fields, key: &str, choice: &ToolChoice, tools: &[Tool]) {
    match choice {
        ToolChoice::Required if tools.is_empty() => {
            fields.problem(key, INVALID_VALUE, "needs at least one tool");
        }
        ToolChoice::Named(name) if !tools.iter().any(|tool| tool.name == *name) => {
            let message = format!("names `{}`, which is none of the tools", shown(name));
            fields.problem(key, INVALID_VALUE, message);
        }
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required | ToolChoice::Named(_) => {}
    }
}

/// Reads a function's own fields.
pub(super) fn function(fields: &mut Fields, function: &mut Object) -> Option<Tool> {
    let name = fields.required_text(function, "name");
    let description = fields.text(function, "description");
    let parameters = fields.object(function, "parameters").map(Value::Object);
    let strict = fields.flag(function, "strict");
    Some(Tool { name: name?, description, parameters, strict, ..Tool::default() })
}

/// Takes the format under `key`.
pub(super) fn format(fields: &mut Fields, holder: &mut Object, key: &str, form: Form) -> Format {
    let Some(mut object) = fields.object(holder, key) else { return Format::Text };
    let format =
        fields.within(key, |fields| match fields.required_text(&mut object, "type")?.as_str() {
            "text" => Some(Format::Text),
            "json_object" => Some(Format::Json),
            "json_schema" => inner(fields, object, "json_schema", form, |fields, schema| {
                Some(Format::Schema {
                    name: fields.text(schema, "name"),
                    description: fields.text(schema, "description"),
                    strict: fields.flag(schema, "strict"),
                    schema: required_object(fields, schema, "schema").map(Value::Object)?,
                })
            }),
            _ => {
                let message = "should be text, json_object or json_schema";
                fields.problem("type", INVALID_VALUE, message);
                None
            }
        });
    format.unwrap_or_default()
}

/// Takes an object that must be there.
pub(super) fn required_object(
    fields: &mut Fields,
    holder: &mut Object,
    key: &str,
) -> Option<Object> {
    if holder.get(key).is_none_or(Value::is_null) {
        fields.problem(key, "missing", "Field required");
        return None;
    }
    fields.object(holder, key)
}

fn tool(fields: &mut Fields, index: usize, item: Value, form: Form) -> Option<Tool> {
    let mut item = fields.item(index, item)?;
    fields.within(index, |fields| {
        let kind = fields.text(&mut item, "type");
        match kind.as_deref() {
            None | Some("function") => inner(fields, item, "function", form, function),
            Some(kind) => {
                let message = format!("`{}` tools are not supported, use `function`", shown(kind));
                fields.problem("type", UNSUPPORTED_VALUE, message);
                None
            }
        }
    })
}

pub(super) fn mode(fields: &mut Fields, key: &str, word: &str) -> ToolChoice {
    match word {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" => ToolChoice::Required,
        _ => {
            let message = "should be none, auto, required or an object that names a function";
            fields.problem(key, INVALID_VALUE, message);
            ToolChoice::Auto
        }
    }
}

fn object_choice(
    fields: &mut Fields,
    mut object: Object,
    tools: &mut Vec<Tool>,
    form: Form,
) -> Option<ToolChoice> {
    match fields.required_text(&mut object, "type")?.as_str() {
        "function" => inner(fields, object, "function", form, |fields, named| {
            fields.required_text(named, "name").map(ToolChoice::Named)
        }),
        "allowed_tools" => inner(fields, object, "allowed_tools", form, |fields, allowed| {
            allowed_tools(fields, allowed, tools, form)
        }),
        kind => {
            let message = format!("`{}` is not supported, name a function", shown(kind));
            fields.problem("type", UNSUPPORTED_VALUE, message);
            None
        }
    }
}

fn allowed_tools(
    fields: &mut Fields,
    allowed: &mut Object,
    tools: &mut Vec<Tool>,
    form: Form,
) -> Option<ToolChoice> {
    let word = fields.required_text(allowed, "mode");
    let list = fields.required_list(allowed, "tools")?;
    let names: Vec<String> = fields.within("tools", |fields| {
        let items = list.into_iter().enumerate();
        items
            .filter_map(|(index, item)| tool(fields, index, item, form))
            .map(|tool| tool.name)
            .collect()
    });
    tools.retain(|tool| names.contains(&tool.name));
    word.map(|word| mode(fields, "mode", &word))
}

/// Reads what a nested form keeps one level down.
fn inner<R>(
    fields: &mut Fields,
    mut object: Object,
    key: &str,
    form: Form,
    read: impl FnOnce(&mut Fields, &mut Object) -> Option<R>,
) -> Option<R> {
    match form {
        Form::Flat => read(fields, &mut object),
        Form::Nested => {
            let mut inside = required_object(fields, &mut object, key)?;
            fields.within(key, |fields| read(fields, &mut inside))
        }
    }
}
