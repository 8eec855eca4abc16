//! What each key has used of what it may, as a table for a terminal.

use serde_json::Value;

use super::table::table;
use super::{Remote, RemoteError, at};

/// What each key has used, as the JSON of `/admin/keys`.
///
/// # Errors
///
/// If the gateway cannot be asked.
pub fn ask(remote: &Remote) -> Result<Value, RemoteError> {
    remote.get("/admin/keys")
}

/// The table of what `ask` told.
#[must_use]
pub fn shown(told: &Value) -> String {
    let empty = Vec::new();
    let rows: Vec<_> = at(told, "keys").as_array().unwrap_or(&empty).iter().map(row).collect();
    table(
        ["KEY", "UNDER WAY", "REQUESTS LEFT", "TOKENS/MIN LEFT", "TOKENS/DAY LEFT", "TOKENS USED"],
        &rows,
    )
}

fn row(key: &Value) -> [String; 6] {
    let number = |value: &Value| value.as_u64().map_or("-".to_owned(), |it| it.to_string());
    let left = |name: &str| match at(key, name).as_object() {
        Some(_) => format!(
            "{}/{}",
            number(at(at(key, name), "remaining")),
            number(at(at(key, name), "limit"))
        ),
        None => "-".to_owned(),
    };
    let under_way = match at(key, "max_concurrency").as_u64() {
        Some(most) => format!("{}/{most}", number(at(key, "in_flight"))),
        None => number(at(key, "in_flight")),
    };
    [
        at(key, "name").as_str().unwrap_or("-").to_owned(),
        under_way,
        left("requests"),
        left("tokens_per_minute"),
        left("tokens_per_day"),
        number(at(key, "tokens_used")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_without_a_limit_has_a_dash_there() {
        let told = json!({"keys": [
            {"name": "a", "in_flight": 1, "max_concurrency": 4, "requests": {"limit": 60, "remaining": 59},
             "tokens_per_minute": null, "tokens_per_day": null, "tokens_used": 263},
            {"name": "b", "in_flight": 0, "max_concurrency": null, "tokens_used": 0},
        ]});
        let text = shown(&told);
        let cells = |row: usize| -> Vec<&str> {
            text.lines().nth(row).unwrap().split_whitespace().collect()
        };
        assert_eq!(cells(1), ["a", "1/4", "59/60", "-", "-", "263"]);
        assert_eq!(cells(2), ["b", "0", "-", "-", "-", "0"]);
    }
}
