//! What is known of a server's list of loaded models.

use std::time::{Duration, Instant};

/// What is known of the server's list of loaded models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// No job has needed it.
    Unasked,
    /// A job has needed it since then, and waits for it.
    Asked(Instant),
    /// The server has listed its loaded models.
    Known,
    /// The server did not list them: no job is held back.
    Missing {
        /// Whether it listed no models right after it had loaded one: then an empty list is not
        /// believed.
        is_mute: bool,
    },
}

/// How long the first jobs wait for the list.
const FIRST_LOOK: Duration = Duration::from_secs(1);

impl List {
    /// Whether the server has to be asked for the first time.
    pub fn is_awaited(self) -> bool {
        matches!(self, Self::Asked(_))
    }

    /// Until when jobs wait for the list.
    pub fn awaited_until(self) -> Option<Instant> {
        match self {
            Self::Asked(since) => since.checked_add(FIRST_LOOK),
            Self::Unasked | Self::Known | Self::Missing { .. } => None,
        }
    }
}
