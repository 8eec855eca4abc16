//! `[providers.NAME.body]`: TOML as an operator writes it, JSON as a provider reads it.
//!
//! Refuses what JSON has no word for: dates, and numbers that are none. The check of the configuration asks here, so
//! that nothing is lost in a loaded one.

use serde_json::{Map, Number, Value};

/// The fields of every chat's body. What is no JSON is left out.
#[must_use]
pub fn body_fields(table: &toml::Table) -> Map<String, Value> {
    let field = |(name, value): (&String, &toml::Value)| Some((name.clone(), json_of(value).ok()?));
    table.iter().filter_map(field).collect()
}

/// The same value as JSON.
///
/// # Errors
///
/// What to write instead.
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
