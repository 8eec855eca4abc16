//! Writes a chat for Gemini.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::config::{self, Generation};
use super::media::{self, Media};
use super::signature;
use crate::backend::call_ids::CallIds;
use crate::backend::degrade::{self, Documents, Features};
use crate::backend::history::{
    arguments, documents, images, instructions, media_type, name_cache_marks, name_foreign,
    name_unsupported, plain_result_text, refuse_images, refuse_infill, refuse_several,
    results_in_order,
};
use crate::backend::tool_names::ToolNames;
use crate::backend::{Target, UpstreamRequest, foreign_fields};
use crate::chat::{
    Api, ChatRequest, Document, DocumentSource, GatewayError, Image, ImageSource, Message, Part,
    Role, ToolChoice, ToolResult,
};
use crate::wire::json;
use crate::wire::signature::geminis;

/// The features of the API.
const FEATURES: Features = Features {
    api: Api::Gemini,
    user_documents: Documents::Inline,
    tool_documents: Documents::Inline,
    late_system: false,
    keeps_volatile: false,
};

/// Builds the call.
pub(super) fn chat(
    request: &ChatRequest,
    target: Target<'_>,
) -> Result<UpstreamRequest, GatewayError> {
    let Target { model, api_key, .. } = target;
    refuse_several(request)?;
    refuse_infill(request)?;
    let mut dropped = Vec::new();
    let features = Features { keeps_volatile: target.quirks.keeps_volatile, ..FEATURES };
    let request = &*degrade::adapt(request, features, &mut dropped)?;
    let request = &*results_in_order(request);
    let model = short_name(model);
    let (generation, limit) = (Generation::of(model), target.limit(request));
    let passed = foreign_fields(request, Api::Gemini, &mut dropped)?;
    let passed = passed.into_iter().filter(|(name, _)| !OWN.contains(name));
    let (tuning, passed): (Vec<_>, Vec<_>) =
        passed.partition(|(name, _)| name.starts_with(config::OWN));
    let names = ToolNames::new(request);
    let contents = contents(request, generation, &names, &mut dropped)?;
    if contents.is_empty() {
        return Err(GatewayError::invalid("messages: this provider needs a user message"));
    }
    name_unsupported(request, &mut dropped);
    name_cache_marks(request, &mut dropped);
    name_foreign(request, |foreign| media::read(foreign).is_some(), &mut dropped)?;
    if request.parallel_tool_calls == Some(false) {
        dropped.push("parallel_tool_calls".to_owned());
    }
    if request.tools.iter().any(|tool| tool.strict == Some(true)) {
        dropped.push("strict".to_owned());
    }
    let mut generation_config =
        config::generation(request, limit, model, generation, &mut dropped)?;
    config::extend(&mut generation_config, &tuning);
    let body = Body {
        system_instruction: instructions(request)?.map(|text| Instruction {
            parts: [WirePart { text: Some(Cow::Owned(text)), ..WirePart::default() }],
        }),
        contents,
        tools: tools(request, &names),
        tool_config: tool_config(&request.tool_choice, &names),
        generation_config,
        passed,
    };
    let path = format!("/v1beta/{}:streamGenerateContent?alt=sse", path_of(model)?);
    Ok(UpstreamRequest::post(path, headers(api_key), &body, dropped))
}

/// The headers of every call.
pub(super) fn headers(api_key: Option<&str>) -> Vec<(&'static str, String)> {
    api_key.map(|key| ("x-goog-api-key", key.to_owned())).into_iter().collect()
}

/// The model's name without `models/`, which Google puts before it.
pub(super) fn short_name(model: &str) -> &str {
    model.strip_prefix("models/").unwrap_or(model)
}

/// The model's path: `/` and `:` stay, and characters that could leave the path are escaped.
pub(super) fn path_of(model: &str) -> Result<String, GatewayError> {
    if model.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(GatewayError::invalid("model: this is no name of a model"));
    }
    let mut path = String::from(if model.starts_with("tunedModels/") { "" } else { "models/" });
    for byte in model.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => path.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(path)
}

