//! Takes typed fields out of a JSON object and notes everything that does not fit.
//!
//! A [`Fields`] collects all problems of a request, each with its path, so that a client learns of
//! all of them at once. A field that is `null` counts as absent, as in every SDK. Integers may
//! arrive as `1.0`.
//!
//! The one thing to know: a take returns `None` both for an absent and for an invalid field; only
//! [`Fields::finish`] says whether the request is valid.

use serde_json::{Map, Value};

use crate::chat::{ErrorKind, FieldProblem, GatewayError, Origin};

/// A JSON object whose fields are taken out.
pub type Object = Map<String, Value>;

/// The problems found so far, and the path of the current object.
#[derive(Debug, Default)]
pub struct Fields {
    path: Vec<String>,
    problems: Vec<FieldProblem>,
    dropped: Vec<String>,
}

impl Fields {
    /// No problems yet, at the top of the document.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the validation.
    ///
    /// # Errors
    ///
    /// `SchemaMismatch` with every problem, if there is one. Its message is that of the first.
    pub fn finish(self) -> Result<(), GatewayError> {
        let Some(first) = self.problems.first() else { return Ok(()) };
        let message = format!("{}: {}", first.path.join("."), first.message);
        let mut error = GatewayError::new(ErrorKind::SchemaMismatch, message).from(Origin::Client);
        error.problems = self.problems;
        Err(error)
    }

    /// Notes that `key` does not fit.
    pub fn problem(&mut self, key: &str, rule: &'static str, message: impl Into<String>) {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        self.problems.push(FieldProblem { path, message: message.into(), rule });
    }

    /// Notes the name of something that is dropped because no provider can get it.
    pub fn note_dropped(&mut self, name: &str) {
        // A client's own text goes into a header.
        const MOST: usize = 64;
        let name: String = name.chars().take(MOST).collect();
        if !self.dropped.contains(&name) {
            self.dropped.push(name);
        }
    }

    /// Takes the names of what was dropped.
    pub fn take_dropped(&mut self) -> Vec<String> {
        std::mem::take(&mut self.dropped)
    }

    /// Reads something below `segment`, so that its problems carry the longer path.
    pub fn within<R>(&mut self, segment: impl ToString, read: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(segment.to_string());
        let result = read(self);
        self.path.pop();
        result
    }

    /// Takes a string.
    pub fn text(&mut self, object: &mut Object, key: &str) -> Option<String> {
        match take(object, key)? {
            Value::String(text) => Some(text),
            _ => self.unfit(key, "string_type", "Input should be a valid string"),
        }
    }

    /// Takes a string that is required.
    pub fn required_text(&mut self, object: &mut Object, key: &str) -> Option<String> {
        if self.is_missing(object, key) {
            return None;
        }
        self.text(object, key)
    }

    /// Takes a boolean.
    pub fn flag(&mut self, object: &mut Object, key: &str) -> Option<bool> {
        match take(object, key)? {
            Value::Bool(flag) => Some(flag),
            _ => self.unfit(key, "bool_type", "Input should be a valid boolean"),
        }
    }

    /// Takes a number from `low` to `high`, both included.
    pub fn number(&mut self, object: &mut Object, key: &str, low: f64, high: f64) -> Option<f64> {
        let Some(number) = take(object, key)?.as_f64() else {
            return self.unfit(key, "float_type", "Input should be a valid number");
        };
        if number < low {
            let message = format!("Input should be greater than or equal to {low}");
            return self.unfit(key, "greater_than_equal", message);
        }
        if number > high {
            let message = format!("Input should be less than or equal to {high}");
            return self.unfit(key, "less_than_equal", message);
        }
        Some(number)
    }

    /// Takes a whole number from `low` to `high`, both included.
    pub fn integer(&mut self, object: &mut Object, key: &str, low: i64, high: i64) -> Option<i64> {
        let Some(number) = whole(&take(object, key)?) else {
            return self.unfit(key, "int_type", "Input should be a valid integer");
        };
        if number < low {
            // Pydantic's message for the most common bound.
            return match low {
                1 => self.unfit(key, "greater_than", "Input should be greater than 0"),
                _ => {
                    let message = format!("Input should be greater than or equal to {low}");
                    self.unfit(key, "greater_than_equal", message)
                }
            };
        }
        if number > high {
            let message = format!("Input should be less than or equal to {high}");
            return self.unfit(key, "less_than_equal", message);
        }
        Some(number)
    }

    /// Takes a whole number that fits `u32`, from `low`.
    pub fn unsigned(&mut self, object: &mut Object, key: &str, low: u32) -> Option<u32> {
        let number = self.integer(object, key, i64::from(low), i64::from(u32::MAX))?;
        u32::try_from(number).ok()
    }

    /// Takes a list.
    pub fn list(&mut self, object: &mut Object, key: &str) -> Option<Vec<Value>> {
        match take(object, key)? {
            Value::Array(list) => Some(list),
            _ => self.unfit(key, "list_type", "Input should be a valid list"),
        }
    }

