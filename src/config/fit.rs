//! From values as written to the settings structs, collecting every value that does not fit.
//!
//! Owns the loop (deserialise, note the problem, take the value out, again) and the wording: serde
//! speaks to programmers, these messages to operators. Refuses to quote strings, which may be secret.
//!
//! What a reader would get wrong: a variable's value such as `123` is tried as the number that it
//! looks like, and where a string is wanted as a string; only then is it a problem.

use super::Config;
use super::environment::Overlay;
use super::key_path::{KeyPath, Step};
use super::problem::Problem;
use super::tree::Tree;
use std::collections::BTreeMap;
use toml::Value;

/// What a list looks like, to somebody who wrote something else.
const LIST: &str = r#"a list, as in ["a", "b"]"#;

/// What became of a tree.
pub struct Fit {
    /// The settings, with defaults where a value did not fit.
    pub config: Config,
    /// Where values were taken out; what depends on them need not be checked.
    pub flawed: Vec<KeyPath>,
    /// Why.
    pub problems: Vec<Problem>,
}

/// Reads the settings from the tree; takes out of it what does not fit.
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
            // Nothing left to take out; without this the loop could not end.
            return fit;
        }
    }
}

/// A list's element cannot be taken out without moving the ones behind it away from their lines, so
/// the whole list goes.
fn within_a_table(path: KeyPath) -> KeyPath {
    match path.steps().last() {
        Some(Step::Index(_)) => path.parent().map_or(path, within_a_table),
        Some(Step::Key(_)) | None => path,
    }
}

/// Says in the words of an operator what serde said.
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

/// `` `x`, expected one of `a`, `b` `` names the keys that there are; the nearest one is offered.
fn explain_unknown_key(rest: &str) -> String {
    let mut names = rest.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    match nearest(unknown, known.iter().copied()) {
        Some(name) => format!("unknown key; did you mean `{name}`?"),
        None => format!("unknown key; the keys here are {}", known.join(", ")),
    }
}

/// The known name that somebody who wrote `name` most likely meant.
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

/// Numbers and truth values help to find the mistake; a string may be a secret.
fn without_text(found: &str) -> &str {
    match found {
        "map" => "a table",
        "sequence" => "a list",
        // What toml says of a number where an enum's word is wanted.
        "unit variant" => "something else",
        other if other.starts_with("string ") => "a string",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_never_quoted_back() {
        let explained = explain(r#"invalid type: string "sk-planted", expected a sequence"#);
        assert_eq!(explained, r#"expected a list, as in ["a", "b"], found a string"#);
        let explained = explain(r#"invalid type: string "a, expected b", expected u32"#);
        assert_eq!(explained, "expected a whole number from 0 to 4294967295, found a string");
    }

    #[test]
    fn the_nearest_key_is_offered_only_when_it_is_near() {
        let near = explain("unknown field `listn`, expected one of `listen`, `drain`");
        assert_eq!(near, "unknown key; did you mean `listen`?");
        let far = explain("unknown field `colour`, expected `listen` or `drain`");
        assert_eq!(far, "unknown key; the keys here are listen, drain");
    }
}
