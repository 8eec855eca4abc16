//! The files that a plan reads, their lines, and what is wrong with them under their names.

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

/// Reads a file line by line, each as its words with `is_gap` between them. Lines without words and
/// text after a `#` are ignored.
///
/// # Errors
///
/// The number of the first wrong line and what is wrong with it.
pub(super) fn rows<Row>(
    text: &str,
    is_gap: impl Fn(char) -> bool,
    mut row: impl FnMut(&[&str]) -> Result<Row, String>,
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split(&is_gap).filter(|word| !word.is_empty()).collect();
        if !words.is_empty() {
            rows.push(row(&words).map_err(|what| format!("line {}: {what}", index + 1))?);
        }
    }
    Ok(rows)
}

/// What is wrong with a second log.
pub(super) fn second_log(option: &str) -> String {
    format!(
        "is a second log: write one after the other, as in `cat *.log | llm-gateway plan {option} -`"
    )
}

/// What is wrong with a file.
pub(super) fn named(file: &Path, what: impl std::fmt::Display) -> String {
    match file.to_str() {
        Some("-") => format!("standard input: {what}"),
        Some(_) | None => format!("{}: {what}", file.display()),
    }
}