    /// Takes a required list with at least one item.
    pub fn required_list(&mut self, object: &mut Object, key: &str) -> Option<Vec<Value>> {
        if self.is_missing(object, key) {
            return None;
        }
        let list = self.list(object, key)?;
        if list.is_empty() {
            let message = "List should have at least 1 item after validation, not 0";
            return self.unfit(key, "too_short", message);
        }
        Some(list)
    }

    /// Takes an object.
    pub fn object(&mut self, object: &mut Object, key: &str) -> Option<Object> {
        match take(object, key)? {
            Value::Object(inner) => Some(inner),
            _ => self.unfit(key, "dict_type", "Input should be a valid dictionary"),
        }
    }

    /// Takes a required object.
    pub fn required_object(&mut self, object: &mut Object, key: &str) -> Option<Object> {
        if self.is_missing(object, key) {
            return None;
        }
        self.object(object, key)
    }

    /// Takes a list of strings.
    pub fn texts(&mut self, object: &mut Object, key: &str) -> Option<Vec<String>> {
        let list = self.list(object, key)?;
        let texts = list.into_iter().enumerate().filter_map(|(index, item)| match item {
            Value::String(text) => Some(text),
            _ => self.within(key, |fields| {
                fields.unfit(&index.to_string(), "string_type", "Input should be a valid string")
            }),
        });
        Some(texts.collect())
    }

    /// Returns `value`, the item `index` of the current list, as an object.
    pub fn item(&mut self, index: usize, value: Value) -> Option<Object> {
        match value {
            Value::Object(inner) => Some(inner),
            _ => self.unfit(
                &index.to_string(),
                "model_attributes_type",
                "Input should be a valid dictionary or object to extract fields from",
            ),
        }
    }

    /// Calls `read` for every object of `list`, which is the value of `key`, and notes every item
    /// that is not an object.
    pub fn each(&mut self, key: &str, list: Vec<Value>, mut read: impl FnMut(&mut Self, Object)) {
        self.within(key, |fields| {
            for (index, item) in list.into_iter().enumerate() {
                if let Some(item) = fields.item(index, item) {
                    fields.within(index, |fields| read(fields, item));
                }
            }
        });
    }

    /// Whether a required field is absent, which is noted.
    fn is_missing(&mut self, object: &Object, key: &str) -> bool {
        let missing = !object.contains_key(key);
        if missing {
            self.problem(key, "missing", "Field required");
        } else if object.get(key).is_some_and(Value::is_null) {
            self.problem(key, "none_not_allowed", "Input should not be null");
            return true;
        }
        missing
    }

    fn unfit<T>(&mut self, key: &str, rule: &'static str, message: impl Into<String>) -> Option<T> {
        self.problem(key, rule, message);
        None
    }
}

/// Takes `key` out of `object`; `null` counts as absent.
#[must_use]
pub fn take(object: &mut Object, key: &str) -> Option<Value> {
    // A swap makes the removal constant-time. The order of the remaining fields does not matter
    // until they are forwarded, and a receiver distinguishes forwarded fields by name.
    object.swap_remove(key).filter(|value| !value.is_null())
}

/// The number as an integer, if it has no fraction and fits.
fn whole(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let number = value.as_f64()?;
    // 2⁵³: larger floats do not identify one integer.
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2⁵³, checked above")]
    exact.then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        match value {
            Value::Object(object) => object,
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn null_is_absent_and_whole_floats_are_integers() {
        let mut body = object(json!({"a": null, "b": 3.0, "c": 3.5, "d": 1e300}));
        let mut fields = Fields::new();
        assert_eq!(fields.integer(&mut body, "a", 0, 9), None);
        assert_eq!(fields.integer(&mut body, "b", 0, 9), Some(3));
        assert_eq!(fields.integer(&mut body, "c", 0, 9), None);
        assert_eq!(fields.integer(&mut body, "d", 0, 9), None);
        let error = fields.finish().unwrap_err();
        let keys: Vec<_> = error.problems.iter().map(|problem| problem.path.join(".")).collect();
        assert_eq!(keys, ["c", "d"]);
    }

    #[test]
    fn all_problems_are_reported_with_their_paths() {
        let mut body = object(json!({"messages": [{"role": 1}], "temperature": 3, "n": 0}));
        let mut fields = Fields::new();
        for (index, item) in
            fields.required_list(&mut body, "messages").unwrap().into_iter().enumerate()
        {
            fields.within("messages", |fields| {
                let mut item = fields.item(index, item).unwrap();
                fields.within(index, |fields| {
                    assert_eq!(fields.required_text(&mut item, "role"), None);
                    assert_eq!(fields.required_text(&mut item, "content"), None);
                });
            });
        }
        assert_eq!(fields.number(&mut body, "temperature", 0.0, 2.0), None);
        assert_eq!(fields.unsigned(&mut body, "n", 1), None);
        let error = fields.finish().unwrap_err();
        let found: Vec<_> =
            error.problems.iter().map(|problem| (problem.path.join("."), problem.rule)).collect();
        assert_eq!(
            found,
            [
                ("messages.0.role".to_owned(), "string_type"),
                ("messages.0.content".to_owned(), "missing"),
                ("temperature".to_owned(), "less_than_equal"),
                ("n".to_owned(), "greater_than"),
            ]
        );
        assert_eq!(error.kind, ErrorKind::SchemaMismatch);
    }
}
