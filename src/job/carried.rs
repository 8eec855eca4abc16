//! What a job says of its request as it came.

use super::{Job, Place};
use crate::chat::GatewayError;

impl Job {
    /// Why what is asked cannot be translated for a provider of another API; `None` when it can.
    #[must_use]
    pub fn refusal(&self) -> Option<&GatewayError> {
        self.carry.as_ref()?.refusal.as_ref()
    }
}

impl Place {
    /// Takes note that one of those who may answer is asked as the request came, so that its answer begins as it comes.
    pub fn carry(&self) {
        self.0.lock().may_be_carried = true;
    }

    /// Whether the answer may begin as it comes.
    #[must_use]
    pub fn may_be_carried(&self) -> bool {
        self.0.lock().may_be_carried
    }
}
