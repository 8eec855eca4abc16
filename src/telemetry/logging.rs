//! The destination and format of log lines: text for people, one JSON object per line for machines.
//!
//! `RUST_LOG` selects levels and targets. Without it, lines from `info` upwards are written, and of
//! actix's start and stop messages only warnings. Everything goes to standard error, panics too.

use std::io::{self, Write};

use env_logger::fmt::Formatter;
use log::Record;
use log::kv::{self, Key, Value, VisitSource, VisitValue};
use serde_json::{Map, Value as Json};

use super::settings::{LogFormat, LogSettings};

/// The filter without `RUST_LOG`.
const DEFAULT_FILTER: &str = "info,actix_server=warn,actix_http=off";

/// Starts logging for the process. `filter` is the value of `RUST_LOG`; an empty one counts as
/// unset. A second call changes nothing.
pub fn start(settings: &LogSettings, filter: Option<&str>) {
    let mut builder = env_logger::Builder::new();
    let filter = filter.filter(|filter| !filter.is_empty());
    builder.parse_filters(filter.unwrap_or(DEFAULT_FILTER));
    match settings.format {
        LogFormat::Text => builder.format(write_text),
        LogFormat::Json => builder.format(write_json),
    };
    // An error means that logging was already started, as in tests.
    if builder.try_init().is_err() {
        log::debug!("logging was started before");
        return;
    }
    log_panics(settings.prompts);
}

/// Writes panics as log lines. The message of a panic may hold a part of a prompt, for example if a
/// string was cut inside a character, so it is written only if prompts may be logged.
fn log_panics(prompts: bool) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = panic.payload();
        let said =
            said.downcast_ref::<String>().map(String::as_str).or(said.downcast_ref().copied());
        match said.filter(|_| prompts) {
            Some(said) => {
                log::error!(target: "panic", place = place.as_str(); "panicked: {said:?}")
            }
            None => log::error!(target: "panic", place = place.as_str(); "panicked"),
        }
    }));
}

fn write_text(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let mut fields = Pairs(String::new());
    // Collecting into memory cannot fail.
    drop(record.key_values().visit(&mut fields));
    let level = record.level();
    let style = out.default_level_style(level);
    let (time, target) = (out.timestamp_millis(), record.target());
    writeln!(out, "[{time} {style}{level}{style:#} {target}] {}{}", record.args(), fields.0)
}

fn write_json(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let mut fields = Fields(Map::new());
    fields.0.insert("time".into(), out.timestamp_millis().to_string().into());
    fields.0.insert("level".into(), record.level().as_str().to_lowercase().into());
    fields.0.insert("target".into(), record.target().into());
    fields.0.insert("message".into(), record.args().to_string().into());
    // Collecting into memory cannot fail.
    drop(record.key_values().visit(&mut fields));
    writeln!(out, "{}", Json::Object(fields.0))
}

/// ` key=value` for each field; other than plain values are quoted, so that no text can forge a
/// field or a line.
struct Pairs(String);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let text = if is_null(&value) { "-".to_owned() } else { value.to_string() };
        let plain =
            |character: char| character.is_ascii_graphic() && character != '"' && character != '=';
        self.0.push(' ');
        self.0.push_str(key.as_str());
        self.0.push('=');
        if !text.is_empty() && text.chars().all(plain) {
            self.0.push_str(&text);
        } else {
            self.0.push_str(&format!("{text:?}"));
        }
        Ok(())
    }
}

/// Whether a field has no value: `-` in text, absent in JSON, so that its type is always the same.
fn is_null(value: &Value<'_>) -> bool {
    struct IsNull(bool);
    impl<'kvs> VisitValue<'kvs> for IsNull {
        fn visit_any(&mut self, _value: Value<'_>) -> Result<(), kv::Error> {
            Ok(())
        }
        fn visit_null(&mut self) -> Result<(), kv::Error> {
            self.0 = true;
            Ok(())
        }
    }
    let mut visitor = IsNull(false);
    value.visit(&mut visitor).is_ok() && visitor.0
}

/// The fields as JSON.
struct Fields(Map<String, Json>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        if is_null(&value) {
            return Ok(());
        }
        let json = match (value.to_u64(), value.to_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => value.to_string().into(),
        };
        self.0.insert(key.to_string(), json);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(value: &str) -> String {
        let mut pairs = Pairs(String::new());
        pairs.visit_pair(Key::from_str("model"), Value::from(value)).unwrap();
        pairs.0
    }

    #[test]
    fn a_field_without_a_value_is_a_dash_in_text_and_absent_in_json() {
        let mut pairs = Pairs(String::new());
        let mut fields = Fields(Map::new());
        for (key, value) in [("load_ms", Value::null()), ("queue_ms", Value::from(3_u64))] {
            pairs.visit_pair(Key::from_str(key), value.clone()).unwrap();
            fields.visit_pair(Key::from_str(key), value).unwrap();
        }
        assert_eq!(pairs.0, " load_ms=- queue_ms=3");
        assert_eq!(Json::Object(fields.0).to_string(), r#"{"queue_ms":3}"#);
    }

    #[test]
    fn a_value_can_forge_neither_a_field_nor_a_line() {
        assert_eq!(pairs("llama3.1:70b"), " model=llama3.1:70b");
        assert_eq!(pairs("a b"), " model=\"a b\"");
        assert_eq!(pairs("x\noutcome=ok"), " model=\"x\\noutcome=ok\"");
        assert_eq!(pairs(""), " model=\"\"");
    }
}
