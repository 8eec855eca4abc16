//! Makes a small valid instance of a JSON Schema, for structured output and tool arguments.
//!
//! Owns the choice of values. Understands `type`, `properties`, `required`, `items`, `prefixItems`,
//! `enum`, `const`, `anyOf`, `oneOf`, `allOf`, local `$ref`, the common bounds and string formats.
//! Numbers and plain strings come from the clues if the next one fits. Refuses to solve `pattern`,
//! `not`, `if`, `uniqueItems` and similar keywords: instances of such schemas may be invalid, as a
//! real model's may be. A schema without `required` gets all its properties: an empty object would
//! be valid too, but would show nothing.

use serde_json::{Map, Value, json};

use super::clue::Clues;

/// The deepest nesting; below it, and beyond the budget of values, everything is null.
const DEEPEST: usize = 24;
/// The most values in one instance, where every 64 bytes of names and fixed values count as one
/// more: schemas can branch exponentially, and repeat long texts.
const MOST_VALUES: usize = 4096;
/// The longest string or array that a bound can require.
const LONGEST: u64 = 1024;

/// Makes the instance. Any JSON is accepted as a schema and always has a result; endless recursion
/// is cut off with null.
pub fn instance(schema: &Value) -> Value {
    instance_from(schema, Clues::default())
}

/// Makes the instance, with clues as its numbers and strings while there are any.
pub fn instance_from(schema: &Value, clues: Clues) -> Value {
    Maker { root: schema, left: MOST_VALUES, clues }.make(schema, 0)
}

struct Maker<'a> {
    root: &'a Value,
    left: usize,
    clues: Clues,
}

impl<'a> Maker<'a> {
    fn make(&mut self, schema: &'a Value, depth: usize) -> Value {
        if depth > DEEPEST || self.left == 0 {
            return Value::Null;
        }
        self.spend(0);
        let one_of = schema.get("enum").and_then(|choices| choices.get(0));
        if let Some(fixed) = schema.get("const").or(one_of) {
            self.spend(fixed.to_string().len());
            return fixed.clone();
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = self.root.pointer(target.strip_prefix('#').unwrap_or("?"));
            return target.map_or(Value::Null, |found| self.make(found, depth + 1));
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.all_of(schema, parts, depth);
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(first) = schema.get(choice).and_then(|it| it.get(0)) {
                return self.make(first, depth + 1);
            }
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => string(schema, &mut self.clues),
            "integer" | "number" => number(schema, &mut self.clues),
            "boolean" => json!(true),
            _ => Value::Null,
        }
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> Value {
        let mut made = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let required = schema.get("required").and_then(Value::as_array);
        let names: Vec<&str> = match required {
            Some(names) => names.iter().filter_map(Value::as_str).collect(),
            None => properties.into_iter().flat_map(Map::keys).map(String::as_str).collect(),
        };
        for name in names {
            if self.left == 0 {
                break;
            }
            self.spend(name.len());
            let inner = properties.and_then(|it| it.get(name)).unwrap_or(&Value::Null);
            made.insert(name.to_owned(), self.make(inner, depth + 1));
        }
        Value::Object(made)
    }

    fn array(&mut self, schema: &'a Value, depth: usize) -> Value {
        let fixed = schema.get("prefixItems").and_then(Value::as_array);
        let least = bound(schema, "minItems").unwrap_or(0).min(LONGEST);
        let fixed = fixed.into_iter().flatten().take(self.left);
        let mut made: Vec<Value> = fixed.map(|inner| self.make(inner, depth + 1)).collect();
        let inner = schema.get("items").unwrap_or(&Value::Null);
        while (made.len() as u64) < least && self.left > 0 {
            made.push(self.make(inner, depth + 1));
        }
        Value::Array(made)
    }

    /// Joins the parts if they are objects; otherwise takes the first part that is not null.
    fn all_of(&mut self, schema: &'a Value, parts: &'a [Value], depth: usize) -> Value {
        let mut joined = Map::new();
        let own = schema.get("properties").is_some().then(|| self.object(schema, depth));
        let parts = parts.iter().take(self.left);
        let made: Vec<Value> = parts.map(|part| self.make(part, depth + 1)).collect();
        let other = made.iter().find(|it| !it.is_object() && !it.is_null()).cloned();
        for object in made.into_iter().chain(own) {
            if let Value::Object(fields) = object {
                joined.extend(fields);
            }
        }
        other.unwrap_or(Value::Object(joined))
    }

    fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(1 + bytes / 64);
    }
}

/// The type that a schema requires: the first that is not null, else the one that its keywords
/// imply.
fn kind(schema: &Value) -> &str {
    let named = match schema.get("type") {
        Some(Value::String(name)) => Some(name.as_str()),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null")
        }
        _ => None,
    };
    let implied = || match schema {
        Value::Object(fields) if fields.contains_key("properties") => "object",
        Value::Object(fields) if fields.contains_key("items") => "array",
        _ => "string",
    };
    named.unwrap_or_else(implied)
}

