//! The latest reading of the configuration, as operators may see it.

use serde::Serialize;

use super::clipped_to;

/// Of so many problems more is in the log only.
const SHOWN: usize = 50;
/// How much is kept of one, in bytes: it may quote names from the file, which may be of any length.
const LONGEST: usize = 1_000;

/// What came of reading the configuration the last time.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Configuration {
    /// The journal's version at that time.
    #[serde(skip)]
    pub(super) version: u64,
    /// How often it has been read, the start included.
    pub reads: u64,
    /// When that was last, in milliseconds since 1970.
    pub at: u64,
    /// Why it is refused and the one before stays; none when it is in force.
    pub problems: Vec<Box<str>>,
}

impl Configuration {
    /// Whether what was read last is not what is in force.
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