fn contents<'a>(
    request: &'a ChatRequest,
    generation: Generation,
    names: &'a ToolNames,
    dropped: &mut Vec<String>,
) -> Result<Vec<WireContent<'a>>, GatewayError> {
    let mut call_ids = CallIds::new(request, |id| !id.is_empty())?;
    let mut written: Vec<WireContent<'a>> = Vec::with_capacity(request.messages.len());
    let mut follows_result = false;
    for message in &request.messages {
        let (role, parts) = match message.role {
            Role::System => continue,
            Role::User => ("user", user(message)?),
            Role::Assistant => {
                ("model", model(message, &mut call_ids, generation, names, dropped)?)
            }
            Role::Tool => ("user", results(message, &mut call_ids, names)?),
        };
        let is_result = message.role == Role::Tool;
        match written.last_mut() {
            // All results for one turn of the model belong in one entry.
            Some(last) if is_result && follows_result => last.parts.extend(parts),
            _ if parts.is_empty() => {}
            _ => written.push(WireContent { role, parts }),
        }
        follows_result = is_result;
    }
    Ok(written)
}

/// Empty texts are left out, because some models refuse them; a user message without content
/// becomes a space.
fn user(message: &Message) -> Result<Vec<WirePart<'_>>, GatewayError> {
    let mut parts = Vec::with_capacity(message.content.len());
    for part in &message.content {
        match part {
            Part::Text(text) if !text.is_empty() => parts.push(WirePart::text(text)),
            Part::Image(image) => parts.push(picture(image)?),
            Part::Document(document) => parts.extend(file(document)),
            Part::Foreign(foreign) => parts.extend(media::read(foreign).map(WirePart::of_media)),
            Part::Text(_)
            | Part::Reasoning { .. }
            | Part::ToolCall(_)
            | Part::ToolResult(_)
            | Part::CacheMark(_) => {}
        }
    }
    if parts.is_empty() {
        parts.push(WirePart::text(" "));
    }
    Ok(parts)
}

fn model<'a>(
    message: &'a Message,
    call_ids: &mut CallIds<'a>,
    generation: Generation,
    names: &'a ToolNames,
    dropped: &mut Vec<String>,
) -> Result<Vec<WirePart<'a>>, GatewayError> {
    refuse_images(message)?;
    let mut parts = Vec::with_capacity(message.content.len());
    // The signature for the next call, and whether this turn has called before.
    let mut signature_of_next: Option<String> = None;
    let mut has_called = false;
    for part in &message.content {
        match part {
            Part::Text(text) if !text.is_empty() => parts.push(WirePart::text(text)),
            Part::Text(_)
            | Part::Image(_)
            | Part::ToolResult(_)
            | Part::CacheMark(_)
            | Part::Document(_)
            | Part::Foreign(_) => {}
            Part::Reasoning { signature, .. } => match signature.as_deref().map(geminis) {
                Some(Some(own)) => signature_of_next = Some(own.to_owned()),
                Some(None) | None if dropped.iter().any(|name| name == "reasoning") => {}
                Some(None) | None => dropped.push("reasoning".to_owned()),
            },
            Part::ToolCall(call) => {
                let id = call_ids.call();
                let (id, embedded) = signature::split(&id);
                let mut signature = signature_of_next.take().or(embedded);
                // Only the first of several calls in one turn has a signature.
                if signature.is_none() && !has_called && generation == Generation::Level {
                    signature = Some(signature::PLACEHOLDER.to_owned());
                }
                has_called = true;
                let name = names.outbound(&call.name);
                parts.push(WirePart {
                    function_call: Some(json!({"id": id, "name": name, "args": arguments(call)?})),
                    thought_signature: signature,
                    ..WirePart::default()
                });
            }
        }
    }
    Ok(parts)
}

fn results<'a>(
    message: &'a Message,
    call_ids: &mut CallIds<'a>,
    names: &ToolNames,
) -> Result<Vec<WirePart<'a>>, GatewayError> {
    let mut parts = Vec::new();
    let mut pictures = Vec::new();
    for part in &message.content {
        let Part::ToolResult(result) = part else { continue };
        let (id, name) = call_ids.result();
        let (id, _) = signature::split(&id);
        let name = names.outbound(name);
        let function_response = json!({"id": id, "name": name, "response": response(result)});
        parts.push(WirePart { function_response: Some(function_response), ..WirePart::default() });
        for image in images(result) {
            pictures.push(picture(image)?);
        }
        pictures.extend(documents(result).filter_map(file));
    }
    parts.append(&mut pictures);
    Ok(parts)
}

/// The result of a tool must be an object.
fn response(result: &ToolResult) -> Value {
    let text = plain_result_text(result);
    if result.is_error {
        return json!({"error": text});
    }
    match serde_json::from_str::<Map<String, Value>>(&text) {
        Ok(object) => Value::Object(object),
        Err(_) => json!({"result": text}),
    }
}

