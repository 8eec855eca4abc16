//! Finds the message and the codes of an error, in whatever shape it comes.
//!
//! It owns the search, because every API is also spoken by servers that keep the errors of another.
//! The `errors` module of each API decides what the codes mean.
//!
//! The one thing to know: proxies pass on the error of the server behind them as a text within
//! their own error. The innermost message helps most, so JSON within a text is read as well, and
//! the codes of every level count.

use serde_json::{Map, Value};

/// How many levels of nested errors are searched; a text within a field counts as two.
const DEPTH: u8 = 6;

/// The content of an error. Kinds and codes are in lower case, numbers as text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// The message, the innermost one if errors are nested.
    pub(super) message: String,
    /// The outermost `type`, or the field that replaces it.
    pub(super) kind: String,
    /// The outermost `code`.
    pub(super) code: String,
    /// The field of the request that is to blame.
    pub(super) param: String,
    /// All kinds and codes, including those of inner errors.
    words: String,
}

impl Report {
    /// Reads the body of an answer whose status is an error; `None` if it has no error that can be
    /// read.
    pub(super) fn of_body(body: &[u8]) -> Option<Self> {
        Self::find(&serde_json::from_slice(body).ok()?)
    }

    /// Finds the error in `{"error":{…}}`, `{"error":"…"}`, `{"errors":[…]}`, `{"detail":…}`,
    /// `{"message":…}` and similar shapes, or in a list of one; `None` if there is none.
    pub(super) fn find(body: &Value) -> Option<Self> {
        Self::at(body, DEPTH)
    }

    /// Reads the value of an `error` field; `None` if it is not an error.
    pub(super) fn of_error(error: &Value) -> Option<Self> {
        Self::find(&wrapped(error))
    }

