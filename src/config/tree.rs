//! A configuration as it was written: uninterpreted values, each with its origin.
//!
//! Owns the parsing of a file, the overriding of its values, and the origin of every value. Refuses
//! only text that is not TOML; `fit.rs` decides whether a key exists and its value fits.
//!
//! What a reader would get wrong: a key that is not written still has an origin, that of the
//! nearest table around it, because it would be written there.

use super::key_path::{KeyPath, Step};
use super::problem::{Origin, Problem};
use std::collections::BTreeMap;
use std::path::Path;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// Values and their origins.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// The values, in the order in which they were written.
    pub table: Table,
    origins: BTreeMap<KeyPath, Origin>,
}

impl Tree {
    /// Reads TOML. Returns the readable parts of the file, and its mistakes.
    pub fn parse(path: &Path, text: &str) -> (Self, Vec<Problem>) {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut parser = Parser { path, text, tree: Self::default(), problems: Vec::new() };
        for error in &errors {
            let start = error.span().map_or(0, |span| span.start);
            let origin = parser.origin(start);
            // Only the message: the error's own display quotes the line, which may hold a secret.
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            parser.problems.push(Problem { origin, key: "syntax".to_owned(), message });
        }
        // One mistake on a line often causes several errors.
        parser.problems.dedup_by(|later, earlier| later.origin == earlier.origin);
        let table = parser.table(document.into_inner(), &KeyPath::default());
        parser.tree.table = table;
        (parser.tree, parser.problems)
    }

    /// The value, if it is written.
    pub fn get(&self, path: &KeyPath) -> Option<&Value> {
        let (first, rest) = path.steps().split_first()?;
        let first = match first {
            Step::Key(key) => self.table.get(key)?,
            Step::Index(_) => return None,
        };
        rest.iter().try_fold(first, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        })
    }

    /// The origin of the value, else that of the nearest table or list around it.
    pub fn origin(&self, path: &KeyPath) -> Origin {
        let mut path = Some(path.clone());
        while let Some(here) = path {
            if let Some(origin) = self.origins.get(&here) {
                return origin.clone();
            }
            path = here.parent();
        }
        Origin::Default
    }

    /// Sets a value, and adds missing tables around it. A table is merged with an existing one; any
    /// other value replaces the existing one. Does nothing if the path leads through something that
    /// is not a table.
    pub fn set(&mut self, path: &KeyPath, value: Value, origin: &Origin) {
        if let (Value::Table(table), Some(Value::Table(_))) = (&value, self.get(path)) {
            for (key, value) in table {
                self.set(&path.key(key), value.clone(), origin);
            }
            return;
        }
        let Some((Step::Key(last), parents)) = path.steps().split_last() else { return };
        let mut table = &mut self.table;
        let mut here = KeyPath::default();
        for step in parents {
            let Step::Key(key) = step else { return };
            here = here.key(key);
            if !table.contains_key(key) {
                self.origins.insert(here.clone(), origin.clone());
            }
            let inner = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = inner else { return };
            table = inner;
        }
        table.insert(last.clone(), value);
        self.origins.retain(|known, _| !path.holds(known));
        self.origins.insert(path.clone(), origin.clone());
    }

    /// Appends to the list at the path, and adds the list if it is missing. Does nothing if the
    /// path leads to something else.
    pub fn push(&mut self, path: &KeyPath, value: Value, origin: &Origin) {
        if self.get(path).is_none() {
            self.set(path, Value::Array(Vec::new()), origin);
        }
        if let Some(Value::Array(list)) = self.get_mut(path) {
            let element = path.index(list.len());
            list.push(value);
            self.origins.insert(element, origin.clone());
        }
    }

    /// Removes a value and returns whether it existed. Its origin stays known.
    pub fn remove(&mut self, path: &KeyPath) -> bool {
        let Some((Step::Key(last), parents)) = path.steps().split_last() else { return false };
        if parents.is_empty() {
            return self.table.remove(last).is_some();
        }
        match path.parent().and_then(|parent| self.get_mut(&parent)) {
            Some(Value::Table(table)) => table.remove(last).is_some(),
            Some(_) | None => false,
        }
    }

    /// Replaces an existing value.
    pub fn replace(&mut self, path: &KeyPath, value: Value) {
        if let Some(place) = self.get_mut(path) {
            *place = value;
        }
    }

    fn get_mut(&mut self, path: &KeyPath) -> Option<&mut Value> {
        let (first, rest) = path.steps().split_first()?;
        let first = match first {
            Step::Key(key) => self.table.get_mut(key)?,
            Step::Index(_) => return None,
        };
        rest.iter().try_fold(first, |value, step| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Index(index) => value.get_mut(index),
        })
    }
}

