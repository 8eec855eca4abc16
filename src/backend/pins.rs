//! The options of the process that runs a model, which are the operator's and the same in all
//! calls.
//!
//! Owns which options these are and the change to a call's bytes. A server of the Ollama kind loads
//! a model again, for all clients, as soon as one call differs in one of them from the call before.
//!
//! The one thing to know: saying nothing is saying something else, too. What is pinned is written
//! into every call, and what is not pinned is in none.

use serde_json::{Map, Value};

use super::UpstreamRequest;
use crate::wire::json;
use crate::wire::splice::{Edits, Outline};

/// The calls that run a model.
const RUNS: [&str; 3] = ["/api/chat", "/api/generate", "/api/embed"];

/// Options beside the context length for which a model is reloaded (`needsReload` in Ollama's
/// `server/sched.go`).
pub const OF_THE_RUNNER: [&str; 6] =
    ["num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"];

/// What is written into every call for a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pins {
    /// The context length in tokens.
    pub num_ctx: Option<u32>,
    /// How long the model stays loaded without calls.
    pub keep_alive: Option<Value>,
    /// Whether a full context is shifted. An embedding has no word for it.
    pub shift: Option<Value>,
    /// Those of [`OF_THE_RUNNER`] that the operator has set.
    pub options: Map<String, Value>,
}

impl Pins {
    /// Writes them into a call, instead of the client's values. What that changes is noted
    /// in the call's dropped fields.
    pub fn replace(&self, call: &mut UpstreamRequest) {
        self.apply(call, Manner::Replace);
    }

    /// Writes them into a call that says nothing of them.
    pub fn fill(&self, call: &mut UpstreamRequest) {
        self.apply(call, Manner::Fill);
    }

    fn apply(&self, call: &mut UpstreamRequest, manner: Manner) {
        let path = call.path.split('?').next().unwrap_or_default();
        if !RUNS.contains(&path) {
            return;
        }
        let shift = self.shift.as_ref().filter(|_| path != "/api/embed");
        let Some(outline) = Outline::read(&call.body) else { return };
        let mut pinning = Pinning { manner, edits: outline.edit(), dropped: Vec::new() };
        if manner == Manner::Replace {
            pinning.drop_other_spellings(&outline);
        }
        pinning.put(&outline, "", ("keep_alive", self.keep_alive.as_ref()));
        pinning.put(&outline, "", ("shift", shift));
        if let Some(options) = self.options(outline.get("options"), manner, &mut pinning.dropped) {
            pinning.edits.set("options", options);
        }
        let Pinning { edits, dropped, .. } = pinning;
        if !edits.is_empty() {
            call.body = edits.apply();
        }
        call.dropped.extend(dropped);
    }

    /// The options with the pins; `None` when nothing changes, or when they are no table: that is
    /// the server's to refuse.
    fn options(
        &self,
        there: Option<&[u8]>,
        manner: Manner,
        dropped: &mut Vec<String>,
    ) -> Option<Vec<u8>> {
        let there = there.filter(|there| *there != b"null").unwrap_or(b"{}");
        let outline = Outline::read(there)?;
        let mut pinning = Pinning { manner, edits: outline.edit(), dropped: Vec::new() };
        let num_ctx = self.num_ctx.map(Value::from);
        pinning.put(&outline, "options.", ("num_ctx", num_ctx.as_ref()));
        for name in OF_THE_RUNNER {
            pinning.put(&outline, "options.", (name, self.options.get(name)));
        }
        dropped.append(&mut pinning.dropped);
        (!pinning.edits.is_empty()).then(|| pinning.edits.apply())
    }
}

/// What becomes of what the call says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It is replaced.
    Replace,
    /// It stays.
    Fill,
}

/// A table that is being changed.
struct Pinning<'o, 'a> {
    manner: Manner,
    edits: Edits<'o, 'a>,
    dropped: Vec<String>,
}

impl Pinning<'_, '_> {
    /// Ollama's parser does not tell capitals from small letters here.
    fn drop_other_spellings(&mut self, outline: &Outline<'_>) {
        for name in ["keep_alive", "shift", "options"] {
            for other in outline.other_spellings(name) {
                self.edits.remove(other);
                self.dropped.push(other.to_owned());
            }
        }
    }

    /// Gives a member its value; `None`: it has none.
    fn put(&mut self, table: &Outline<'_>, prefix: &str, (name, value): (&str, Option<&Value>)) {
        let there = table.get(name).filter(|there| *there != b"null");
        match (there, value) {
            (None, None) => return,
            (Some(there), Some(value)) if is_same(there, value) => return,
            (Some(_), _) if self.manner == Manner::Fill => return,
            // The server tells its client what is wrong with it, and loads nothing.
            (Some(there), _) if !is_of_type(name, there) => return,
            (_, Some(value)) => self.edits.set(name, json::to_vec(value)),
            (Some(_), None) => self.edits.remove(name),
        }
        if there.is_some() {
            self.dropped.push(format!("{prefix}{name}"));
        }
    }
}

/// Whether the bytes are a value of the type that the server reads there.
fn is_of_type(name: &str, there: &[u8]) -> bool {
    let is_number = there.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
    match name {
        "keep_alive" => is_number || there.starts_with(b"\""),
        "shift" | "use_mmap" => matches!(there, b"true" | b"false"),
        _ => is_number,
    }
}

