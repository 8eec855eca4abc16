//! Reads values into the settings structs, and collects every value that does not fit.
//!
//! Owns the loop (deserialise, record the problem, remove the value, repeat) and the wording:
//! serde's messages are for programmers, these are for operators. Refuses to quote strings, which
//! may be secret.
//!
//! What a reader would get wrong: a variable's value such as `123` is first tried as a number,
//! then, if the key wants a string, as a string; only if both fail is it a problem.

use super::Config;
use super::environment::Overlay;
use super::key_path::{KeyPath, Step};
use super::problem::Problem;
use super::tree::Tree;
use std::collections::BTreeMap;
use toml::Value;

/// The description of a list in messages.
const LIST: &str = r#"a list, as in ["a", "b"]"#;

/// The result of fitting a tree.
pub struct Fit {
    /// The settings, with defaults in place of values that did not fit.
    pub config: Config,
    /// The places from which values were removed; checks that depend on them are skipped.
    pub flawed: Vec<KeyPath>,
    /// The reasons.
    pub problems: Vec<Problem>,
}

/// Reads the settings from the tree; removes values that do not fit.
pub fn fit(tree: &mut Tree, overlay: &Overlay) -> Fit {
    let mut fit = Fit { config: Config::default(), flawed: Vec::new(), problems: Vec::new() };
    let mut first_messages = BTreeMap::new();
    loop {
        let values = Value::Table(tree.table.clone());
        let error = match serde_path_to_error::deserialize(values) {
            Ok(config) => {
                fit.config = config;
                return fit;
            }
            Err(error) => error,
        };
        let path = within_a_table(KeyPath::from(error.path()));
        let mut message = explain(error.inner().message());
        if let [Step::Key(section)] = path.steps() {
            message = message.replace(LIST, &format!("sections, as in [[{section}]]"));
        }
        let is_second_try = first_messages.contains_key(&path);
        if let (Some(text), false) = (overlay.texts.get(&path), is_second_try) {
            first_messages.insert(path.clone(), message);
            tree.replace(&path, Value::String(text.clone()));
            continue;
        }
        let message = first_messages.remove(&path).unwrap_or(message);
        fit.problems.push(Problem::new(tree.origin(&path), &path, message));
        fit.flawed.push(path.clone());
        if !tree.remove(&path) {
            // There is nothing left to remove; without this the loop might not end.
            return fit;
        }
    }
}

/// The path of the value to remove. To remove one element of a list would separate the later ones
/// from their lines, so the whole list is removed.
fn within_a_table(path: KeyPath) -> KeyPath {
    match path.steps().last() {
        Some(Step::Index(_)) => path.parent().map_or(path, within_a_table),
        Some(Step::Key(_)) | None => path,
    }
}

/// Translates serde's message into an operator's words.
fn explain(message: &str) -> String {
    let message = message.trim();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return explain_unknown_key(rest);
    }
    if message == "invalid socket address syntax" {
        return r#"write an IP address and a port, as in "127.0.0.1:8000""#.to_owned();
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        return rest
            .split_once(", ")
            .map_or(rest.to_owned(), |(found, expected)| format!("{expected}, found {found}"));
    }
    let rest = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "));
    match rest.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            format!("expected {}, found {}", in_words(expected), without_text(found))
        }
        None => message.to_owned(),
    }
}

/// Suggests the nearest key from a message such as `` `x`, expected one of `a`, `b` ``, or lists
/// all keys.
fn explain_unknown_key(rest: &str) -> String {
    let mut names = rest.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    match nearest(unknown, known.iter().copied()) {
        Some(name) => format!("unknown key; did you mean `{name}`?"),
        None => format!("unknown key; the keys here are {}", known.join(", ")),
    }
}

/// The known name that `name` most likely stands for.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .map(|known| (strsim::jaro_winkler(&name, known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

fn in_words(expected: &str) -> &str {
    match expected {
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 on",
        "a boolean" => "true or false",
        "a string" | "string only" => "a string, in quotes",
        "a sequence" => LIST,
        "a map" => "a table",
        "socket address" => r#"an IP address and a port, as in "127.0.0.1:8000""#,
        other if other.starts_with("struct ") => "a table of keys",
        other => other,
    }
}

/// Quotes numbers and booleans, which help to find the mistake, but no strings, which may be
/// secret.
fn without_text(found: &str) -> &str {
    match found {
        "map" => "a table",
        "sequence" => "a list",
        // toml's description of a number in place of an enum's variant.
        "unit variant" => "something else",
        other if other.starts_with("string ") => "a string",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_never_quoted() {
        let explained = explain(r#"invalid type: string "sk-planted", expected a sequence"#);
        assert_eq!(explained, r#"expected a list, as in ["a", "b"], found a string"#);
        let explained = explain(r#"invalid type: string "a, expected b", expected u32"#);
        assert_eq!(explained, "expected a whole number from 0 to 4294967295, found a string");
    }

    #[test]
    fn the_nearest_key_is_suggested_only_if_it_is_near() {
        let near = explain("unknown field `listn`, expected one of `listen`, `drain`");
        assert_eq!(near, "unknown key; did you mean `listen`?");
        let far = explain("unknown field `colour`, expected `listen` or `drain`");
        assert_eq!(far, "unknown key; the keys here are listen, drain");
    }
}
