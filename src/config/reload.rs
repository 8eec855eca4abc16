//! Reads a configuration again while a gateway runs with an earlier one.
//!
//! Owns the comparison of the two, so that no broken file grants more access. The file must still
//! exist and set something, it must not be merely the beginning of its earlier text, and the bound
//! listeners must stay protected, whatever `listen` says about the next start. The same applies to
//! `.env`.
//!
//! What a reader would get wrong: a file that was cut off may be valid TOML. A key without its last
//! lines, such as its `data_policy`, may do more than before, and a missing route sends prompts
//! elsewhere. So a file that is the beginning of the earlier one counts as broken, unless it only
//! lacks whole providers and whole keys, of which some are left.

use super::check::Running;
use super::environment::{FILE_VARIABLE, KEYS_VARIABLE};
use super::key_path::KeyPath;
use super::listen::Bound;
use super::problem::{Origin, Problem, Problems};
use super::source::{self, Environment, FileRead, Fingerprint};
use super::tree::Tree;
use super::{Composed, Config, Loaded, Read, compose, sorted};
use std::path::Path;
use std::sync::LazyLock;
use toml::{Table, Value};

/// The state of the running gateway.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// The configuration in force.
    pub config: &'a Config,
    /// Its sources.
    pub read: &'a Read,
    /// The bound listeners.
    pub bound: Bound,
}

/// The result of a reload.
#[derive(Debug)]
pub struct Again {
    /// The fingerprint of the file's content.
    pub fingerprint: Fingerprint,
    /// The new configuration, or the reasons why the earlier one stays in force.
    pub outcome: Result<Loaded, Problems>,
}

/// A key whose change in the file has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overridden {
    /// The key.
    pub key: String,
    /// The variable that overrides it.
    pub variable: String,
}

/// Reads the earlier file again, or chooses one if there was none. This environment overrides it.
pub fn reload(
    explicit: Option<&Path>,
    before: Before<'_>,
    environment: Result<Environment, Problems>,
) -> Again {
    let file = match (&before.read.file, &environment) {
        (Some(path), _) if before.read.is_kept => source::read_file_again(path.clone()),
        (Some(path), _) => never_again(path),
        (None, Ok(environment)) => {
            source::read_file(source::choose_file(explicit, &environment.variables))
        }
        (None, Err(_)) => FileRead::default(),
    };
    let fingerprint = file.fingerprint.clone();
    let outcome = match environment {
        Ok(environment) => compare(explicit, before, file, &environment).map_err(sorted),
        Err(mut problems) => {
            problems.0.extend(file.problems);
            Err(sorted(problems.0))
        }
    };
    Again { fingerprint, outcome }
}

fn never_again(path: &Path) -> FileRead {
    let message = "cannot be read again: it was no file but a pipe";
    let problems = vec![Problem::of_file(path, message)];
    FileRead { path: Some(path.to_owned()), problems, ..FileRead::default() }
}

fn compare(
    explicit: Option<&Path>,
    before: Before<'_>,
    file: FileRead,
    environment: &Environment,
) -> Result<Loaded, Vec<Problem>> {
    let suspicion = Suspicion::of_file(before.read, &file);
    let of_dotenv = Suspicion::of_dotenv(before.read, environment);
    let opens_by_file = says_anonymous(&file.tree.table);
    let may_open = before.config.keys.is_empty() || file.path.is_none() || opens_by_file;
    let running = Running { bound: before.bound, may_open };
    let composed = compose(file, environment, Some(&running));
    let after = composed.as_ref().ok().map(|composed| &composed.loaded.config);
    let suspicions = [suspicion, of_dotenv].into_iter().flatten();
    let refused: Vec<Problem> = suspicions
        .filter(|suspicion| !after.is_some_and(|after| suspicion.allows(before.config, after)))
        .map(|suspicion| suspicion.problem)
        .collect();
    match composed {
        Ok(Composed { mut loaded, tree }) if refused.is_empty() => {
            loaded.overridden = overridden(&before.read.values, &loaded.read.values, &tree);
            loaded.warnings.extend(another_file(explicit, before.read, environment));
            Ok(loaded)
        }
        Ok(_) => Err(refused),
        Err(mut problems) => {
            problems.extend(refused);
            Err(problems)
        }
    }
}

/// A sign that a part of the configuration was lost by accident.
struct Suspicion {
    problem: Problem,
    allowed: Allowed,
}

/// The changes that are allowed in spite of it.
#[derive(Debug, Clone, Copy)]
enum Allowed {
    Nothing,
    TheSame,
    TheSameOrLess,
}

impl Suspicion {
    fn of_file(before: &Read, now: &FileRead) -> Option<Self> {
        let (path, text) = (now.path.as_ref()?, now.text.as_ref()?);
        if now.tree.table.is_empty() && now.problems.is_empty() && !before.values.is_empty() {
            let message = "says nothing any more: what it said stays in force; to run by defaults start the gateway \
                           anew";
            let problem = Problem::of_file(path, message);
            return Some(Self { problem, allowed: Allowed::Nothing });
        }
        let message = cut_off(&before.text, text)?;
        let problem = Problem::of_file(path, message);
        Some(Self { problem, allowed: Allowed::TheSameOrLess })
    }

