//! Tools, the choice among them, and the format of the answer.
//!
//! It owns two forms of the same fields: chat completions nest them (`function: {name}`), responses
//! do not, and each route accepts the other's form. Tools that the provider would run itself are
//! dropped and named; a choice that forces one is rejected.
//!
//! The one thing to know: `allowed_tools` becomes a shorter list of tools, which has the same
//! effect for every provider.

use serde_json::{Value, json};

use super::{INVALID_VALUE, UNSUPPORTED_VALUE, request::shown};
use crate::chat::{Format, Tool, ToolChoice};
use crate::wire::fields::{Fields, Object, take};

/// A route's form of tools.
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
        Some(Value::String(word)) => mode(fields, "tool_choice", &word, &tools),
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

/// Decodes a function's own fields.
pub(super) fn function(fields: &mut Fields, function: &mut Object) -> Option<Tool> {
    let name = fields.required_text(function, "name");
    let description = fields.text(function, "description");
    let parameters = fields.object(function, "parameters").map(Value::Object);
    let strict = fields.flag(function, "strict");
    Some(Tool { name: name?, description, parameters, strict, ..Tool::default() })
}

/// Takes the format under `key`. A schema may be in several places: OpenAI's clients of chats nest
/// it, llama.cpp's put it beside the type, even with `json_object`, and some send only the schema
/// itself.
pub(super) fn format(fields: &mut Fields, holder: &mut Object, key: &str, form: Form) -> Format {
    let Some(mut object) = fields.object(holder, key) else { return Format::Text };
    let format =
        fields.within(key, |fields| match fields.required_text(&mut object, "type")?.as_str() {
            "text" => Some(Format::Text),
            "json_object" if !has_schema(&object) => Some(Format::Json),
            "json_object" | "json_schema" => match nested(&mut object) {
                Some(mut inner) => {
                    fields.within("json_schema", |fields| schema(fields, &mut inner))
                }
                None if form == Form::Nested && !object.contains_key("schema") => {
                    required_object(fields, &mut object, "json_schema")?;
                    None
                }
                None => schema(fields, &mut object),
            },
            _ => {
                let message = "should be text, json_object or json_schema";
                fields.problem("type", INVALID_VALUE, message);
                None
            }
        });
    format.unwrap_or_default()
}

fn has_schema(format: &Object) -> bool {
    ["schema", "json_schema"].iter().any(|key| format.get(*key).is_some_and(Value::is_object))
}

/// The object under `json_schema`.
fn nested(format: &mut Object) -> Option<Object> {
    let is_there = format.get("json_schema").is_some_and(Value::is_object);
    let Some(Value::Object(mut inner)) = format.swap_remove("json_schema").filter(|_| is_there)
    else {
        return None;
    };
    // The schema itself, at a place where a schema has a name and is one member.
    let is_bare = !inner.contains_key("schema");
    let looks_so = ["type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "$defs"];
    if is_bare && looks_so.iter().any(|key| inner.contains_key(*key)) {
        let schema = Value::Object(std::mem::take(&mut inner));
        inner.insert("schema".to_owned(), schema);
    }
    Some(inner)
}

fn schema(fields: &mut Fields, holder: &mut Object) -> Option<Format> {
    Some(Format::Schema {
        name: fields.text(holder, "name"),
        description: fields.text(holder, "description"),
        strict: fields.flag(holder, "strict"),
        schema: required_object(fields, holder, "schema").map(Value::Object)?,
    })
}

/// Takes a required object.
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
            Some("custom") => inner(fields, item, "custom", form, free),
            // Some clients omit the kind, or use their own name for it.
            Some(_) if item.contains_key("function") => {
                inner(fields, item, "function", form, function)
            }
            Some(kind) => {
                fields.note_dropped(kind);
                None
            }
        }
    })
}

/// A tool whose input is free text, as a function that takes that text.
fn free(fields: &mut Fields, tool: &mut Object) -> Option<Tool> {
    const INPUT: &str = "The input is free text, not JSON.";
    let name = fields.required_text(tool, "name")?;
    let mut description = fields.text(tool, "description").unwrap_or_default();
    if !description.is_empty() {
        description.push_str("\n\n");
    }
    description.push_str(INPUT);
    let format = take(tool, "format");
    let grammar = format.as_ref().and_then(|format| {
        let grammar = format.get("grammar").unwrap_or(format);
        grammar.get("definition").or(grammar.get("grammar"))?.as_str()
    });
    if let Some(grammar) = grammar {
        description.push_str(" It follows this grammar:\n");
        description.push_str(grammar);
    }
    let parameters = json!({
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
    });
    let (description, parameters) = (Some(description), Some(parameters));
    Some(Tool { name, description, parameters, ..Tool::default() })
}

pub(super) fn mode(fields: &mut Fields, key: &str, word: &str, tools: &[Tool]) -> ToolChoice {
    match word {
        "auto" | "" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        // The first is OpenAI's name, the others are Mistral's and Gemini's.
        "required" | "any" | "ANY" => ToolChoice::Required,
        name if tools.iter().any(|tool| tool.name == name) => ToolChoice::Named(name.to_owned()),
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
    let kind = match ["function", "name"].iter().any(|key| object.contains_key(*key)) {
        // The kind may be missing then.
        true => fields.text(&mut object, "type").unwrap_or_else(|| "function".to_owned()),
        false => fields.required_text(&mut object, "type")?,
    };
    match kind.as_str() {
        "function" | "tool" => inner(fields, object, "function", form, |fields, named| {
            fields.required_text(named, "name").map(ToolChoice::Named)
        }),
        "custom" => inner(fields, object, "custom", form, |fields, named| {
            fields.required_text(named, "name").map(ToolChoice::Named)
        }),
        word @ ("auto" | "none" | "required" | "any") => Some(mode(fields, "type", word, tools)),
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
    word.map(|word| mode(fields, "mode", &word, tools))
}

/// Decodes the fields that the nested form has one level down.
fn inner<R>(
    fields: &mut Fields,
    mut object: Object,
    key: &str,
    form: Form,
    read: impl FnOnce(&mut Fields, &mut Object) -> Option<R>,
) -> Option<R> {
    match form {
        Form::Flat => read(fields, &mut object),
        // Clients of the other form.
        Form::Nested if !object.contains_key(key) && object.contains_key("name") => {
            read(fields, &mut object)
        }
        Form::Nested => {
            let mut inside = required_object(fields, &mut object, key)?;
            fields.within(key, |fields| read(fields, &mut inside))
        }
    }
}
