//! Reading the errors of OpenAI and its imitators, in all the shapes they come.

use serde_json::Value;

use crate::backend::{Rejection, RejectionClass, blame, class_of_status, shorten};

/// Reads an answer whose status is not 2xx.
pub(super) fn read(status: u16, body: &[u8], model: &str) -> Rejection {
    let found = serde_json::from_slice::<Value>(body).ok().as_ref().and_then(Report::find);
    let class = match &found {
        Some(report) => report.class(status),
        // Not even an error in JSON: no server that knows the path answers so, a wrong base_url does.
        None if status == 404 => RejectionClass::Broken,
        None => class_of_status(status),
    };
    let said = found.map(|report| shorten(&report.message)).unwrap_or_default();
    let message = if !said.is_empty() {
        said
    } else if class == RejectionClass::UnknownModel {
        format!("model '{model}' not found")
    } else if status == 404 {
        "status 404; does base_url end in `/v1`?".to_owned()
    } else {
        format!("status {status}")
    };
    Rejection { class, message, retry_after: None }
}

/// Reads an error that comes where an answer was expected; `None` when it is none.
pub(super) fn in_band(body: &Value) -> Option<Rejection> {
    let report = Report::find(body)?;
    let class = report.class(report.status());
    let said = shorten(&report.message);
    let message = if said.is_empty() { "the provider named no reason".to_owned() } else { said };
    Some(Rejection { class, message, retry_after: None })
}

/// What an error body says.
#[derive(Debug, Default)]
struct Report {
    message: String,
    /// Lower case.
    kind: String,
    /// Lower case; numbers as text.
    code: String,
}

impl Report {
    /// Finds the error in `{"error":{…}}`, `{"error":"…"}`, `{"detail":…}`, `{"message":…}`, or a list of one.
    fn find(body: &Value) -> Option<Self> {
        let body = match body {
            Value::Array(items) => items.first()?,
            other => other,
        };
        let fields = body.as_object()?;
        for key in ["error", "detail"] {
            match fields.get(key) {
                None | Some(Value::Null | Value::Bool(false)) => {}
                Some(Value::String(text)) if text.is_empty() => {}
                Some(Value::String(text)) => {
                    // Some put the kind beside the text.
                    return Some(Self { message: text.clone(), ..Self::of(body) });
                }
                Some(inner @ Value::Object(_)) => return Some(Self::of(inner)),
                Some(Value::Array(problems)) => return Some(Self::of_problems(problems)),
                Some(other @ (Value::Bool(_) | Value::Number(_))) => {
                    let message = fields.get("message").and_then(Value::as_str);
                    let message = message.map_or_else(|| other.to_string(), ToOwned::to_owned);
                    return Some(Self { message, ..Self::of(body) });
                }
            }
        }
        let is_error = fields.get("object").is_some_and(|object| object == "error");
        let has_message = fields.get("message").is_some_and(Value::is_string);
        (is_error || has_message && !fields.contains_key("choices")).then(|| Self::of(body))
    }

    fn of(inner: &Value) -> Self {
        let text = |key: &str| match inner.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        // Google's endpoint says `status` where others say `type`.
        let kind = Some(text("type")).filter(|kind| !kind.is_empty());
        Self {
            message: with_reasons(text("message"), inner),
            kind: kind.unwrap_or_else(|| text("status")).to_ascii_lowercase(),
            code: text("code").to_ascii_lowercase(),
        }
    }

    /// FastAPI's list of `{loc, msg, type}`.
    fn of_problems(problems: &[Value]) -> Self {
        let told = problems.iter().map(|problem| {
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

    /// The status that an error without one deserves.
    fn status(&self) -> u16 {
        if let Some(status) = self.code.parse().ok().filter(|code| (400..600).contains(code)) {
            return status;
        }
        let says = |words: &[&str]| {
            words.iter().any(|word| self.kind.contains(word) || self.code.contains(word))
        };
        match () {
            () if says(&["rate_limit", "resource_exhausted"]) => 429,
            () if says(&["overloaded", "unavailable"]) => 503,
            () if says(&["timeout"]) => 504,
            () if says(&["authentication", "invalid_api_key"]) => 401,
            () if says(&["permission"]) => 403,
            () if says(&["not_found"]) => 404,
            () if says(&["invalid_request", "invalid_argument", "badrequest"]) => 400,
            () => 500,
        }
    }

    fn class(&self, status: u16) -> RejectionClass {
        let message = self.message.to_ascii_lowercase();
        let coded = |words: &[&str]| {
            words.iter().any(|word| self.code.contains(word) || self.kind.contains(word))
        };
        let said = |words: &[&str]| words.iter().any(|word| message.contains(word));
        let by_status = class_of_status(status);
        if coded(&["insufficient_quota", "credit_balance_exhausted", "billing"]) {
            return RejectionClass::QuotaExhausted;
        }
        if coded(&["content_filter", "content_policy", "responsibleaipolicy", "moderation"]) {
            return RejectionClass::ContentFilter;
        }
        if coded(&["overloaded", "slow_down"]) {
            return RejectionClass::Overloaded;
        }
        match by_status {
            RejectionClass::BadRequest if is_overflow(&self.code, &self.kind, &message) => {
                RejectionClass::ContextTooLong
            }
            RejectionClass::BadRequest | RejectionClass::Forbidden
                if coded(&["model_not_found"]) =>
            {
                RejectionClass::UnknownModel
            }
            // Google's compatible endpoint says so of a key, which is ours and not the caller's.
            RejectionClass::BadRequest
                if coded(&["invalid_api_key"])
                    || said(&["api key not valid", "api key expired"]) =>
            {
                RejectionClass::Auth
            }
            // FastAPI's and Starlette's words for a path that is not there.
            RejectionClass::UnknownModel if message == "not found" && self.kind.is_empty() => {
                RejectionClass::Broken
            }
            class => blame::refine(class, &message),
        }
    }
}

/// The message with the reasons that OpenRouter lists beside it: `input flagged (violence)`.
fn with_reasons(message: String, inner: &Value) -> String {
    let reasons = inner.pointer("/metadata/reasons").and_then(Value::as_array);
    let reasons: Vec<_> = reasons.into_iter().flatten().filter_map(Value::as_str).collect();
    if reasons.is_empty() { message } else { format!("{message} ({})", reasons.join(", ")) }
}

/// Whether the words are those for a prompt that does not fit: OpenAI, vLLM, llama.cpp, LM Studio, others.
fn is_overflow(code: &str, kind: &str, message: &str) -> bool {
    const SAID: &[&str] = &[
        "maximum context length",
        "context length exceeded",
        "exceeds the available context size",
        "context window",
        "context overflow",
        "longer than the context",
        "prompt is too long",
        "longer than the maximum model length",
    ];
    code.contains("context_length")
        || kind.contains("exceed_context_size")
        || SAID.iter().any(|words| message.contains(words))
}
