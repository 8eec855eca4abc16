//! Reads JSON as Go does: absent and null are the zero value, and a wrong type is refused in the
//! words of Go's decoder.
//!
//! Owns those messages, which clients print. Ignores unknown fields and anything after the first
//! JSON value, as Ollama does. Refuses an empty body with `missing request body`.

use serde_json::Value;

use super::refusal::Refusal;

/// A JSON object in a request, and the name of the Go struct for it.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    of: &'static str,
    value: &'a Value,
}

/// Parses a body.
///
/// # Errors
/// 400 if it is empty, cut off or not JSON.
pub fn parse(body: &[u8]) -> Result<Value, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Refusal::bad("missing request body"));
    }
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) if error.is_eof() => Err(Refusal::bad("unexpected EOF")),
        Some(Err(error)) => Err(Refusal::bad(syntax(body, &error))),
        None => Err(Refusal::bad("missing request body")),
    }
}

impl<'a> Fields<'a> {
    /// Reads a value as the struct `of`.
    ///
    /// # Errors
    /// 400 if it is not an object.
    pub fn new(of: &'static str, value: &'a Value) -> Result<Self, Refusal> {
        if value.is_object() {
            return Ok(Self { of, value });
        }
        let kind = kind(value);
        Err(Refusal::bad(format!("json: cannot unmarshal {kind} into Go value of type api.{of}")))
    }

    /// A field, if it is present and not null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    /// A string; empty if absent.
    ///
    /// # Errors
    /// 400 for another type.
    pub fn string(&self, name: &str) -> Result<&'a str, Refusal> {
        let read = |value: &'a Value| value.as_str().ok_or_else(|| self.wrong(name, "string"));
        self.get(name).map_or(Ok(""), read)
    }

    /// A boolean; the default if absent.
    ///
    /// # Errors
    /// 400 for another type.
    pub fn boolean(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        let read = |value: &Value| value.as_bool().ok_or_else(|| self.wrong(name, "bool"));
        self.get(name).map_or(Ok(default), read)
    }

    /// An array; empty if absent.
    ///
    /// # Errors
    /// 400 for another type.
    pub fn array(&self, name: &str, of: &str) -> Result<&'a [Value], Refusal> {
        let read = |value: &'a Value| {
            value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(name, of))
        };
        self.get(name).map_or(Ok(&[]), read)
    }

    /// The refusal of a field whose type is not `wanted`.
    pub fn wrong(&self, name: &str, wanted: &str) -> Refusal {
        let kind = self.value.get(name).map_or("null", kind);
        let of = self.of;
        Refusal::bad(format!(
            "json: cannot unmarshal {kind} into Go struct field {of}.{name} of type {wanted}"
        ))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Describes a syntax error as Go does, by the wrong character and not its position.
fn syntax(body: &[u8], error: &serde_json::Error) -> String {
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1));
    let at = line.and_then(|line| line.get(error.column().saturating_sub(1)));
    match at {
        Some(byte) if byte.is_ascii_graphic() => {
            format!("invalid character '{}' looking for beginning of value", char::from(*byte))
        }
        Some(_) | None => "invalid character in JSON text".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &[u8]) -> String {
        parse(body).expect_err("refused").text
    }

    #[test]
    fn bodies_that_are_not_json_are_refused_in_the_decoders_words() {
        assert_eq!(refused(b""), "missing request body");
        assert_eq!(refused(b"  \n"), "missing request body");
        assert_eq!(refused(b"{\"model\":"), "unexpected EOF");
        assert_eq!(refused(b"hello"), "invalid character 'h' looking for beginning of value");
        assert_eq!(refused(b"\xff\xfe"), "invalid character in JSON text");
        assert!(parse(b"{} trailing").is_ok());
        assert!(parse(&[b'['; 100_000]).is_err());
    }

    #[test]
    fn a_wrong_type_is_named_as_go_names_it() {
        let value = serde_json::json!({"content": [1], "stream": null});
        let fields = Fields::new("ChatRequest.messages", &value).expect("an object");
        assert_eq!(
            fields.string("content").expect_err("refused").text,
            "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of \
             type string"
        );
        assert_eq!(fields.boolean("stream", true), Ok(true));
        assert!(Fields::new("ChatRequest", &serde_json::json!(3)).is_err());
    }
}
