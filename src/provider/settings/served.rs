//! `[providers.NAME.models]`: which models a provider serves, and how it runs them.
//!
//! Owns both spellings: a list of patterns, or a table of settings by patterns, with which all
//! models are served. Refuses unknown settings; ranges are checked when the configuration is
//! loaded.
//!
//! The one thing to know: one entry of the table counts for a model, and the others not at all. An
//! exact name comes before a pattern, a longer pattern before a shorter.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wildmatch::WildMatch;

use crate::chat::Naming;

/// `models`: a list of patterns, or a table of settings by patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedModels {
    globs: Vec<String>,
    settings: BTreeMap<String, ModelSettings>,
}

/// `[providers.NAME.models."PATTERN"]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// Calls for one of these models at one time, 1 to 100 000. Default: as many as the provider's
    /// own limit allows, or what Ollama runs of a model's kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<u32>,
    /// The context length that the model is loaded with, in tokens, 4 or more; for `ollama` only.
    /// Default: the largest that a request has asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_ctx: Option<u32>,
    /// The largest context length that requests may have it loaded with; for `ollama` only. Default
    /// 32768.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_num_ctx: Option<u32>,
    /// How long it stays loaded without calls; for `ollama` only. Default: what the server does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<KeepAlive>,
    /// Whether the options with which it is loaded are the operator's alone; for `ollama` only.
    /// Default: yes where loads are scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<bool>,
}

/// `keep_alive`: seconds, or a duration in the server's own words, which any negative one makes
/// endless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum KeepAlive {
    /// So many seconds.
    Seconds(i64),
    /// As `"30m"`.
    Text(String),
}

/// The units of a duration as Go, and so Ollama, reads it.
const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];

impl ServedModels {
    /// Patterns of the names of the models that are served.
    #[must_use]
    pub fn globs(&self) -> &[String] {
        &self.globs
    }

    /// The settings by patterns; empty where `models` is a list.
    #[must_use]
    pub fn settings(&self) -> &BTreeMap<String, ModelSettings> {
        &self.settings
    }

    /// The settings of this model; `None` where nothing is written for it.
    #[must_use]
    pub fn of(&self, model: &str, naming: Naming) -> Option<&ModelSettings> {
        let matches = |pattern: &str| {
            let pattern = WildMatch::new(pattern);
            naming.any(model, |name| pattern.matches(name))
        };
        let own = self.settings.iter().filter(|(pattern, _)| matches(pattern));
        let own = own.max_by_key(|(pattern, _)| (!pattern.contains(['*', '?']), pattern.len()));
        own.map(|(_, settings)| settings)
    }
}

impl Default for ServedModels {
    fn default() -> Self {
        Self::from(vec!["*".to_owned()])
    }
}

impl From<Vec<String>> for ServedModels {
    fn from(globs: Vec<String>) -> Self {
        Self { globs, settings: BTreeMap::new() }
    }
}

impl From<BTreeMap<String, ModelSettings>> for ServedModels {
    fn from(settings: BTreeMap<String, ModelSettings>) -> Self {
        Self { settings, ..Self::default() }
    }
}

impl KeepAlive {
    /// What is wrong with it, and what would be right.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let is_right = match self {
            Self::Seconds(_) => true,
            Self::Text(text) => is_duration(text),
        };
        (!is_right).then_some("write seconds, or a duration as in \"30m\"; -1: it stays for ever")
    }

    /// The same as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Seconds(seconds) => (*seconds).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

/// Whether Go's `time.ParseDuration` takes it.
fn is_duration(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let number = number.strip_prefix('.').unwrap_or(number);
        let after = number.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let is_number = rest.len() - after.len() > 0 && !rest.starts_with('.');
        let unit = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit);
        if !is_number || !UNITS.contains(&unit) {
            return false;
        }
        rest = next;
    }
    !text.is_empty()
}

impl Serialize for ServedModels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.settings.is_empty() {
            self.globs.serialize(serializer)
        } else {
            self.settings.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ServedModels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListOrTable)
    }
}

impl<'de> Deserialize<'de> for KeepAlive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsOrText)
    }
}

struct ListOrTable;

impl<'de> de::Visitor<'de> for ListOrTable {
    type Value = ServedModels;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(r#"a list, as in ["a", "b"], or a table of settings by model"#)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ServedModels, A::Error> {
        Vec::<String>::deserialize(SeqAccessDeserializer::new(list)).map(ServedModels::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<ServedModels, A::Error> {
        let table = MapAccessDeserializer::new(table);
        BTreeMap::<String, ModelSettings>::deserialize(table).map(ServedModels::from)
    }
}

struct SecondsOrText;

impl de::Visitor<'_> for SecondsOrText {
    type Value = KeepAlive;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(r#"seconds, or a duration as in "30m""#)
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<KeepAlive, E> {
        Ok(KeepAlive::Seconds(seconds))
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<KeepAlive, E> {
        let whole = i64::try_from(seconds);
        whole
            .map(KeepAlive::Seconds)
            .or(Err(E::invalid_value(Unexpected::Unsigned(seconds), &self)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<KeepAlive, E> {
        Ok(KeepAlive::Text(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(written: &serde_json::Value) -> Result<ServedModels, String> {
        serde_json::from_value(written.clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_and_a_table_are_read_and_written_back() {
        let list = json!(["a", "b*"]);
        let models = read(&list).unwrap();
        assert_eq!((models.globs(), json!(models)), (&["a".to_owned(), "b*".to_owned()][..], list));
        let table = json!({"a": {"num_ctx": 8192, "keep_alive": "30m"}, "b*": {"keep_alive": -1}});
        let models = read(&table).unwrap();
        assert_eq!((models.globs(), json!(models)), (&["*".to_owned()][..], table));
        assert_eq!(read(&json!({})).unwrap(), ServedModels::default());
    }

    #[test]
    fn nothing_else_is_read() {
        for (written, said) in [
            (json!("a"), "a list, as in"),
            (json!({"a": 1}), "ModelSettings"),
            (json!({"a": {"num_cxt": 1}}), "unknown field `num_cxt`"),
            (json!({"a": {"keep_alive": true}}), "seconds, or a duration"),
        ] {
            let error = read(&written).unwrap_err();
            assert!(error.contains(said), "{written}: {error}");
        }
    }

    #[test]
    fn exact_names_come_first_and_then_longer_patterns() {
        let table = json!({"*": {"num_ctx": 1}, "qwen*": {"num_ctx": 2}, "qwen3": {"num_ctx": 3},
            "qwen3:*b": {"num_ctx": 4}});
        let models = read(&table).unwrap();
        let of = |model: &str| models.of(model, Naming::Tagged).and_then(|it| it.num_ctx);
        for (model, settings) in
            [("llama3.1", 1), ("qwen2.5", 2), ("qwen3", 3), ("qwen3:latest", 3), ("qwen3:8b", 4)]
        {
            assert_eq!(of(model), Some(settings), "{model}");
        }
        assert_eq!(read(&json!(["*"])).unwrap().of("a", Naming::Tagged), None);
    }

    #[test]
    fn durations_are_go_s() {
        for right in ["0", "10s", "-1s", "1h30m", "1.5h", "0.5ms", "+3m"] {
            assert_eq!(KeepAlive::Text(right.to_owned()).problem(), None, "{right}");
        }
        for wrong in ["", "-1", "10", "s", "1 h", "1d", "ten", "-", "1h30"] {
            assert!(KeepAlive::Text(wrong.to_owned()).problem().is_some(), "{wrong}");
        }
        assert_eq!(KeepAlive::Seconds(-1).problem(), None);
    }
}
