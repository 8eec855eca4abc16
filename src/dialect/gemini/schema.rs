//! Converts Google's form of schemas to JSON Schema.
//!
//! The one thing to know: Google's type names are in upper case, and its counts are strings.

use serde_json::{Value, json};

use super::camel;
use crate::wire::fields::Object;

/// The schema as JSON Schema. Anything but an object stays unchanged.
pub(super) fn json_schema(schema: Value) -> Value {
    match schema {
        Value::Object(fields) => Value::Object(read(fields)),
        other => other,
    }
}

fn read(fields: Object) -> Object {
    let mut fields = camel(fields);
    let is_nullable = fields.swap_remove("nullable") == Some(Value::Bool(true));
    // JSON Schema has no order of properties.
    fields.swap_remove("propertyOrdering");
    if let Some(example) = fields.swap_remove("example") {
        fields.insert("examples".to_owned(), json!([example]));
    }
    // A string with a list of values needs only `enum`.
    if fields.get("format") == Some(&json!("enum")) {
        fields.swap_remove("format");
    }
    let mut read: Object = fields.into_iter().map(field).collect();
    if read.get("type") == Some(&json!("type_unspecified")) {
        read.swap_remove("type");
    }
    if is_nullable {
        allow_null(&mut read);
    }
    read
}

fn field((name, value): (String, Value)) -> (String, Value) {
    let value = match (name.as_str(), value) {
        ("type", Value::String(kind)) => Value::String(kind.to_ascii_lowercase()),
        ("properties" | "$defs" | "defs", Value::Object(inner)) => {
            let schema = |(name, schema)| (name, json_schema(schema));
            Value::Object(inner.into_iter().map(schema).collect())
        }
        ("items" | "additionalProperties", inner) => json_schema(inner),
        ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(list)) => {
            Value::Array(list.into_iter().map(json_schema).collect())
        }
        (name, Value::String(number)) if is_count(name) => match number.parse::<u64>() {
            Ok(number) => json!(number),
            Err(_) => Value::String(number),
        },
        (_, other) => other,
    };
    (name, value)
}

fn is_count(name: &str) -> bool {
    const COUNTS: [&str; 6] =
        ["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"];
    COUNTS.contains(&name)
}

fn allow_null(schema: &mut Object) {
    if let Some(kind @ Value::String(_)) = schema.get_mut("type") {
        *kind = json!([kind.take(), "null"]);
    } else if let Some(Value::Array(list)) = schema.get_mut("anyOf") {
        list.push(json!({"type": "null"}));
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn googles_schema_becomes_a_json_schema() {
        let schema = json!({
            "type": "OBJECT",
            "properties": {
                "min_items": {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": true},
                "list": {"type": "ARRAY", "items": {"type": "INTEGER"}, "min_items": "1", "maxItems": 3},
                "any": {"any_of": [{"type": "NUMBER"}], "nullable": true, "example": 1},
            },
            "required": ["list"],
            "property_ordering": ["list"],
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "min_items": {"type": ["string", "null"], "enum": ["a", null]},
                "list": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
                "any": {"anyOf": [{"type": "number"}, {"type": "null"}], "examples": [1]},
            },
            "required": ["list"],
        });
        assert_eq!(json_schema(schema), expected);
    }
}
