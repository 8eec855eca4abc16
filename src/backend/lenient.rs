//! Reads the fields of answers as providers write them, even if they deviate from the API.
//!
//! It owns the deviations of all kinds of providers: `null` for a missing value, counts as texts or
//! with a fraction, arguments as JSON or as its text, content as a text or in parts. It rejects
//! content that is neither, because output must not get lost.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A part of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OutputPart {
    Text(String),
    Reasoning(String),
}

/// Reads a count however it is written; any other value is unknown.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(as_count(&Value::deserialize(deserializer)?))
}

/// A count however it is written.
pub(super) fn as_count(value: &Value) -> Option<u64> {
    match value {
        // A float's decimal digits are parsed rather than cast, so that no number is rounded.
        Value::Number(number) => number.as_u64().or_else(|| whole(&number.to_string())),
        Value::String(text) => whole(text.trim()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number without a fraction, or with a fraction of zeros.
fn whole(text: &str) -> Option<u64> {
    let (number, fraction) = text.split_once('.').unwrap_or((text, ""));
    fraction.bytes().all(|digit| digit == b'0').then(|| number.parse().ok()).flatten()
}

/// Reads a text; any other value, or an empty text, counts as missing.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    })
}

/// Reads a word, or the `type` of an object.
pub(super) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Object(fields) => match fields.get("type") {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        },
        _ => None,
    })
}

/// Reads a list; `null` counts as an empty one, and a `null` entry is skipped.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list = Option::<Vec<Option<T>>>::deserialize(deserializer)?;
    Ok(list.into_iter().flatten().flatten().collect())
}

/// Reads an optional field; a value of another shape counts as missing.
pub(super) fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// Reads the arguments of a call as the text of JSON, whether they are that text or the JSON
/// itself.
pub(super) fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let raw = Option::<Box<RawValue>>::deserialize(deserializer)?;
    let Some(raw) = raw else { return Ok(String::new()) };
    let json = raw.get();
    if !json.starts_with('"') {
        return Ok(json.to_owned());
    }
    serde_json::from_str(json).map_err(serde::de::Error::custom)
}

/// Reads content: a text, or parts, some of which may be thinking.
pub(super) fn content<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<OutputPart>, D::Error> {
    let mut said = Vec::new();
    match Value::deserialize(deserializer)? {
        Value::Null => {}
        Value::String(text) => push(OutputPart::Text(text), &mut said),
        Value::Array(parts) => parts.into_iter().for_each(|each| part(each, false, &mut said)),
        one @ Value::Object(_) => part(one, false, &mut said),
        Value::Bool(_) | Value::Number(_) => {
            return Err(serde::de::Error::custom("content that is neither a text nor parts"));
        }
    }
    Ok(said)
}

/// Reads the thinking beside the content: a text, or parts.
pub(super) fn reasoning<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let mut said = Vec::new();
    match Value::deserialize(deserializer)? {
        Value::String(text) => return Ok(text),
        Value::Array(parts) => parts.into_iter().for_each(|each| part(each, true, &mut said)),
        one @ Value::Object(_) => part(one, true, &mut said),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    let texts = said.into_iter().map(|said| match said {
        OutputPart::Text(text) | OutputPart::Reasoning(text) => text,
    });
    Ok(texts.collect())
}