fn string(schema: &Value, clues: &mut Clues) -> Value {
    let fits = |quote: &str| {
        let length = quote.chars().count() as u64;
        let least = bound(schema, "minLength").is_none_or(|least| length >= least);
        let most = bound(schema, "maxLength").is_none_or(|most| length <= most);
        schema.get("format").is_none() && schema.get("pattern").is_none() && least && most
    };
    if let Some(quote) = clues.next_quote(fits) {
        return json!(quote);
    }
    let sample = match schema.get("format").and_then(Value::as_str) {
        Some("date") => "2026-01-15",
        Some("time") => "09:30:00Z",
        Some("date-time") => "2026-01-15T09:30:00Z",
        Some("duration") => "PT1H",
        Some("email") => "someone@example.com",
        Some("uri" | "url") => "https://example.com/",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        _ => "example",
    };
    let least = usize::try_from(bound(schema, "minLength").unwrap_or(0).min(LONGEST)).unwrap_or(0);
    let most = bound(schema, "maxLength").and_then(|most| usize::try_from(most).ok());
    let padded = sample.chars().chain(std::iter::repeat_n('.', least.saturating_sub(sample.len())));
    json!(padded.take(most.unwrap_or(usize::MAX)).collect::<String>())
}

fn number(schema: &Value, clues: &mut Clues) -> Value {
    let limit = |name| schema.get(name).and_then(Value::as_f64);
    let least = limit("minimum").or_else(|| limit("exclusiveMinimum").map(|least| least + 1.0));
    let most = limit("maximum").or_else(|| limit("exclusiveMaximum").map(|most| most - 1.0));
    let step = limit("multipleOf").filter(|step| *step > 0.0);
    let is_integer = kind(schema) == "integer";
    let fits = |number: f64| {
        least.is_none_or(|least| number >= least)
            && most.is_none_or(|most| number <= most)
            && step.is_none_or(|step| number % step == 0.0)
            && !(is_integer && number.fract() != 0.0)
    };
    if let Some(number) = clues.next_number(fits) {
        return written(number, is_integer);
    }
    let mut value = 1.0_f64;
    value = most.map_or(value, |most| value.min(most));
    value = least.map_or(value, |least| value.max(least));
    value = step.map_or(value, |step| (value / step).ceil() * step);
    written(value, is_integer)
}

fn written(value: f64, is_integer: bool) -> Value {
    if is_integer || value.fract() == 0.0 {
        // Saturates beyond the range of an integer, where any number is as good.
        return json!(value.ceil() as i64);
    }
    json!(value)
}

fn bound(schema: &Value, name: &str) -> Option<u64> {
    schema.get(name).and_then(Value::as_u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_are_filled_by_type() {
        let schema = json!({"type": "object", "required": ["name", "age", "tags", "at", "ok"],
            "properties": {
                "name": {"type": "string"},
                "age": {"type": "integer", "minimum": 18},
                "tags": {"type": "array", "items": {"enum": ["red", "blue"]}, "minItems": 2},
                "at": {"type": ["null", "object"], "properties": {"x": {"type": "number"}}},
                "ok": {"type": "boolean"},
                "left_out": {"type": "string"}}});
        let expected = json!({"name": "example", "age": 18, "tags": ["red", "red"],
            "at": {"x": 1}, "ok": true});
        assert_eq!(instance(&schema), expected);
    }

    #[test]
    fn references_choices_and_unions_are_followed() {
        let schema = json!({"$defs": {"day": {"const": "monday"}}, "allOf": [
            {"type": "object", "properties": {"day": {"$ref": "#/$defs/day"}}},
            {"type": "object", "properties": {"size": {"anyOf": [{"type": "integer"}]}}}]});
        assert_eq!(instance(&schema), json!({"day": "monday", "size": 1}));
    }

    #[test]
    fn bounds_are_kept() {
        assert_eq!(instance(&json!({"type": "string", "maxLength": 3})), json!("exa"));
        assert_eq!(instance(&json!({"type": "string", "minLength": 9})), json!("example.."));
        assert_eq!(instance(&json!({"type": "number", "maximum": 0.5})), json!(0.5));
        assert_eq!(instance(&json!({"type": "integer", "minimum": 3, "multipleOf": 5})), json!(5));
    }

    #[test]
    fn clues_fill_the_values_that_they_fit_in_order() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "integer"}, "b": {"type": "integer", "maximum": 5}, "c": {"type": "number"},
            "d": {"type": "string"}, "e": {"type": "string", "format": "date"}, "f": {"type": "string"}}});
        let clues = Clues::in_message("3 and 7.5 of 'one', 'two'");
        let expected = json!({"a": 3, "b": 1, "c": 7.5, "d": "one", "e": "2026-01-15", "f": "two"});
        assert_eq!(instance_from(&schema, clues), expected);
    }

    #[test]
    fn endless_and_branching_recursion_is_cut_off() {
        let endless = json!({"$ref": "#"});
        assert_eq!(instance(&endless), Value::Null);
        let names: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
        let inner: Map<String, Value> =
            names.iter().map(|name| (name.clone(), json!({"$ref": "#"}))).collect();
        let made = instance(&json!({"type": "object", "properties": inner}));
        assert!(made.to_string().len() < 200_000);
    }

    #[test]
    fn any_json_has_an_instance() {
        for odd in [
            json!(null),
            json!(3),
            json!([]),
            json!({"type": 7}),
            json!({"enum": []}),
            json!({"type": "array", "minItems": 99_999_999_u64}),
            json!({"$ref": "nowhere"}),
        ] {
            let _ = instance(&odd).to_string();
        }
        assert_eq!(instance(&json!({"type": "number", "minimum": 1e300})), json!(i64::MAX));
    }
}
