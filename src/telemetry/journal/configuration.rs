//! The latest reading of the configuration, for operators.

use serde::Serialize;

use super::clipped_to;

/// The most problems that are kept; the log has all.
const SHOWN: usize = 50;
/// How much is kept of one problem, in bytes: it may quote names of any length from the file.
const LONGEST: usize = 1_000;

/// The result of the last reading of the configuration.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Configuration {
    /// The journal's version at that time.
    #[serde(skip)]
    pub(super) version: u64,
    /// How often it was read, including at the start.
    pub reads: u64,
    /// When it was last read, in milliseconds since 1970.
    pub at: u64,
    /// Why it was refused and the previous one stays; empty if it is in force.
    pub problems: Vec<Box<str>>,
}

impl Configuration {
    /// Whether the configuration that was last read is not in force.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.problems.is_empty()
    }

    pub(super) fn read(&mut self, version: u64, at: u64, problems: &[String]) {
        let shown = problems.iter().take(SHOWN);
        let shown = shown.map(|problem| Box::from(clipped_to(problem, LONGEST)));
        let reads = self.reads + 1;
        *self = Self { version, reads, at, problems: shown.collect() };
    }
}