/// Reads a part. Everything within thinking is thinking.
fn part(value: Value, thinks: bool, said: &mut Vec<OutputPart>) {
    let mut fields = match value {
        Value::Object(fields) => fields,
        Value::String(text) => {
            return push(
                if thinks { OutputPart::Reasoning(text) } else { OutputPart::Text(text) },
                said,
            );
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => return,
    };
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    let thinks = thinks || kind.contains("think") || kind.contains("reason");
    // Mistral sends thinking in parts of its own, OpenAI's newer API sends refusals in parts,
    // OpenRouter sends summaries.
    for key in ["thinking", "reasoning", "summary", "text", "refusal", "content"] {
        let thinks = thinks || matches!(key, "thinking" | "reasoning" | "summary");
        match fields.swap_remove(key) {
            Some(Value::Array(parts)) => {
                return parts.into_iter().for_each(|inner| part(inner, thinks, said));
            }
            Some(text @ Value::String(_)) => return part(text, thinks, said),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {}
        }
    }
}

fn push(part: OutputPart, said: &mut Vec<OutputPart>) {
    let (OutputPart::Text(text) | OutputPart::Reasoning(text)) = &part;
    if !text.is_empty() {
        said.push(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Deserialize)]
    struct Fields {
        #[serde(default, deserialize_with = "content")]
        content: Vec<OutputPart>,
        #[serde(default, deserialize_with = "arguments")]
        arguments: String,
        #[serde(default, deserialize_with = "count")]
        count: Option<u64>,
        #[serde(default, deserialize_with = "list")]
        list: Vec<String>,
        #[serde(default, deserialize_with = "word")]
        word: Option<String>,
        #[serde(default, deserialize_with = "reasoning")]
        reasoning: String,
    }

    fn read(fields: Value) -> Fields {
        // Parsed from a text, as on the wire.
        serde_json::from_str(&fields.to_string()).unwrap()
    }

    #[test]
    fn null_counts_as_missing_everywhere() {
        let fields = ["content", "arguments", "count", "list", "word", "reasoning"];
        let nulls = fields.into_iter().map(|name| (name.to_owned(), Value::Null)).collect();
        let read = read(Value::Object(nulls));
        assert!(read.content.is_empty() && read.arguments.is_empty() && read.list.is_empty());
        assert_eq!((read.count, read.word, read.reasoning.as_str()), (None, None, ""));
    }

    #[test]
    fn content_is_a_text_or_parts_and_thinking_is_separated() {
        let text = |text: &str| OutputPart::Text(text.into());
        let thought = |text: &str| OutputPart::Reasoning(text.into());
        let thinking = json!({"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]});
        for (content, expected) in [
            (json!("a"), vec![text("a")]),
            (json!(""), vec![]),
            (
                json!([{"type": "text", "text": "a"}, {"type": "output_text", "text": "b"}]),
                vec![text("a"), text("b")],
            ),
            (json!([thinking, {"type": "text", "text": "a"}]), vec![thought("hm"), text("a")]),
            (json!([{"type": "thinking", "thinking": "hm", "closed": true}]), vec![thought("hm")]),
            (json!([{"type": "refusal", "refusal": "no"}]), vec![text("no")]),
            (json!([{"type": "reference", "reference_ids": [1]}, null, "a"]), vec![text("a")]),
            (json!({"type": "text", "text": "a"}), vec![text("a")]),
        ] {
            assert_eq!(read(json!({ "content": content })).content, expected, "{content}");
        }
        assert!(serde_json::from_str::<Fields>("{\"content\": 1}").is_err());
    }

    #[test]
    fn thinking_in_details_is_read() {
        let details = json!([{"type": "reasoning.text", "text": "h", "signature": null},
            {"type": "reasoning.summary", "summary": "m"}, {"type": "reasoning.encrypted", "data": "x"}]);
        assert_eq!(read(json!({ "reasoning": details })).reasoning, "hm");
    }

    #[test]
    fn arguments_are_json_or_its_text_and_never_encoded_twice() {
        for (arguments, expected) in [
            (json!({"x": 1}), "{\"x\":1}"),
            (json!("{\"x\": 1}"), "{\"x\": 1}"),
            (json!(""), ""),
            (Value::Null, ""),
        ] {
            assert_eq!(read(json!({ "arguments": arguments })).arguments, expected);
        }
    }

    #[test]
    fn counts_may_be_texts_or_have_a_fraction_of_zeros() {
        for (count, expected) in [
            (json!(3), Some(3)),
            (json!(3.0), Some(3)),
            (json!("4"), Some(4)),
            (json!("4.0"), Some(4)),
            (json!(3.5), None),
            (json!(-1), None),
            (json!(1e300), None),
            (json!({}), None),
        ] {
            assert_eq!(read(json!({ "count": count })).count, expected, "{count}");
        }
    }

    #[test]
    fn a_reason_may_be_an_object() {
        assert_eq!(
            read(json!({"word": {"type": "abort", "message": "x"}})).word.as_deref(),
            Some("abort")
        );
        assert_eq!(read(json!({"list": [null, "a"]})).list, ["a"]);
    }
}
