//! The files that a plan reads, and what is wrong with them under their names.

use std::path::Path;

/// The text of a file; `-` is the standard input.
///
/// # Errors
///
/// That it cannot be read, and why.
pub(super) fn text(file: &Path) -> Result<String, String> {
    let read = match file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        Some(_) | None => std::fs::read_to_string(file),
    };
    read.map_err(|error| named(file, format!("cannot be read: {error}")))
}

/// What is wrong with a file.
pub(super) fn named(file: &Path, what: impl std::fmt::Display) -> String {
    match file.to_str() {
        Some("-") => format!("standard input: {what}"),
        Some(_) | None => format!("{}: {what}", file.display()),
    }
}
