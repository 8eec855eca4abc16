//! Decodes the blocks that the canonical model does not know.
//!
//! It owns their text for models that do not know them: calls and results of the provider's own
//! tools, tools that are added or removed midway, and any other text of a block. It rejects none:
//! an unknown block is kept as sent for a provider of the same API, and is its text for all others.
//!
//! The one thing to know: base64, signatures and encrypted content are not text.

use serde_json::Value;

use crate::chat::{Api, Extra, Foreign, Tool};
use crate::wire::fields::Object;

/// The longest unknown type that is kept.
const LONGEST: usize = 64;

/// The block as sent, with its text.
pub(super) fn foreign(kind: &str, item: &Object) -> Foreign {
    let text = match kind {
        "tool_addition" => named(item).map(|name| format!("The tool `{name}` can be called now.")),
        "tool_removal" => named(item).map(|name| format!("The tool `{name}` is gone.")),
        "tool_reference" => {
            text_of(item, "tool_name").map(|name| format!("The tool `{name}` can be called now."))
        }
        "server_tool_use" | "mcp_tool_use" => called(item),
        _ => whole_text(item),
    };
    // Uploads and links are the subject of a question; whether other blocks are is unknown.
    let is_decisive = matches!(kind, "image" | "document" | "container_upload");
    let kind: String = kind.chars().take(LONGEST).collect();
    let value = Value::Object(item.clone());
    Foreign { api: Api::Anthropic, kind, text, is_decisive, value }
}

/// The tool that a block adds midway.
pub(super) fn late_tool(item: &Object) -> Option<Tool> {
    let tool = item.get("tool").and_then(|tool| tool.get("definition"))?.as_object()?;
    let mut fields = tool.clone();
    let name = text_of(&fields, "name")?.to_owned();
    let description = text_of(&fields, "description").map(str::to_owned);
    let parameters = fields.swap_remove("input_schema").filter(Value::is_object)?;
    let parameters = Some(parameters);
    for known in ["name", "description", "type", "cache_control"] {
        fields.swap_remove(known);
    }
    Some(Tool {
        name,
        description,
        parameters,
        is_late: true,
        extra: extra(fields),
        ..Tool::default()
    })
}

/// Fields of the API that the canonical model has no field for.
pub(super) fn extra(mut fields: Object) -> Option<Extra> {
    fields.retain(|_, value| !value.is_null());
    (!fields.is_empty()).then_some(Extra { api: Api::Anthropic, fields })
}

/// The name of the tool that is added or removed.
fn named(item: &Object) -> Option<&str> {
    let tool = item.get("tool")?;
    let name = tool.get("name").or_else(|| tool.get("tool_name"));
    name.or_else(|| tool.pointer("/definition/name"))?.as_str()
}

/// A call of a tool that the provider ran itself.
fn called(item: &Object) -> Option<String> {
    let name = text_of(item, "name")?;
    let input = item.get("input").filter(|input| !input.is_null());
    Some(match input {
        Some(input) => format!("[called `{name}` with {input}]"),
        None => format!("[called `{name}`]"),
    })
}

fn text_of<'a>(item: &'a Object, key: &str) -> Option<&'a str> {
    item.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// The whole text of a block.
fn whole_text(item: &Object) -> Option<String> {
    let mut lines = Vec::new();
    collect(item, &mut lines);
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn collect<'a>(item: &'a Object, lines: &mut Vec<&'a str>) {
    /// Fields that hold text, in the order in which they are read.
    const WORDS: &[&str] =
        &["title", "url", "text", "stdout", "stderr", "message", "error_code", "content", "source"];
    let is_text = |item: &Object| item.get("type").is_some_and(|kind| kind == "text");
    for key in WORDS {
        match item.get(*key) {
            Some(Value::String(text)) if !text.is_empty() => lines.push(text),
            Some(Value::Object(inner)) => {
                // The text of a document's source is in `data`, which otherwise holds base64.
                let data = inner.get("data").and_then(Value::as_str).filter(|_| is_text(inner));
                lines.extend(data);
                collect(inner, lines);
            }
            Some(Value::Array(list)) => {
                for inner in list {
                    match inner {
                        Value::Object(inner) => collect(inner, lines),
                        Value::String(text) if !text.is_empty() => lines.push(text),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}