/// Whether the bytes say this value; `8192.0` is 8192.
fn is_same(there: &[u8], value: &Value) -> bool {
    let there: Value = serde_json::from_slice(there).unwrap_or_default();
    there == *value || there.as_f64().is_some_and(|there| value.as_f64() == Some(there))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pins(pins: &Value) -> Pins {
        let options = pins["options"].as_object().cloned().unwrap_or_default();
        Pins {
            num_ctx: pins["num_ctx"].as_u64().map(|context| u32::try_from(context).unwrap()),
            keep_alive: pins.get("keep_alive").cloned(),
            shift: pins.get("shift").cloned(),
            options,
        }
    }

    fn call(path: &str, body: &str) -> UpstreamRequest {
        let (headers, dropped) = (Vec::new(), Vec::new());
        UpstreamRequest { path: path.to_owned(), headers, body: body.into(), dropped }
    }

    fn replaced(path: &str, body: &str, by: &Value) -> (String, Vec<String>) {
        let mut call = call(path, body);
        pins(by).replace(&mut call);
        (String::from_utf8(call.body).unwrap(), call.dropped)
    }

    #[test]
    fn what_a_client_says_is_replaced_and_named_and_the_rest_keeps_its_bytes() {
        let body = r#"{ "model":"m", "options" : {"num_ctx": 4096,"temperature":1.0, "num_gpu":9},
            "keep_alive": -1, "messages":[ {"role":"user","content":"\u00e4"} ] }"#;
        let (pinned, dropped) = replaced("/api/chat", body, &json!({"num_ctx": 8192}));
        let expected = r#"{ "model":"m", "options" : {"num_ctx": 8192,"temperature":1.0},
             "messages":[ {"role":"user","content":"\u00e4"} ] }"#;
        assert_eq!(
            pinned.split_whitespace().collect::<String>(),
            expected.split_whitespace().collect::<String>()
        );
        assert_eq!(dropped, ["keep_alive", "options.num_ctx", "options.num_gpu"]);
    }

    #[test]
    fn what_is_of_no_type_that_the_server_reads_is_left_for_it_to_refuse() {
        let by = json!({"num_ctx": 8192, "options": {"num_batch": 8}});
        for options in [r#"{"num_ctx":"big","num_batch":8}"#, r#"{"num_ctx":8192,"num_batch":[]}"#]
        {
            let body = format!(r#"{{"options":{options},"keep_alive":{{}},"shift":1}}"#);
            assert_eq!(replaced("/api/chat", &body, &by), (body, Vec::new()));
        }
    }

    #[test]
    fn what_is_the_same_is_neither_changed_nor_named() {
        let by = json!({"num_ctx": 8192, "keep_alive": "5m", "options": {"num_gpu": 1}});
        let body = r#"{"options": {"num_ctx": 8192.0, "num_gpu": 1}, "keep_alive": "5m"}"#;
        assert_eq!(replaced("/api/chat", body, &by), (body.to_owned(), Vec::new()));
        let nothing = r#"{"prompt": "hi", "options": null, "keep_alive": null}"#;
        let none = json!({});
        assert_eq!(replaced("/api/generate", nothing, &none), (nothing.to_owned(), Vec::new()));
    }

    #[test]
    fn calls_that_say_nothing_get_the_pins_and_nothing_is_named() {
        let by = json!({"num_ctx": 8192, "keep_alive": -1, "shift": false,
            "options": {"num_thread": 4}});
        let (chat, dropped) = replaced("/api/chat", r#"{"model":"m"}"#, &by);
        let options = r#""options":{"num_ctx":8192,"num_thread":4}"#;
        assert_eq!(chat, format!(r#"{{"model":"m","keep_alive":-1,"shift":false,{options}}}"#));
        assert!(dropped.is_empty());
        let (embed, _) = replaced("/api/embed?x=1", r#"{"model":"m","options":null}"#, &by);
        assert_eq!(embed, format!(r#"{{"model":"m",{options},"keep_alive":-1}}"#));
    }

    #[test]
    fn other_spellings_do_not_get_by() {
        let body = r#"{"model":"m","Keep_Alive":-1,"OPTIONS":{"num_ctx":1},"Shift":false}"#;
        let (pinned, dropped) = replaced("/api/chat", body, &json!({}));
        assert_eq!(pinned, r#"{"model":"m"}"#);
        assert_eq!(dropped, ["Keep_Alive", "Shift", "OPTIONS"]);
    }

    #[test]
    fn other_calls_and_what_is_no_table_are_left_alone() {
        let by = json!({"num_ctx": 8192});
        for (path, body) in [
            ("/api/show", r#"{"model":"m"}"#),
            ("/api/chat", "[1]"),
            ("/api/chat", r#"{"options":[1]}"#),
        ] {
            assert_eq!(replaced(path, body, &by), (body.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn a_model_that_is_not_pinned_gets_what_its_client_does_not_say() {
        let pins = pins(&json!({"num_ctx": 8192, "keep_alive": "1h"}));
        let mut call = call("/api/chat", r#"{"options":{"num_ctx":4096,"num_gpu":1}}"#);
        pins.fill(&mut call);
        let filled = String::from_utf8(call.body).unwrap();
        let expected = r#"{"options":{"num_ctx":4096,"num_gpu":1},"keep_alive":"1h"}"#;
        assert_eq!((filled.as_str(), call.dropped.len()), (expected, 0));
    }
}
