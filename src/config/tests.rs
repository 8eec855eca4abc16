//! The configuration as a whole: from files and variables to settings or problems.

mod bad;
mod documented;
mod precedence;
mod reload;

use super::{Environment, Loaded, Problems, load};
use std::collections::BTreeMap;

/// Loads a file named `f` with these variables; problems print as `f:LINE: …`.
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    std::fs::write(&file, text).unwrap();
    let shorten = |problems: Problems| {
        problems.to_string().replace(&file.display().to_string(), "f").replace("error: ", "")
    };
    load(Some(&file), &map(variables)).map_err(shorten)
}

fn map(variables: &[(&str, &str)]) -> Environment {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(owned).collect::<BTreeMap<_, _>>().into()
}

/// The warnings, one per line.
fn warnings(loaded: &Loaded) -> String {
    let lines: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    let file = loaded.read.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    lines.join("\n").replace(&file, "f")
}
