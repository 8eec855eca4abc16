//! Requests that are passed on without a dialect: which models they name, and how their answers are
//! written.
//!
//! It owns the parsing of such a request's model, in JSON, in a form or in the query. It rejects
//! what the provider could parse differently, since the scope of a key is checked against the model
//! found here.
//!
//! The one thing to know: a body that is neither JSON nor a form names no model, and only a key for
//! all models may send it.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::de::IgnoredAny;
use serde_json::json;

use super::Encoder;
use crate::chat::{ChatEvent, GatewayError, ModelAt};
use crate::wire::json;
use crate::wire::multipart::{self, Unclear};
use crate::wire::splice::Outline;

/// The field that names a model.
const MODEL: &str = "model";

/// The model in a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The name, if there is one.
    pub model: Option<String>,
    /// Its position.
    pub at: ModelAt,
    /// The boundary of a form.
    pub boundary: Option<String>,
}

/// Finds the model that a request names.
///
/// # Errors
///
/// `InvalidRequest` if two parsers could find different models, or if JSON or a form is malformed.
pub fn named(content_type: Option<&str>, query: &str, body: &[u8]) -> Result<Named, GatewayError> {
    let boundary = content_type.and_then(multipart::boundary).transpose().map_err(unclear)?;
    let in_body = match &boundary {
        Some(boundary) => in_form(body, boundary)?,
        None if is_json(content_type, body) => in_json(body)?.map(|model| (model, ModelAt::Json)),
        None => None,
    };
    let in_query = in_query(query)?.map(|model| (model, ModelAt::Query));
    let (model, at) = match (in_body, in_query) {
        (Some((one, _)), Some((other, _))) if one != other => {
            return Err(GatewayError::invalid("the body and the query name different models"));
        }
        // It is unknown which one a server reads first, so only one may be there.
        (Some(_), Some(_)) => {
            return Err(GatewayError::invalid(
                "write model in the body or in the query, not in both",
            ));
        }
        (Some(found), None) | (None, Some(found)) => found,
        (None, None) => return Ok(Named { boundary, ..Named::default() }),
    };
    Ok(Named { model: Some(model), at, boundary })
}

/// The models that a management request names: its subject, and all of them.
///
/// # Errors
///
/// `InvalidRequest` if the body is not a JSON object, or two parsers could find different names.
pub fn managed(body: &[u8]) -> Result<(Option<String>, Vec<String>), GatewayError> {
    /// The fields with names, the subject first.
    const FIELDS: [&str; 5] = [MODEL, "name", "source", "destination", "from"];
    let outline = Outline::read(body);
    let outline = outline.ok_or_else(|| GatewayError::invalid("the body must be a JSON object"))?;
    let mut models = Vec::new();
    for field in FIELDS {
        models.extend(text(&outline, field)?);
    }
    Ok((models.first().cloned(), models))
}

fn is_json(content_type: Option<&str>, body: &[u8]) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let says_so = essence == "application/json" || essence.ends_with("+json");
    // Many servers parse JSON whatever the content type is.
    (says_so && !body.is_empty()) || body.trim_ascii_start().starts_with(b"{")
}

fn in_json(body: &[u8]) -> Result<Option<String>, GatewayError> {
    match Outline::read(body) {
        Some(outline) => text(&outline, MODEL),
        None if serde_json::from_slice::<IgnoredAny>(body).is_ok() => Ok(None),
        None => Err(GatewayError::invalid("the body is not valid JSON")),
    }
}

/// The text of a field, if it has one.
fn text(outline: &Outline<'_>, field: &str) -> Result<Option<String>, GatewayError> {
    if outline.is_ambiguous(field) {
        return Err(GatewayError::invalid(format!("{field}: write it once, in lower case")));
    }
    let value = outline.get(field).map(serde_json::from_slice::<Option<String>>).transpose();
    let wrong = |_| GatewayError::invalid(format!("{field}: this must be a text"));
    Ok(value.map_err(wrong)?.flatten().filter(|text| !text.is_empty()))
}

fn in_form(body: &[u8], boundary: &str) -> Result<Option<(String, ModelAt)>, GatewayError> {
    let parts = multipart::parts(body, boundary).map_err(unclear)?;
    let mut models = parts.into_iter().filter(|part| means_model(&part.name));
    let Some(part) = models.next() else { return Ok(None) };
    let is_one = part.name == MODEL && part.is_value() && models.next().is_none();
    let name = body.get(part.content.clone()).and_then(|name| std::str::from_utf8(name).ok());
    match name.filter(|name| is_one && !name.contains(char::is_control)) {
        Some("") => Ok(None),
        Some(name) => Ok(Some((name.to_owned(), ModelAt::Form(part.content)))),
        None => Err(GatewayError::invalid("model: the form must name it once, as plain text")),
    }
}

fn in_query(query: &str) -> Result<Option<String>, GatewayError> {
    let unescaped = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().map(std::borrow::Cow::into_owned)
    };
    let mut found = None;
    for pair in query.split(['&', ';']) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !unescaped(name).is_ok_and(|name| means_model(&name)) {
            continue;
        }
        let value = unescaped(value).ok().filter(|_| name == MODEL && found.is_none());
        let value = value.filter(|_| !query.contains(';'));
        let wrong = || GatewayError::invalid("model: the query must name it once, as plain text");
        found = Some(value.ok_or_else(wrong)?);
    }
    Ok(found.filter(|model| !model.is_empty()))
}

