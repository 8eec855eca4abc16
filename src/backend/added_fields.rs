//! Adds an operator's own fields to the body of every chat.
//!
//! It owns the one rule: values that are there stay. Missing entries of a table are added, unless
//! the table has a `type` that says which of several things it is: a mixture of two of them would
//! be neither.

use indexmap::IndexMap;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::wire::json;

/// The body with the fields added. A body that is not a JSON object is returned as it was.
pub(super) fn add(body: Vec<u8>, fields: &Map<String, Value>) -> Vec<u8> {
    // Values stay raw: a prompt may have megabytes of pictures, and none of it is parsed.
    let Ok(mut whole) = serde_json::from_slice::<IndexMap<String, Box<RawValue>>>(&body) else {
        return body;
    };
    for (name, value) in fields {
        let added = match (whole.get(name), value) {
            (None, _) => to_raw_value(value),
            (Some(there), Value::Object(fields)) => {
                let Ok(mut there) = serde_json::from_str(there.get()) else { continue };
                fill(&mut there, fields);
                to_raw_value(&there)
            }
            (Some(_), _) => continue,
        };
        // Every value that was parsed or configured can be written.
        let Ok(added) = added else { continue };
        whole.insert(name.clone(), added);
    }
    json::to_vec(&whole)
}

fn fill(there: &mut Value, fields: &Map<String, Value>) {
    let Value::Object(table) = there else { return };
    if table.contains_key("type") {
        return;
    }
    for (name, value) in fields {
        match (table.get_mut(name), value) {
            (None, _) => {
                table.insert(name.clone(), value.clone());
            }
            (Some(inner), Value::Object(fields)) => fill(inner, fields),
            (Some(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn added(body: &Value, fields: &Value) -> Value {
        let body = add(body.to_string().into_bytes(), fields.as_object().unwrap());
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn values_that_are_there_stay_and_missing_entries_are_added() {
        let body =
            json!({ "model": "m", "options": { "temperature": 0.5, "stop": [] }, "x": null });
        let fields = json!({ "keep_alive": "30m", "x": 1, "stop": ["a"],
            "options": { "temperature": 1.0, "num_ctx": 8192, "stop": ["b"] } });
        let expected = json!({ "model": "m", "x": null, "keep_alive": "30m", "stop": ["a"],
            "options": { "temperature": 0.5, "stop": [], "num_ctx": 8192 } });
        assert_eq!(added(&body, &fields), expected);
    }

    #[test]
    fn a_table_with_a_type_is_not_mixed_with_another() {
        let body = json!({ "response_format": { "type": "json_object" } });
        let schema = json!({ "response_format": { "type": "json_schema", "json_schema": {} } });
        assert_eq!(added(&body, &schema), body);
    }

    #[test]
    fn a_body_that_is_not_an_object_is_not_changed() {
        assert_eq!(add(b"[1]".to_vec(), &Map::new()), b"[1]");
    }
}
