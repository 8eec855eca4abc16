//! Decodes the tools, and whether they must be called.
//!
//! The one thing to know: no kind of tool is rejected. One that Google runs is kept as sent for a
//! provider of the same API. A list of allowed functions becomes a shorter list of tools, which has
//! the same effect.

use serde_json::json;

use super::camel;
use super::schema::json_schema;
use crate::chat::{Api, Extra, HostedTool, Tool, ToolChoice};
use crate::wire::fields::{Fields, Object, take};

/// The decoded tools.
pub(super) struct Tools {
    pub(super) tools: Vec<Tool>,
    pub(super) hosted: Vec<HostedTool>,
    pub(super) choice: ToolChoice,
}

/// Decodes `tools` and `toolConfig`.
pub(super) fn read(fields: &mut Fields, body: &mut Object) -> Tools {
    let (mut tools, mut hosted) = (Vec::new(), Vec::new());
    let list = fields.list(body, "tools").unwrap_or_default();
    fields.each("tools", list, |fields, item| {
        let mut item = camel(item);
        functions(fields, &mut item, &mut tools);
        for (kind, value) in item.into_iter().filter(|(_, value)| !value.is_null()) {
            let (at, name) = (tools.len(), kind.clone());
            let value = json!({&kind: value});
            hosted.push(HostedTool { api: Api::Gemini, at, kind, name, value });
        }
    });
    let (choice, allowed) = choice(fields, body);
    if !allowed.is_empty() {
        tools.retain(|tool: &Tool| allowed.contains(&tool.name));
    }
    Tools { tools, hosted, choice }
}

fn functions(fields: &mut Fields, item: &mut Object, tools: &mut Vec<Tool>) {
    let list = fields.list(item, "functionDeclarations").unwrap_or_default();
    fields.each("functionDeclarations", list, |fields, item| {
        tools.extend(function(fields, camel(item)));
    });
}

fn function(fields: &mut Fields, mut item: Object) -> Option<Tool> {
    let name = fields.required_text(&mut item, "name");
    let description = fields.text(&mut item, "description");
    let own = take(&mut item, "parameters").map(json_schema);
    let parameters = take(&mut item, "parametersJsonSchema").or(own);
    item.retain(|_, value| !value.is_null());
    let extra = (!item.is_empty()).then_some(Extra { api: Api::Gemini, fields: item });
    Some(Tool { name: name?, description, parameters, extra, ..Tool::default() })
}

/// The choice, and the names of the allowed functions; an empty list allows all.
fn choice(fields: &mut Fields, body: &mut Object) -> (ToolChoice, Vec<String>) {
    let Some(config) = fields.object(body, "toolConfig") else {
        return (ToolChoice::default(), Vec::new());
    };
    let mut config = camel(config);
    fields.within("toolConfig", |fields| {
        let calling = fields.object(&mut config, "functionCallingConfig").map(camel);
        for name in config.keys() {
            fields.note_dropped(&format!("toolConfig.{name}"));
        }
        let Some(mut calling) = calling else { return (ToolChoice::default(), Vec::new()) };
        fields.within("functionCallingConfig", |fields| {
            let mode = fields.text(&mut calling, "mode").unwrap_or_default();
            let mut allowed =
                fields.texts(&mut calling, "allowedFunctionNames").unwrap_or_default();
            match mode.to_ascii_uppercase().as_str() {
                "" | "MODE_UNSPECIFIED" | "AUTO" | "VALIDATED" => (ToolChoice::Auto, allowed),
                "NONE" => (ToolChoice::None, Vec::new()),
                "ANY" => match allowed.pop() {
                    Some(name) if allowed.is_empty() => (ToolChoice::Named(name), Vec::new()),
                    last => {
                        allowed.extend(last);
                        (ToolChoice::Required, allowed)
                    }
                },
                _ => {
                    let expected = "should be AUTO, ANY, NONE or VALIDATED";
                    fields.problem("mode", "literal_error", expected);
                    (ToolChoice::Auto, Vec::new())
                }
            }
        })
    })
}