    /// Whether one of the kinds and codes contains one of these words.
    pub(super) fn has_code(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.words.contains(word))
    }

    /// Whether the message contains one of these phrases, which are in lower case.
    pub(super) fn mentions(&self, words: &[&str]) -> bool {
        let message = self.message.to_ascii_lowercase();
        words.iter().any(|word| message.contains(word))
    }

    fn at(body: &Value, depth: u8) -> Option<Self> {
        let fields = match body {
            Value::Array(items) => return items.iter().find_map(|item| Self::at(item, depth)),
            Value::Object(fields) => fields,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
        let depth = depth.checked_sub(1)?;
        for key in ["error", "errors", "detail", "error_msg", "error_message"] {
            match fields.get(key) {
                None | Some(Value::Null | Value::Bool(false)) => {}
                Some(Value::String(text)) if text.is_empty() => {}
                Some(Value::Array(problems)) if problems.is_empty() => {}
                // Some servers put the kind beside the text.
                Some(Value::String(text)) => return Some(Self::of(fields, Some(text), depth)),
                Some(Value::Object(inner)) => return Some(Self::of(inner, None, depth)),
                Some(Value::Array(problems)) => return Some(Self::of_problems(problems, depth)),
                Some(other @ (Value::Bool(true) | Value::Number(_))) => {
                    let report = Self::of(fields, None, depth);
                    let has_words = !report.message.is_empty();
                    let message = if has_words { report.message } else { other.to_string() };
                    return Some(Self { message, ..report });
                }
            }
        }
        // MiniMax answers 200 to everything and tells here what went wrong; 0 means success.
        if let Some(told) = fields.get("base_resp").and_then(Value::as_object)
            && told.get("status_code").and_then(Value::as_i64).is_some_and(|code| code != 0)
        {
            return Some(Self::of(told, None, depth));
        }
        // A code of success is not an error.
        if fields.get("code").and_then(Value::as_i64).is_some_and(|code| matches!(code, 0 | 200)) {
            return None;
        }
        let is_error = fields.get("object").is_some_and(|object| object == "error");
        let has_message =
            ["message", "msg"].iter().any(|key| fields.get(*key).is_some_and(Value::is_string));
        (is_error || has_message && !fields.contains_key("choices"))
            .then(|| Self::of(fields, None, depth))
    }

    /// Reads an error's own fields. `told` is its message, if that is in another field.
    fn of(fields: &Map<String, Value>, told: Option<&str>, depth: u8) -> Self {
        let text = |keys: &[&str]| {
            let mut found = keys.iter().filter_map(|key| match fields.get(*key)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            });
            found.find(|text| !text.is_empty()).unwrap_or_default()
        };
        const WORDS: [&str; 6] = ["message", "msg", "error_msg", "status_msg", "detail", "error"];
        let message = with_reasons(told.map_or_else(|| text(&WORDS), ToOwned::to_owned), fields);
        // Google's endpoint has `status` instead of `type`.
        let kind = text(&["type", "status", "error_type"]).to_ascii_lowercase();
        let code = text(&["code", "error_code", "status_code"]).to_ascii_lowercase();
        let param = text(&["param"]).to_ascii_lowercase();
        let words = format!("{kind} {code}");
        let report = Self { message, kind, code, param, words };
        // OpenRouter keeps its provider's error beside a message of its own.
        let raw = fields.get("metadata").and_then(|metadata| metadata.get("raw"));
        let within = raw
            .or_else(|| fields.get("message").filter(|message| message.is_object()))
            .and_then(|inner| match inner {
                Value::String(text) => Self::within(text, depth),
                other => {
                    let inner = Self::at(other, depth).or_else(|| Self::at(&wrapped(other), depth));
                    Some((String::new(), inner?))
                }
            })
            .or_else(|| Self::within(&report.message, depth));
        match within {
            Some((before, inner)) => report.with(&before, inner),
            None => report,
        }
    }

    /// The error that a text holds as JSON, and the text before it.
    fn within(text: &str, depth: u8) -> Option<(String, Self)> {
        const MOST: usize = 3;
        let depth = depth.checked_sub(1)?;
        let text = text.trim();
        if text.starts_with('"')
            && let Ok(inner) = serde_json::from_str::<String>(text)
        {
            let plain = Self { message: inner.clone(), ..Self::default() };
            return Some(Self::within(&inner, depth).unwrap_or((String::new(), plain)));
        }
        let begins = text.char_indices().filter(|(_, letter)| matches!(letter, '{' | '['));
        begins.take(MOST).find_map(|(at, _)| {
            let (before, rest) = text.split_at(at);
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            let inner = Self::at(&values.next()?.ok()?, depth)?;
            let before = before.trim_end_matches(|letter: char| !letter.is_alphanumeric());
            (!inner.message.is_empty()).then(|| (before.to_owned(), inner))
        })
    }

    /// This error with the message of the one within it.
    fn with(self, before: &str, inner: Self) -> Self {
        let message = match before {
            "" => inner.message,
            before => format!("{before}: {}", inner.message),
        };
        let or = |own: String, inner: String| if own.is_empty() { inner } else { own };
        Self {
            message,
            kind: or(self.kind, inner.kind),
            code: or(self.code, inner.code),
            param: or(self.param, inner.param),
            words: format!("{} {}", self.words, inner.words),
        }
    }

    /// A list: FastAPI's of `{loc, msg, type}`, of other objects, or of texts.
    fn of_problems(problems: &[Value], depth: u8) -> Self {
        let is_fastapi = problems.iter().all(|problem| problem.get("loc").is_some());
        if !is_fastapi && let Some(Value::Object(first)) = problems.first() {
            return Self::of(first, None, depth);
        }
        let told = problems.iter().map(|problem| {
            if let Value::String(text) = problem {
                return text.clone();
            }
            let path = problem.get("loc").and_then(Value::as_array);
            let path = path.into_iter().flatten().map(|segment| match segment {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            let path = path.collect::<Vec<_>>().join(".");
            let told = problem.get("msg").and_then(Value::as_str).unwrap_or("does not fit");
            format!("{path}: {told}")
        });
        Self { message: told.collect::<Vec<_>>().join("; "), ..Self::default() }
    }

    /// The status that fits an error without one.
    pub(super) fn status(&self) -> u16 {
        // Problem documents have the status in place of the kind.
        let mut told = [&self.code, &self.kind].into_iter().filter_map(|word| word.parse().ok());
        if let Some(status) = told.find(|status| (400..600).contains(status)) {
            return status;
        }
        match () {
            () if self.has_code(&["rate_limit", "resource_exhausted"]) => 429,
            () if self.has_code(&["overloaded", "unavailable"]) => 503,
            () if self.has_code(&["timeout"]) => 504,
            () if self.has_code(&["authentication", "invalid_api_key"]) => 401,
            () if self.has_code(&["permission"]) => 403,
            () if self.has_code(&["not_found", "notfound"]) => 404,
            () if self.has_code(&["invalid_request", "invalid_argument", "badrequest"]) => 400,
            () => 500,
        }
    }
}

/// The message with the reasons that OpenRouter lists beside it: `input flagged (violence)`.
fn with_reasons(message: String, fields: &Map<String, Value>) -> String {
    let reasons = fields.get("metadata").and_then(|metadata| metadata.get("reasons"));
    let reasons = reasons.and_then(Value::as_array).into_iter().flatten();
    let reasons: Vec<&str> = reasons.filter_map(Value::as_str).collect();
    if reasons.is_empty() { message } else { format!("{message} ({})", reasons.join(", ")) }
}

fn wrapped(error: &Value) -> Value {
    Value::Object(Map::from_iter([("error".to_owned(), error.clone())]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(body: &Value) -> Option<String> {
        Report::find(body).map(|report| report.message)
    }

    #[test]
    fn the_message_is_found_in_every_shape() {
        for body in [
            json!({"error": {"message": "no", "code": null, "type": null}}),
            json!({"error": "no"}),
            json!([{"error": {"message": "no"}}]),
            json!({"error": {"error": "no"}}),
            json!({"error": true, "message": "no"}),
            json!({"error": 500, "msg": "no"}),
            json!({"errors": [{"code": 1, "message": "no"}], "success": false}),
            json!({"errors": ["no"]}),
            json!({"detail": "no"}),
            json!({"detail": {"message": "no"}}),
            json!({"message": "no", "error": null}),
            json!({"code": 1301, "msg": "no"}),
            json!({"error_code": 17, "error_msg": "no"}),
            json!({"base_resp": {"status_code": 1004, "status_msg": "no"}, "choices": null}),
            json!({"type": "error", "error": {"type": "api_error", "message": "no"}}),
        ] {
            assert_eq!(said(&body).as_deref(), Some("no"), "{body}");
        }
    }

    #[test]
    fn an_answer_is_no_error() {
        for body in [
            json!({"error": null, "choices": []}),
            json!({"error": "", "detail": [], "base_resp": {"status_code": 0, "status_msg": "success"}}),
            json!({"choices": [], "message": "text"}),
            json!({"usage": {}}),
            json!("text"),
            json!(1),
        ] {
            assert_eq!(Report::find(&body), None, "{body}");
        }
    }

    #[test]
    fn json_within_a_text_is_read_to_its_innermost_message() {
        let inner =
            json!({"error": {"code": 400, "type": "exceed_context_size_error", "message": "no"}});
        let twice = json!({"error": {"message": inner.to_string()}});
        for (body, words) in [
            (json!({"error": inner.to_string()}), "no"),
            (json!({"error": twice.to_string()}), "no"),
            (json!({"error": json!(inner.to_string()).to_string()}), "no"),
            (json!({"detail": inner.to_string()}), "no"),
            (json!({"error": {"message": inner}}), "no"),
            (
                json!({"error": {"message": "returned an error", "metadata": {"raw": inner.to_string()}}}),
                "no",
            ),
            (
                json!({"error": {"message": format!("from the runner: {inner}")}}),
                "from the runner: no",
            ),
        ] {
            let report = Report::find(&body).unwrap();
            assert_eq!(report.message, words, "{body}");
            assert!(report.has_code(&["exceed_context_size"]), "{body}: {report:?}");
        }
        for plain in ["a {brace} and a [b", "{}", "{\"x\": 1}", "[1, 2]", "{\"error\""] {
            assert_eq!(said(&json!({"error": plain})).as_deref(), Some(plain));
        }
    }

    #[test]
    fn nesting_is_followed_only_to_a_limit() {
        let mut text = "deep".to_owned();
        for _ in 0..12 {
            text = json!({"error": text}).to_string();
        }
        assert!(Report::of_body(text.as_bytes()).is_some());
    }
}
