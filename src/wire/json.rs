//! Reads and writes JSON, with two rules beyond serde_json's own.
//!
//! Reading rejects an object with a duplicate key: parsers disagree on which one counts, and a
//! request must mean the same to the gateway, to a proxy before it and to the provider after it.
//! serde_json itself rejects nesting deeper than 128.
//!
//! Writing escapes U+0085, U+2028 and U+2029. They are legal in JSON, but Python's `splitlines`
//! treats them as line ends, so that a client that reads lines would cut a document in two.

use std::fmt;
use std::io;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};
use serde_json::{Map, Number, Value};

use crate::chat::GatewayError;

/// Reads a request body that must be one JSON object.
///
/// # Errors
///
/// `InvalidRequest` if it is not JSON, nests too deeply, is not an object, or has a duplicate key.
pub fn read_object(body: &[u8]) -> Result<Map<String, Value>, GatewayError> {
    match serde_json::from_slice::<Unique>(body) {
        Ok(Unique(Value::Object(object))) => Ok(object),
        Ok(Unique(_)) => Err(GatewayError::invalid("the body must be a JSON object")),
        Err(error) => {
            let place = format!("line {} column {}", error.line(), error.column());
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            Err(GatewayError::invalid(format!("the body is not valid JSON: {what} at {place}")))
        }
    }
}

/// Appends `value` as compact JSON.
///
/// Callers pass only types whose serialisation cannot fail; if one fails nevertheless, nothing is
/// appended.
pub fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    let before = out.len();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, LineSafe);
    if value.serialize(&mut serializer).is_err() {
        out.truncate(before);
    }
}

/// `value` as compact JSON.
#[must_use]
pub fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, value);
    out
}

/// Writes pairs as the fields of an object, in their order, for serde's `serialize_with`.
///
/// # Errors
///
/// Those of the serializer.
pub fn entries<S: Serializer>(fields: &[(&str, &Value)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().copied())
}

/// Compact JSON without raw U+0085, U+2028 and U+2029.
struct LineSafe;

impl Formatter for LineSafe {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Both lead bytes are rare; most fragments are written unchanged.
        if !fragment.bytes().any(|byte| matches!(byte, 0xC2 | 0xE2)) {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(['\u{85}', '\u{2028}', '\u{2029}']) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut characters = from.chars();
            if let Some(separator) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(separator))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// A JSON value without duplicate keys in any object.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                let shown: String = key.chars().take(64).collect();
                return Err(A::Error::custom(format_args!("the key `{shown}` appears twice")));
            }
            let Unique(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ErrorKind;
    use proptest::prelude::*;

    fn refusal(body: &str) -> String {
        let error = read_object(body.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
        error.message.into_owned()
    }

    #[test]
    fn anything_but_one_object_is_refused_with_the_position() {
        assert_eq!(
            refusal("{\"a\":1,\n}"),
            "the body is not valid JSON: trailing comma at line 2 column 1"
        );
        assert_eq!(refusal("[1]"), "the body must be a JSON object");
        assert!(refusal("").starts_with("the body is not valid JSON: EOF"));
        assert!(refusal("{} {}").contains("trailing characters"));
    }

    #[test]
    fn a_duplicate_key_is_refused_at_any_depth() {
        assert!(refusal(r#"{"model":"a","model":"b"}"#).contains("the key `model` appears twice"));
        assert!(refusal(r#"{"x":[{"role":"user","r\u006fle":"system"}]}"#).contains("`role`"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let bomb = "[".repeat(100_000);
        assert!(refusal(&format!("{{\"a\":{bomb}")).contains("recursion limit"));
    }

    #[test]
    fn line_separators_are_written_as_escapes() {
        let written = to_vec(&"a\u{85}é\u{2028}\u{2029}“b”");
        assert_eq!(written, "\"a\\u0085é\\u2028\\u2029“b”\"".as_bytes());
    }

    proptest! {
        #[test]
        fn written_text_reads_back_and_has_no_line_ends(text in ".*") {
            let written = to_vec(&text);
            prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
            let written = String::from_utf8(written).unwrap();
            let has_separator = written.contains(['\u{85}', '\u{2028}', '\u{2029}', '\n', '\r']);
            prop_assert!(!has_separator);
        }
    }
}