/// Whether some parser may take this for the name of the field.
fn means_model(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy();
    let name = name.split('[').next().unwrap_or_default();
    name.trim().eq_ignore_ascii_case(MODEL)
}

fn unclear(Unclear(what): Unclear) -> GatewayError {
    GatewayError::invalid(what)
}

/// Writes an answer unchanged.
#[derive(Debug, Clone, Copy)]
pub struct PassedOn {
    /// Whether the answer is lines of JSON, in which a failure is a line too: Ollama's.
    pub is_lines: bool,
}

impl Encoder for PassedOn {
    fn content_type(&self) -> &'static str {
        "application/octet-stream"
    }

    fn event(
        &mut self,
        event: ChatEvent,
        _at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        match event {
            ChatEvent::Carried(carried) => out.extend_from_slice(&carried.bytes),
            ChatEvent::Text(_)
            | ChatEvent::Reasoning(_)
            | ChatEvent::Signature(_)
            | ChatEvent::ToolCall(_)
            | ChatEvent::Logprobs(_)
            | ChatEvent::Whole(_)
            | ChatEvent::Done(_) => {}
        }
        Ok(())
    }

    fn failure(&mut self, error: &GatewayError, out: &mut Vec<u8>) {
        if self.is_lines {
            json::write(out, &json!({"error": error.message}));
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Option<&str> = Some("application/json; charset=utf-8");
    const FORM: Option<&str> = Some("multipart/form-data; boundary=x");

    fn model(content_type: Option<&str>, query: &str, body: &str) -> Result<Option<String>, ()> {
        named(content_type, query, body.as_bytes()).map(|named| named.model).or(Err(()))
    }

    fn form(fields: &[(&str, &str)]) -> String {
        let parts = fields.iter().map(|(name, value)| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        });
        parts.collect::<String>() + "--x--\r\n"
    }

    #[test]
    fn a_model_is_read_from_json_a_form_or_the_query() {
        let some = |name: &str| Ok(Some(name.to_owned()));
        let form = |fields| form(fields);
        assert_eq!(model(JSON, "", r#"{"x":{"model":"a"},"mod\u0065l":"m"}"#), some("m"));
        assert_eq!(model(None, "", r#" {"model":"m"}"#), some("m"));
        assert_eq!(model(Some("text/plain"), "", r#"{"model":"m"}"#), some("m"));
        assert_eq!(model(FORM, "", &form(&[("file", "\0"), ("model", "m/1")])), some("m/1"));
        assert_eq!(model(Some("audio/wav"), "a=1&model=m%2F1", "RIFF"), some("m/1"));
        for (content_type, body) in [
            (JSON, r#"{"model":null}"#),
            (JSON, r#"{"model":""}"#),
            (JSON, "[1]"),
            (JSON, ""),
            (Some("audio/wav"), "RIFF"),
            (None, "RIFF"),
        ] {
            assert_eq!(model(content_type, "", body), Ok(None), "{body}");
        }
        assert_eq!(model(FORM, "", &form(&[("file", "a"), ("model", "")])), Ok(None));
        let at = named(FORM, "", form(&[("model", "m")]).as_bytes()).unwrap();
        assert_eq!((at.at, at.boundary.as_deref()), (ModelAt::Form(53..54), Some("x")));
    }

    #[test]
    fn ambiguous_models_are_refused() {
        for body in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","Model":"b"}"#,
            r#"{"MODEL":"b"}"#,
            r#"{"model":1}"#,
            r#"{"model":"a""#,
        ] {
            assert_eq!(model(JSON, "", body), Err(()), "{body}");
        }
        for fields in [
            &[("model", "a"), ("model", "b")][..],
            &[("model", "a"), ("Model", "b")],
            &[("mod%65l", "a")],
            &[("model[]", "a")],
            &[(" model", "a")],
            &[("model", "a\tb")],
        ] {
            assert_eq!(model(FORM, "", &form(fields)), Err(()), "{fields:?}");
        }
        for more in ["; filename=\"a\"", "\r\nContent-Transfer-Encoding: base64"] {
            let body = form(&[("model", "a")]).replace("\"model\"", &format!("\"model\"{more}"));
            assert_eq!(model(FORM, "", &body), Err(()), "{body}");
        }
        for query in ["model=a&model=b", "mod%65l=a", "MODEL=a", "model=%ff", "model=a;model=b"] {
            assert_eq!(model(None, query, ""), Err(()), "{query}");
        }
        assert_eq!(model(JSON, "model=b", r#"{"model":"a"}"#), Err(()));
        assert_eq!(model(JSON, "model=a", r#"{"model":"a"}"#), Err(()));
    }

    #[test]
    fn every_model_that_a_management_request_names_is_found() {
        let found = |body: &str| managed(body.as_bytes()).ok();
        let two = |one: &str, other: &str| vec![one.to_owned(), other.to_owned()];
        let some = |name: &str| Some(name.to_owned());
        let copy = r#"{"source":"a","destination":"b"}"#;
        assert_eq!(found(copy), Some((some("a"), two("a", "b"))));
        let create = r#"{"from":"a","model":"b","name":""}"#;
        assert_eq!(found(create), Some((some("b"), two("b", "a"))));
        assert_eq!(found("{}"), Some((None, Vec::new())));
        for body in ["", "[]", r#"{"Model":"a"}"#, r#"{"model":"a","MODEL":"b"}"#, r#"{"name":1}"#]
        {
            assert_eq!(found(body), None, "{body}");
        }
    }
}
