//! Decodes the tools: the client's own, and those that Anthropic runs or has trained its models
//! for.
//!
//! The one thing to know: no kind of tool is rejected. One with a schema is a function whatever its
//! kind, and any other is kept as sent for a provider of the same API.

use serde_json::Value;

use super::foreign::extra;
use super::messages::cache_mark;
use crate::chat::{Api, HostedTool, Tool};
use crate::wire::fields::{Fields, Object};

/// The functions, and the hosted tools.
pub(super) fn read(fields: &mut Fields, body: &mut Object) -> (Vec<Tool>, Vec<HostedTool>) {
    let list = fields.list(body, "tools").unwrap_or_default();
    let (mut tools, mut hosted) = (Vec::with_capacity(list.len()), Vec::new());
    fields.each("tools", list, |fields, mut item| match own_kind(&item) {
        None => tools.extend(tool(fields, &mut item)),
        Some(kind) => hosted.push(foreign(kind, tools.len(), item)),
    });
    (tools, hosted)
}

/// The kind of a tool that is not a function.
fn own_kind(item: &Object) -> Option<String> {
    let kind = item.get("type").and_then(Value::as_str).filter(|kind| *kind != "custom")?;
    let is_function = item.get("input_schema").is_some_and(Value::is_object);
    (!is_function).then(|| kind.chars().take(64).collect())
}

fn foreign(kind: String, at: usize, item: Object) -> HostedTool {
    let name = item.get("name").and_then(Value::as_str).unwrap_or(&kind).to_owned();
    HostedTool { api: Api::Anthropic, at, kind, name, value: Value::Object(item) }
}

fn tool(fields: &mut Fields, item: &mut Object) -> Option<Tool> {
    let name = fields.required_text(item, "name");
    let description = fields.text(item, "description");
    let schema = fields.required_object(item, "input_schema");
    let strict = fields.flag(item, "strict");
    let (parameters, cache_mark) = (Some(Value::Object(schema?)), cache_mark(item));
    // The kind of every function, which is redundant.
    if item.get("type").is_some_and(|kind| kind == "custom") {
        item.swap_remove("type");
    }
    let extra = extra(std::mem::take(item));
    Some(Tool { name: name?, description, parameters, strict, cache_mark, is_late: false, extra })
}