    fn of_dotenv(before: &Read, now: &Environment) -> Option<Self> {
        let (before, now) = (&before.dotenv, &now.dotenv);
        let earlier = before.text.as_ref().filter(|_| before.variables > 0)?;
        let (message, allowed) = match &now.text {
            None => {
                ("is gone: put it back, or start the gateway anew".to_owned(), Allowed::TheSame)
            }
            Some(_) if now.variables == 0 => {
                let message =
                    "sets nothing any more: what it set stays in force until the gateway stops";
                (message.to_owned(), Allowed::TheSame)
            }
            Some(text) => (cut_off(earlier, text)?, Allowed::TheSameOrLess),
        };
        Some(Self { problem: source::dotenv_problem(message), allowed })
    }

    fn allows(&self, before: &Config, after: &Config) -> bool {
        match self.allowed {
            Allowed::Nothing => false,
            Allowed::TheSame => is_same(before, after),
            Allowed::TheSameOrLess => is_same(&less(before, after), after),
        }
    }
}

/// Describes the cut if a text is the beginning of an earlier one. Comments at the top do not
/// count: programs often write the time there.
fn cut_off(earlier: &str, text: &str) -> Option<String> {
    let missing = without_head(earlier)
        .strip_prefix(without_head(text))
        .filter(|missing| !missing.is_empty())?;
    let (left, lines) = (text.lines().count(), missing.lines().count());
    Some(format!(
        "is cut off: it is what was read before up to line {left}, without the {lines} lines after that; if they were \
         taken out on purpose, write a comment in their place"
    ))
}

/// The text from its first line that is not a comment.
fn without_head(text: &str) -> &str {
    let is_comment =
        |line: &str| line.trim_start().is_empty() || line.trim_start().starts_with('#');
    let head = text.split_inclusive('\n').take_while(|line| is_comment(line)).map(str::len).sum();
    text.get(head..).unwrap_or_default()
}

/// The earlier configuration without the keys and providers that the later one lacks, provided that
/// some keys are left.
fn less(before: &Config, after: &Config) -> Config {
    let mut less = before.clone();
    if !after.keys.is_empty() {
        less.keys.retain(|key| after.keys.contains(key));
    }
    less.providers.retain(|name, _| after.providers.contains_key(name));
    for names in less.hints.values_mut().chain([&mut less.default.providers]) {
        names.retain(|name| after.providers.contains_key(name));
    }
    less
}

fn is_same(one: &Config, other: &Config) -> bool {
    // `==` on the maps ignores the order.
    one == other && one.providers.keys().eq(other.providers.keys())
}

fn says_anonymous(file: &Table) -> bool {
    let anonymous = file.get("auth").and_then(|auth| auth.get("anonymous"));
    anonymous.and_then(Value::as_bool).unwrap_or_default()
}

/// Warns if another file is named meanwhile: a gateway reads the same file until it stops.
fn another_file(
    explicit: Option<&Path>,
    before: &Read,
    environment: &Environment,
) -> Option<Problem> {
    let named = source::choose_file(explicit, &environment.variables)?;
    let message = "names another file than the one that is read: that changes with the next start";
    let is_another = before.file.as_ref().is_some_and(|file| *file != named);
    is_another.then(|| Problem::environment(FILE_VARIABLE, message))
}

/// The keys that differ between two texts of the file while a variable overrides them.
fn overridden(before: &Table, now: &Table, tree: &Tree) -> Vec<Overridden> {
    let mut found = Vec::new();
    for (path, written) in changed(before, now, &KeyPath::default()) {
        let Origin::Environment { name } = tree.origin(&path) else { continue };
        let in_force = tree.get(&path);
        // That variable adds keys to those of the file.
        if name != KEYS_VARIABLE && in_force.is_some() && in_force != written {
            found.push(Overridden { key: path.to_string(), variable: name });
        }
    }
    found
}

/// The keys whose values differ, with the later values; a list counts as one value.
fn changed<'a>(
    before: &Table,
    now: &'a Table,
    path: &KeyPath,
) -> Vec<(KeyPath, Option<&'a Value>)> {
    static NONE: LazyLock<Table> = LazyLock::new(Table::new);
    let added = now.keys().filter(|key| !before.contains_key(*key));
    let mut found = Vec::new();
    for key in before.keys().chain(added) {
        let path = path.key(key);
        let (one, other) = (before.get(key), now.get(key));
        let table = |value: Option<&'a Value>| value.map_or(Some(&*NONE), Value::as_table);
        if one == other {
            continue;
        }
        match (one.map_or(Some(&*NONE), Value::as_table), table(other)) {
            // A missing value counts as an empty table only if the other is a table.
            (Some(one), Some(other)) => found.extend(changed(one, other, &path)),
            (_, _) => found.push((path, other)),
        }
    }
    found
}
