//! The sources of a configuration: the file and the variables.
//!
//! Owns the choice of the file and the reading of `.env`. Refuses a named file that does not exist;
//! the default file may be missing, unless it is read again.
//!
//! What a reader would get wrong: `.env` never overrides a variable that is really set, and it does
//! not change the process's environment (that would be unsafe with threads), only the map returned
//! here.

use super::environment::{FILE_VARIABLE, concerns_us};
use super::problem::{Origin, Problem, Problems};
use super::tree::Tree;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The file that is read if it exists and no other is named.
pub const USUAL_FILE: &str = "config/gateway.toml";
/// The file with values for variables that are not set.
const DOTENV: &str = ".env";

/// A digest of a configuration file's content, which tells whether it has changed. An unreadable
/// file has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint(Option<[u8; 32]>);

/// Takes the fingerprint of a file.
pub fn fingerprint(path: &Path) -> Fingerprint {
    Fingerprint::of(&read_bytes(path))
}

/// The variables for a configuration.
#[derive(Clone, Default)]
pub struct Environment {
    /// Those of this process, and those of `.env` that are not set otherwise.
    pub variables: BTreeMap<String, String>,
    /// The content of `.env`.
    pub dotenv: Dotenv,
}

/// A `.env` file.
#[derive(Clone, Default)]
pub struct Dotenv {
    /// Its text; `None` if there is no file.
    pub text: Option<String>,
    /// How many variables it sets.
    pub variables: usize,
}

/// A configuration file that was read.
#[derive(Default)]
pub struct FileRead {
    /// Its path; `None` if there is no file.
    pub path: Option<PathBuf>,
    /// The fingerprint of its content.
    pub fingerprint: Fingerprint,
    /// Whether it can be read again; a pipe cannot.
    pub is_kept: bool,
    /// Its text; `None` if it cannot be read, which is then the only problem.
    pub text: Option<String>,
    /// Its values.
    pub tree: Tree,
    /// The mistakes in its syntax.
    pub problems: Vec<Problem>,
}

impl Fingerprint {
    fn of(bytes: &io::Result<Vec<u8>>) -> Self {
        Self(bytes.as_ref().ok().map(|bytes| Sha256::digest(bytes).into()))
    }
}

impl From<BTreeMap<String, String>> for Environment {
    /// Variables without any `.env`.
    fn from(variables: BTreeMap<String, String>) -> Self {
        Self { variables, dotenv: Dotenv::default() }
    }
}

/// The environment of this process, with `.env` in the current directory for variables that are not
/// set.
///
/// # Errors
/// When `.env` cannot be read or parsed, or one of our variables is not UTF-8.
pub fn read_environment() -> Result<Environment, Problems> {
    let (environment, problems) = merge_environment(Path::new(DOTENV), std::env::vars_os());
    if problems.is_empty() { Ok(environment) } else { Err(Problems(problems)) }
}

/// The same, without its invalid parts.
pub fn read_environment_in_part() -> Environment {
    merge_environment(Path::new(DOTENV), std::env::vars_os()).0
}

/// A problem of `.env` as a whole.
pub fn dotenv_problem(message: impl Into<String>) -> Problem {
    Problem::of_file(Path::new(DOTENV), message)
}

/// Reads the chosen file, if there is one. It may be anything readable, such as a pipe.
pub fn read_file(path: Option<PathBuf>) -> FileRead {
    path.map_or_else(FileRead::default, |path| understand(std::fs::read(&path), path))
}

/// Reads a file again. It must be a regular file: reading a pipe again would block.
pub fn read_file_again(path: PathBuf) -> FileRead {
    understand(read_bytes(&path), path)
}

/// The file to read: the explicitly named one, else that of the variable, else the default one if
/// it exists.
pub fn choose_file(
    explicit: Option<&Path>,
    variables: &BTreeMap<String, String>,
) -> Option<PathBuf> {
    choose(explicit, variables, Path::new(USUAL_FILE))
}

fn choose(
    explicit: Option<&Path>,
    variables: &BTreeMap<String, String>,
    usual: &Path,
) -> Option<PathBuf> {
    let named = variables.get(FILE_VARIABLE).filter(|name| !name.is_empty()).map(Path::new);
    let named = explicit.or(named).map(Path::to_owned);
    named.or_else(|| usual.exists().then(|| usual.to_owned()))
}

fn understand(bytes: io::Result<Vec<u8>>, path: PathBuf) -> FileRead {
    let fingerprint = Fingerprint::of(&bytes);
    let is_kept = path.is_file();
    let text = bytes
        .map_err(|error| error.to_string())
        .and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.utf8_error().to_string()));
    let mut read = FileRead { fingerprint, is_kept, ..FileRead::default() };
    match text {
        Ok(text) => {
            (read.tree, read.problems) = Tree::parse(&path, &text);
            read.text = Some(text);
        }
        Err(reason) => {
            let message = format!("cannot be read: {reason}");
            read.problems.push(Problem::of_file(&path, message));
        }
    }
    read.path = Some(path);
    read
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.is_file() {
        std::fs::read(path)
    } else {
        Err(io::Error::other("it is not a file"))
    }
}