/// Turns a parsed document into a [`Tree`] and records the line of every key.
struct Parser<'a> {
    path: &'a Path,
    text: &'a str,
    tree: Tree,
    problems: Vec<Problem>,
}

impl Parser<'_> {
    fn table(&mut self, document: DeTable<'_>, path: &KeyPath) -> Table {
        let mut table = Table::new();
        for (key, value) in document {
            let path = path.key(key.get_ref());
            let origin = self.origin(key.span().start);
            self.tree.origins.insert(path.clone(), origin);
            if let Some(value) = self.value(value, &path) {
                table.insert(key.into_inner().into_owned(), value);
            }
        }
        table
    }

    fn value(&mut self, value: Spanned<DeValue<'_>>, path: &KeyPath) -> Option<Value> {
        let start = value.span().start;
        match value.into_inner() {
            DeValue::String(text) => Some(Value::String(text.into_owned())),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
                self.number(parsed.map(Value::Integer), start, path)
            }
            DeValue::Float(number) => {
                let parsed = number.as_str().parse().ok();
                self.number(parsed.map(Value::Float), start, path)
            }
            DeValue::Boolean(truth) => Some(Value::Boolean(truth)),
            DeValue::Datetime(time) => Some(Value::Datetime(time)),
            DeValue::Array(list) => Some(self.list(list, path)),
            DeValue::Table(table) => Some(Value::Table(self.table(table, path))),
        }
    }

    fn list(&mut self, list: toml::de::DeArray<'_>, path: &KeyPath) -> Value {
        let mut values = Vec::new();
        for value in list {
            let path = path.index(values.len());
            let origin = self.origin(value.span().start);
            self.tree.origins.insert(path.clone(), origin);
            values.extend(self.value(value, &path));
        }
        Value::Array(values)
    }

    fn number(&mut self, value: Option<Value>, start: usize, path: &KeyPath) -> Option<Value> {
        if value.is_none() {
            let message = "the number is too large: write a smaller one";
            self.problems.push(Problem::new(self.origin(start), path, message));
        }
        value
    }

    fn origin(&self, start: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Origin::File { path: self.path.to_owned(), line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tree: &Tree, path: &KeyPath) -> usize {
        match tree.origin(path) {
            Origin::File { line, .. } => line,
            Origin::Environment { .. } | Origin::Default => 0,
        }
    }

    #[test]
    fn every_key_knows_its_line() {
        let text = "[server]\nworkers = 1\n\n[[keys]]\nname = 'a'\n[[keys]]\nname = 'b'\n\n\
                    [providers.x]\nmodels = [\n  'a',\n  'b']\nretry = { max_retries = 3 }\n";
        let (tree, problems) = Tree::parse(Path::new("f"), text);
        assert_eq!(problems, []);
        let (keys, x) = (KeyPath::of("keys"), KeyPath::of("providers").key("x"));
        assert_eq!(line(&tree, &KeyPath::of("server").key("workers")), 2);
        assert_eq!(line(&tree, &keys.index(0).key("name")), 5);
        assert_eq!(line(&tree, &keys.index(1)), 6);
        assert_eq!(line(&tree, &x), 9);
        assert_eq!(line(&tree, &x.key("missing")), 9);
        assert_eq!(line(&tree, &x.key("models").index(1)), 12);
        assert_eq!(line(&tree, &x.key("retry").key("max_retries")), 13);
        assert_eq!(tree.origin(&KeyPath::of("log")), Origin::Default);
    }

    #[test]
    fn a_table_is_merged_and_anything_else_replaces() {
        let (mut tree, _) = Tree::parse(Path::new("f"), "a = { b = 1, c = 2 }\n");
        let origin = Origin::Environment { name: "X".to_owned() };
        tree.set(&KeyPath::of("a"), Value::Table(toml::toml! { b = 5 }), &origin);
        tree.set(&KeyPath::of("d").key("e"), Value::Integer(7), &origin);
        assert_eq!(tree.table, toml::toml! { a = { b = 5, c = 2 }  d = { e = 7 } });
        assert_eq!(tree.origin(&KeyPath::of("a").key("b")), origin);
        assert_eq!(line(&tree, &KeyPath::of("a").key("c")), 1);
        assert_eq!(tree.origin(&KeyPath::of("d")), origin);
        tree.set(&KeyPath::of("a"), Value::Integer(1), &origin);
        assert_eq!(tree.origin(&KeyPath::of("a").key("c")), origin);
    }

    #[test]
    fn a_syntax_error_names_its_line_and_quotes_nothing() {
        let (_, problems) = Tree::parse(Path::new("f"), "a = 1\nkey = sk-planted\n");
        let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.starts_with("f:2: syntax: ") && !text.contains("planted"), "{text}");
    }
}
