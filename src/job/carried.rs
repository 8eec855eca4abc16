//! What a job says of its request as it came.

use super::Job;
use crate::chat::GatewayError;

impl Job {
    /// Why what is asked cannot be translated for a provider of another API; `None` when it can.
    #[must_use]
    pub fn refusal(&self) -> Option<&GatewayError> {
        self.carry.as_ref()?.refusal.as_ref()
    }
}