fn merge_environment(
    dotenv: &Path,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> (Environment, Vec<Problem>) {
    let (mut environment, mut problems) = read_dotenv(dotenv);
    for (name, value) in variables {
        // A name that is not UTF-8 cannot be one of ours; a value of ours that is not UTF-8 is a
        // problem.
        let Some(name) = name.to_str() else { continue };
        match value.into_string() {
            Ok(value) => {
                environment.variables.insert(name.to_owned(), value);
            }
            Err(_) if concerns_us(name) => {
                problems.push(Problem::environment(name, "is not UTF-8"));
            }
            Err(_) => {
                environment.variables.remove(name);
            }
        }
    }
    (environment, problems)
}

fn read_dotenv(path: &Path) -> (Environment, Vec<Problem>) {
    let mut environment = Environment::default();
    let mut problems = Vec::new();
    let mut refuse = |line: usize, message: String| {
        let origin = Origin::File { path: path.to_owned(), line };
        problems.push(Problem { origin, key: String::new(), message });
    };
    match std::fs::read_to_string(path) {
        Ok(text) => {
            for variable in dotenvy::from_read_iter(text.as_bytes()) {
                match variable {
                    // The first of two lines wins, as in dotenvy.
                    Ok((name, value)) => {
                        environment.variables.entry(name).or_insert(value);
                    }
                    Err(error) => refuse(line_of(&text, &error), "write NAME=value".to_owned()),
                }
            }
            environment.dotenv =
                Dotenv { text: Some(text), variables: environment.variables.len() };
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => refuse(0, format!("cannot be read: {error}")),
    }
    (environment, problems)
}

/// The number of the line that dotenvy could not read; dotenvy itself reports only its text.
fn line_of(text: &str, error: &dotenvy::Error) -> usize {
    let dotenvy::Error::LineParse(wrong, _) = error else { return 0 };
    let first = wrong.lines().next().unwrap_or_default();
    text.lines().position(|line| line.trim() == first.trim()).map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn dotenv_fills_in_variables_that_are_not_set() {
        let folder = tempfile::tempdir().unwrap();
        let dotenv = folder.path().join(".env");
        std::fs::write(&dotenv, "# ours\nPORT=1\nAPI_KEYS=\"a, b\"\nPORT=3\n").unwrap();
        let (environment, problems) =
            merge_environment(&dotenv, real(&[("PORT", "2")]).into_iter());
        assert_eq!(problems, []);
        assert_eq!(environment.variables["PORT"], "2");
        assert_eq!(environment.variables["API_KEYS"], "a, b");
        assert_eq!(environment.dotenv.variables, 2);
        let (environment, _) = merge_environment(&dotenv, std::iter::empty());
        assert_eq!(environment.variables["PORT"], "1");
    }

    #[test]
    fn a_missing_dotenv_is_accepted_and_a_broken_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dotenv = folder.path().join(".env");
        let (environment, problems) = merge_environment(&dotenv, std::iter::empty());
        assert!(environment.variables.is_empty() && environment.dotenv.text.is_none());
        assert_eq!(problems, []);
        std::fs::write(&dotenv, "PORT=1\nsk-planted secret = 'x\n").unwrap();
        let (environment, problems) = merge_environment(&dotenv, std::iter::empty());
        let problems = Problems(problems).to_string();
        assert_eq!(environment.variables["PORT"], "1");
        assert_eq!(problems, format!("error: {}:2: write NAME=value", dotenv.display()));
    }

    #[test]
    fn the_file_is_the_named_one_else_the_variables_else_the_default_one() {
        let folder = tempfile::tempdir().unwrap();
        let usual = folder.path().join("gateway.toml");
        let none = BTreeMap::new();
        let named = BTreeMap::from([(FILE_VARIABLE.to_owned(), "b.toml".to_owned())]);
        let empty = BTreeMap::from([(FILE_VARIABLE.to_owned(), String::new())]);
        assert_eq!(choose(None, &none, &usual), None);
        std::fs::write(&usual, "").unwrap();
        assert_eq!(choose(None, &none, &usual).as_ref(), Some(&usual));
        assert_eq!(choose(None, &empty, &usual).as_ref(), Some(&usual));
        assert_eq!(choose(None, &named, &usual), Some("b.toml".into()));
        assert_eq!(choose(Some(Path::new("a")), &named, &usual), Some("a".into()));
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_of_ours_that_is_not_utf_8_is_a_problem() {
        use std::os::unix::ffi::OsStringExt;
        let broken = OsString::from_vec(vec![0xff]);
        let missing = Path::new("/nonexistent/.env");
        let theirs = vec![("THEIRS".into(), broken.clone()), (broken.clone(), broken.clone())];
        let (environment, problems) = merge_environment(missing, theirs.into_iter());
        assert!(environment.variables.is_empty() && problems.is_empty());
        let (_, problems) = merge_environment(missing, [("PORT".into(), broken)].into_iter());
        assert_eq!(Problems(problems).to_string(), "error: environment: PORT: is not UTF-8");
    }
}
