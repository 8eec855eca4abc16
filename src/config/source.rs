//! Where the configuration is read from: the file and the variables.
//!
//! Owns the choice of the file and the reading of `.env`. Refuses a file that was named and is not
//! there; a file that nobody named may be missing.
//!
//! What a reader would get wrong: `.env` never overrides a variable that is really set, and it is not
//! put into the environment (that would be unsafe with threads), only into the map returned here.

use super::environment::{FILE_VARIABLE, concerns_us};
use super::problem::{Origin, Problem, Problems};
use super::tree::Tree;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file that is read when it exists and no other was named.
const USUAL_FILE: &str = "config/gateway.toml";

/// What a configuration file said at one time: enough to tell whether it says something else now. A file that cannot
/// be read says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint(Option<[u8; 32]>);

/// Looks at a file.
pub fn fingerprint(path: &Path) -> Fingerprint {
    Fingerprint(std::fs::read(path).ok().map(|text| Sha256::digest(text).into()))
}

/// The environment of this program, and under it `.env` in the current directory when there is one.
///
/// # Errors
/// A `.env` that cannot be read or understood; a variable of ours that is not UTF-8.
pub fn read_environment() -> Result<BTreeMap<String, String>, Problems> {
    merge_environment(Path::new(".env"), std::env::vars_os())
}

/// What was read of a file.
#[derive(Default)]
pub struct FileRead {
    /// Where it is; `None` when there is none.
    pub path: Option<PathBuf>,
    /// What it said.
    pub fingerprint: Fingerprint,
    /// Its values.
    pub tree: Tree,
    /// What is wrong with its syntax.
    pub problems: Vec<Problem>,
}

/// Chooses and reads the file.
pub fn read_file(
    explicit: Option<&Path>,
    environment: &BTreeMap<String, String>,
) -> Result<FileRead, Problem> {
    let Some(path) = choose_file(explicit, environment, Path::new(USUAL_FILE)) else {
        return Ok(FileRead::default());
    };
    let unreadable = |reason: String| Problem {
        origin: Origin::File { path: path.clone(), line: 0 },
        key: String::new(),
        message: format!("cannot be read: {reason}"),
    };
    let text = std::fs::read(&path).map_err(|error| unreadable(error.to_string()))?;
    let fingerprint = Fingerprint(Some(Sha256::digest(&text).into()));
    let text = String::from_utf8(text).map_err(|error| unreadable(error.to_string()))?;
    let (tree, problems) = Tree::parse(&path, &text);
    Ok(FileRead { path: Some(path), fingerprint, tree, problems })
}

fn choose_file(
    explicit: Option<&Path>,
    environment: &BTreeMap<String, String>,
    usual: &Path,
) -> Option<PathBuf> {
    let named = environment.get(FILE_VARIABLE).filter(|name| !name.is_empty()).map(Path::new);
    let named = explicit.or(named).map(Path::to_owned);
    named.or_else(|| usual.exists().then(|| usual.to_owned()))
}

fn merge_environment(
    dotenv: &Path,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, Problems> {
    let (mut environment, mut problems) = read_dotenv(dotenv);
    for (name, value) in variables {
        // Whatever is not UTF-8 cannot be one of our names, and if it is a value of ours it is wrong.
        let Some(name) = name.to_str() else { continue };
        match value.into_string() {
            Ok(value) => {
                environment.insert(name.to_owned(), value);
            }
            Err(_) if concerns_us(name) => {
                problems.push(Problem::environment(name, "is not UTF-8"));
            }
            Err(_) => {
                environment.remove(name);
            }
        }
    }
    if problems.is_empty() { Ok(environment) } else { Err(Problems(problems)) }
}

fn read_dotenv(path: &Path) -> (BTreeMap<String, String>, Vec<Problem>) {
    let mut variables = BTreeMap::new();
    let mut problems = Vec::new();
    let mut refuse = |line: usize, message: String| {
        let origin = Origin::File { path: path.to_owned(), line };
        problems.push(Problem { origin, key: String::new(), message });
    };
    match std::fs::read_to_string(path) {
        Ok(text) => {
            for variable in dotenvy::from_read_iter(text.as_bytes()) {
                match variable {
                    // The first of two lines wins, as it does in dotenvy.
                    Ok((name, value)) => {
                        variables.entry(name).or_insert(value);
                    }
                    Err(error) => refuse(line_of(&text, &error), "write NAME=value".to_owned()),
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => refuse(0, format!("cannot be read: {error}")),
    }
    (variables, problems)
}

/// The number of the line that dotenvy could not read; it only says what was on it.
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
    fn dotenv_fills_in_what_is_not_really_set() {
        let folder = tempfile::tempdir().unwrap();
        let dotenv = folder.path().join(".env");
        std::fs::write(&dotenv, "# ours\nPORT=1\nAPI_KEYS=\"a, b\"\nPORT=3\n").unwrap();
        let environment = merge_environment(&dotenv, real(&[("PORT", "2")]).into_iter()).unwrap();
        assert_eq!(environment["PORT"], "2");
        assert_eq!(environment["API_KEYS"], "a, b");
        let environment = merge_environment(&dotenv, std::iter::empty()).unwrap();
        assert_eq!(environment["PORT"], "1");
    }

    #[test]
    fn a_missing_dotenv_is_fine_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let dotenv = folder.path().join(".env");
        assert_eq!(merge_environment(&dotenv, std::iter::empty()), Ok(BTreeMap::new()));
        std::fs::write(&dotenv, "PORT=1\nsk-planted secret = 'x\n").unwrap();
        let problems = merge_environment(&dotenv, std::iter::empty()).unwrap_err().to_string();
        assert_eq!(problems, format!("error: {}:2: write NAME=value", dotenv.display()));
    }

    #[test]
    fn the_file_is_the_named_one_then_the_variable_s_then_the_usual_one() {
        let folder = tempfile::tempdir().unwrap();
        let usual = folder.path().join("gateway.toml");
        let none = BTreeMap::new();
        let named = BTreeMap::from([(FILE_VARIABLE.to_owned(), "b.toml".to_owned())]);
        let empty = BTreeMap::from([(FILE_VARIABLE.to_owned(), String::new())]);
        assert_eq!(choose_file(None, &none, &usual), None);
        std::fs::write(&usual, "").unwrap();
        assert_eq!(choose_file(None, &none, &usual).as_ref(), Some(&usual));
        assert_eq!(choose_file(None, &empty, &usual).as_ref(), Some(&usual));
        assert_eq!(choose_file(None, &named, &usual), Some("b.toml".into()));
        assert_eq!(choose_file(Some(Path::new("a")), &named, &usual), Some("a".into()));
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_of_ours_that_is_not_utf_8_is_a_problem() {
        use std::os::unix::ffi::OsStringExt;
        let broken = OsString::from_vec(vec![0xff]);
        let missing = Path::new("/nonexistent/.env");
        let theirs = vec![("THEIRS".into(), broken.clone()), (broken.clone(), broken.clone())];
        assert_eq!(merge_environment(missing, theirs.into_iter()), Ok(BTreeMap::new()));
        let ours = merge_environment(missing, [("PORT".into(), broken)].into_iter());
        assert_eq!(ours.unwrap_err().to_string(), "error: environment: PORT: is not UTF-8");
    }
}
