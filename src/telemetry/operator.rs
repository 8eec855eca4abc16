//! What operators do, and who is kept from it: one line each.
//!
//! The one thing to know: this is all that tells who changed something. The console's list of
//! changes says what was done.

use std::net::IpAddr;

/// An operator changed something.
#[derive(Debug)]
pub struct OperatorActed<'a> {
    /// The address that asked.
    pub by: Option<IpAddr>,
    /// The program, by its own word.
    pub program: Option<&'a str>,
    /// Whether the admin token was needed and given.
    pub has_token: bool,
    /// What was done.
    pub what: &'a str,
}

impl OperatorActed<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let by = self.by.map_or_else(|| "-".to_owned(), |address| address.to_string());
        log::info!(
            target: "operator",
            by = by.as_str(),
            program = self.program.unwrap_or("-"),
            token = if self.has_token { "valid" } else { "none needed" };
            "{}", self.what
        );
    }
}

/// A request to the admin listener was refused.
#[derive(Debug)]
pub struct OperatorRefused<'a> {
    /// The address that asked.
    pub by: Option<IpAddr>,
    /// The program, by its own word.
    pub program: Option<&'a str>,
    /// What it asked for.
    pub path: &'a str,
    /// Why it was refused.
    pub why: &'static str,
}

impl OperatorRefused<'_> {
    /// Writes the line.
    pub fn emit(self) {
        let by = self.by.map_or_else(|| "-".to_owned(), |address| address.to_string());
        log::warn!(
            target: "operator",
            by = by.as_str(),
            program = self.program.unwrap_or("-"),
            path = self.path,
            why = self.why;
            "a request to the admin listener is refused"
        );
    }
}