fn picture(image: &Image) -> Result<WirePart<'_>, GatewayError> {
    match &image.source {
        ImageSource::Inline { media_type: declared, base64 } => Ok(WirePart {
            inline_data: Some(Blob {
                mime_type: media_type(declared, base64).into(),
                data: base64,
            }),
            ..WirePart::default()
        }),
        // Google itself fetches public `https` links and files in its own storage.
        ImageSource::Url(url) if url.starts_with("https://") || url.starts_with("gs://") => {
            Ok(WirePart { file_data: Some(File { file_uri: url }), ..WirePart::default() })
        }
        ImageSource::Url(_) => Err(GatewayError::invalid(
            "image_url: this provider takes https addresses or images in the request, send a data: URI",
        )),
    }
}

/// A document within the request; documents of other kinds have been refused or replaced by text
/// before.
fn file(document: &Document) -> Option<WirePart<'_>> {
    let DocumentSource::Inline { media_type, base64 } = &document.source else { return None };
    let inline_data = Some(Blob { mime_type: Cow::Borrowed(media_type), data: base64 });
    Some(WirePart { inline_data, ..WirePart::default() })
}

/// The functions in one entry, then the tools that Google hosts, as sent.
fn tools(request: &ChatRequest, names: &ToolNames) -> Option<Value> {
    let declarations = request.tools.iter().map(|tool| {
        let mut declaration = Map::new();
        declaration.insert("name".to_owned(), json!(names.outbound(&tool.name)));
        if let Some(description) = &tool.description {
            declaration.insert("description".to_owned(), json!(description));
        }
        // Some models refuse an object without properties; a declaration without a schema has no
        // arguments.
        if let Some(schema) = tool.parameters.as_ref().filter(|schema| has_properties(schema)) {
            declaration.insert("parametersJsonSchema".to_owned(), schema.clone());
        }
        let own = tool.extra.as_ref().filter(|extra| extra.api == Api::Gemini);
        let own = own.into_iter().flat_map(|extra| &extra.fields);
        declaration.extend(own.map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(declaration)
    });
    let declarations: Vec<Value> = declarations.collect();
    let functions =
        (!declarations.is_empty()).then(|| json!({"functionDeclarations": declarations}));
    let hosted = request.hosted.iter().filter(|hosted| hosted.api == Api::Gemini);
    let tools: Vec<Value> =
        functions.into_iter().chain(hosted.map(|hosted| hosted.value.clone())).collect();
    (!tools.is_empty()).then_some(Value::Array(tools))
}

fn has_properties(schema: &Value) -> bool {
    let keys = ["properties", "$ref", "anyOf", "oneOf", "allOf", "additionalProperties"];
    keys.iter().filter_map(|key| schema.get(*key)).any(|inner| match inner {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(_) | Value::String(_) => true,
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    })
}

fn tool_config(choice: &ToolChoice, names: &ToolNames) -> Option<Value> {
    let calling = match choice {
        ToolChoice::Auto => return None,
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Named(name) => {
            json!({"mode": "ANY", "allowedFunctionNames": [names.outbound(name)]})
        }
    };
    Some(json!({"functionCallingConfig": calling}))
}

/// The fields that the gateway itself sets; a client's own fields of these names are not passed on.
const OWN: &[&str] = &["contents", "systemInstruction", "tools", "toolConfig", "generationConfig"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Instruction<'a>>,
    contents: Vec<WireContent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    generation_config: Map<String, Value>,
    #[serde(flatten, serialize_with = "json::entries")]
    passed: Vec<(&'a str, &'a Value)>,
}

#[derive(Serialize)]
struct Instruction<'a> {
    parts: [WirePart<'a>; 1],
}

#[derive(Serialize)]
struct WireContent<'a> {
    role: &'static str,
    parts: Vec<WirePart<'a>>,
}

/// One of the fields, and a signature beside a call.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct WirePart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<Blob<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<File<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<String>,
}

impl<'a> WirePart<'a> {
    fn text(text: &'a str) -> Self {
        Self { text: Some(Cow::Borrowed(text)), ..Self::default() }
    }

    fn of_media(media: Media<'a>) -> Self {
        match media {
            Media::Address(file_uri) => {
                Self { file_data: Some(File { file_uri }), ..Self::default() }
            }
            Media::Inline { media_type, data } => {
                let blob = Blob { mime_type: media_type.into(), data };
                Self { inline_data: Some(blob), ..Self::default() }
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    mime_type: Cow<'a, str>,
    data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    file_uri: &'a str,
}
