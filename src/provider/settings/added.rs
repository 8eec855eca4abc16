//! `[providers.NAME.body]`: converts the operator's TOML to the provider's JSON.
//!
//! Refuses values that JSON cannot express: dates, NaN and infinities. The configuration check uses
//! this, so that a loaded configuration loses nothing.

use serde_json::{Map, Number, Value};

/// The fields of every chat's body. Values that JSON cannot express are left out.
#[must_use]
pub fn body_fields(table: &toml::Table) -> Map<String, Value> {
    let field = |(name, value): (&String, &toml::Value)| Some((name.clone(), json_of(value).ok()?));
    table.iter().filter_map(field).collect()
}

/// The same value as JSON.
///
/// # Errors
///
/// The value that would be right.
pub fn json_of(value: &toml::Value) -> Result<Value, &'static str> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::Number((*number).into()),
        toml::Value::Float(number) => {
            let number = Number::from_f64(*number);
            Value::Number(number.ok_or("JSON has no such number: write a finite one")?)
        }
        toml::Value::Boolean(truth) => Value::Bool(*truth),
        toml::Value::Datetime(_) => return Err("JSON has no dates: write a string, in quotes"),
        toml::Value::Array(list) => {
            Value::Array(list.iter().map(json_of).collect::<Result<_, _>>()?)
        }
        toml::Value::Table(table) => {
            let field =
                |(name, value): (&String, _)| json_of(value).map(|json| (name.clone(), json));
            Value::Object(table.iter().map(field).collect::<Result<_, _>>()?)
        }
    })
}
